import pytest

from crypto_assets.exchange.binance.renames import RENAMED, successor


@pytest.mark.parametrize(
    ("symbol", "later"),
    [
        ("MATIC/USDT", "POL/USDT"),
        ("RNDR/USDT:USDT", "RENDER/USDT:USDT"),
        ("BTT/BTC", "BTTC/BTC"),
        ("POL/USDT", None),
        ("BTC/MATIC", None),
        ("MATICX/USDT", None),
    ],
)
def test_a_market_goes_on_under_its_base_currencys_later_symbol(symbol, later):
    assert successor(symbol) == later


def test_no_currency_is_renamed_to_itself_or_in_a_circle():
    assert not set(RENAMED).intersection(RENAMED.values())
