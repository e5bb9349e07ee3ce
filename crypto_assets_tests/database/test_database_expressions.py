"""Expressions that several statements share."""

from __future__ import annotations

import pytest
from sqlalchemy import column, create_engine, literal, select

from crypto_assets.database.expressions import of_entity_type


@pytest.mark.parametrize(
    ("entity_id", "entity_type", "is_of_type"),
    [
        ("cryptopair_binance_btcusdt", "cryptopair", True),
        ("cryptoperp_binance_btcusdt", "cryptopair", False),
        ("crypto_binance_btc", "crypto", True),
        ("cryptopair_binance_btcusdt", "crypto", False),
        ("cryptopair", "cryptopair", False),
        ("cryptopairs_binance_btcusdt", "cryptopair", False),
    ],
)
def test_an_entity_is_of_the_type_that_its_id_begins_with(entity_id, entity_type, is_of_type):
    row = select(literal(entity_id).label("entity_id")).subquery()
    with create_engine("sqlite://").connect() as connection:
        found = connection.scalars(select(row.c.entity_id).where(of_entity_type(row.c.entity_id, entity_type))).all()
    assert found == [entity_id] * is_of_type


def test_the_type_is_asked_as_a_range_that_an_index_serves():
    asked = str(of_entity_type(column("entity_id"), "crypto").compile(compile_kwargs={"literal_binds": True}))
    assert asked == "entity_id >= 'crypto_' AND entity_id < 'crypto`'"
