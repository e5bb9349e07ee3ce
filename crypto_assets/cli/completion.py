"""What the shell offers for a table and for a symbol, in lists separated by commas as well.

Called by click when the shell asks; a database that cannot be read offers no symbols, and is not made.
"""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem


class TableName(click.ParamType):  # type: ignore[type-arg] # generic in newer versions of click only
    """A table by its name or class name; with `many` several, with `candles` a candle table."""

    name = "table"

    def __init__(self, *, many: bool = False, candles: bool = False) -> None:
        self._many, self._candles = many, candles

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click's interface
        """The tables that begin like this."""
        from crypto_assets.database.tables import TABLES  # noqa: PLC0415 - loads SQLAlchemy
        from crypto_assets.domain.entities import class_name  # noqa: PLC0415 - likewise
        from crypto_assets.domain.series import KDATA_TABLES  # noqa: PLC0415 - likewise

        names = list(KDATA_TABLES if self._candles else TABLES)
        return _beginning(incomplete, [*names, *map(class_name, names)], many=self._many)


class SymbolNames(click.ParamType):  # type: ignore[type-arg] # generic in newer versions of click only
    """Symbols that the database lists, in either spelling."""

    name = "symbols"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click's interface
        """The symbols that begin like this."""
        return _beginning(incomplete, _listed_symbols(), many=True)


def _listed_symbols() -> list[str]:
    from crypto_assets.database.errors import DatabaseError  # noqa: PLC0415
    from crypto_assets.database.symbols import ENTITY_TABLES, listed_symbols  # noqa: PLC0415
    from crypto_assets.database.tables import TABLES  # noqa: PLC0415
    from crypto_assets.settings import SettingsError, load_settings  # noqa: PLC0415

    try:
        settings = load_settings()
        from crypto_assets.composition import database_of  # noqa: PLC0415

        database = database_of(settings)
        try:
            with database.connect("crypto_pair") as connection:
                of_markets = [listed_symbols(connection, TABLES[name]) for name in ENTITY_TABLES[1:]]
        finally:
            database.dispose()
    except (DatabaseError, SettingsError):
        return []
    listed = [each for of_market in of_markets for each in of_market]
    return list(dict.fromkeys([*(each.code for each in listed), *(each.name for each in listed)]))


def _beginning(incomplete: str, names: Iterable[str], *, many: bool) -> list[CompletionItem]:
    before, comma, begun = incomplete.rpartition(",") if many else ("", "", incomplete)
    return [CompletionItem(f"{before}{comma}{name}") for name in names if name.lower().startswith(begun.lower())]
