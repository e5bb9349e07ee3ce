"""The symbols that a table can have rows of, and which of them a user's words mean.

How a text is matched belongs to `domain.symbols`; which rows are then read to `queries`. Called by `queries`,
`collect.symbols`, `quality.inventory` and `cli`.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Table, select

from crypto_assets.database.expressions import of_own_exchange
from crypto_assets.database.tables import TABLES
from crypto_assets.domain.series import KDATA_TABLES
from crypto_assets.domain.symbols import Listed, find_listed, is_spelled_out, matching

ENTITY_TABLES = ("crypto_asset", "crypto_pair", "crypto_perp")


def listed_symbols(connection: Connection, table: Table) -> list[Listed]:
    """What a table's rows can be of, as the provider listed it: of candles the symbols of their market."""
    of_market = [KDATA_TABLES[table.name].entity_table] if table.name in KDATA_TABLES else ENTITY_TABLES
    names = [table.name] if table.name in ENTITY_TABLES else of_market
    tables = [TABLES[name] for name in names]
    listed = [
        select(each.c.entity_id, each.c.name, each.c.code).where(of_own_exchange(connection, each)) for each in tables
    ]
    return [Listed(*row) for statement in listed for row in connection.execute(statement)]


def known_symbols(connection: Connection, table: Table, stored: Iterable[str]) -> list[Listed]:
    """The same, and of the `stored` entity ids those that no entity table lists, under their codes."""
    listed = listed_symbols(connection, table)
    ids = {each.entity_id for each in listed}
    return listed + [Listed(each, each.split("_", 2)[-1], each.split("_", 2)[-1]) for each in stored if each not in ids]


def codes_of(connection: Connection, table: Table, texts: Iterable[str]) -> list[str]:
    """The codes that `texts` mean in a table; a text that is a code is kept, one that names nothing listed is left out.

    The entity tables are read only where a text is a name or has a wildcard.
    """
    written = list(texts)
    spelled = [text for text in written if is_spelled_out(text)]
    if not spelled:
        return written
    meant = matching(spelled, listed_symbols(connection, table))
    return list(dict.fromkeys([*(text for text in written if text not in spelled), *(each.code for each in meant)]))


def symbols_meant(connection: Connection, table: Table, texts: Iterable[str], stored: Iterable[str]) -> list[Listed]:
    """The symbols that `texts` mean in a table, listed or stored. Raises NoSuchSymbol and Ambiguous."""
    return find_listed(texts, known_symbols(connection, table, stored), table.name)
