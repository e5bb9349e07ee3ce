"""A symbol of Binance's exchangeInfo as a `Market`.

Here belongs how Binance's fields are read; asking for them belongs to `client`, the caller. Nothing is invented: what
no public endpoint says is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crypto_assets.domain.entities import MarketType
from crypto_assets.exchange.binance import PROVIDER
from crypto_assets.exchange.errors import ContractViolation
from crypto_assets.exchange.markets import DEFAULT_FUNDING_INTERVAL_HOURS, Market

# Perpetuals without an end carry 2100-12-25 as their delivery date (4133404800000, on demo hosts a second or two more).
_NO_DELIVERY_MS = 4_102_444_800_000
_LAST_MS = 253_402_300_800_000  # the year 10000
_PERPETUAL = {"PERPETUAL", "TRADIFI_PERPETUAL"}


def is_wanted(market_type: MarketType, raw: Mapping[str, Any]) -> bool:
    """Whether a symbol of exchangeInfo belongs to this market: every spot pair, and perpetuals of any status.

    Delivery contracts are left out. A perpetual that is being settled may be called `PERPETUAL DELIVERING`.
    """
    if market_type is MarketType.SPOT:
        return True
    kind = str(raw.get("contractType") or "").replace(" ", "_").removesuffix("_DELIVERING")
    return kind in _PERPETUAL


def read_market(
    market_type: MarketType, raw: Any, parse: Callable[[Any], Any], funding_intervals: Mapping[str, int]
) -> Market | None:
    """The market of one symbol of exchangeInfo; None for one that is not of this market.

    `parse` is ccxt's parse_market, `funding_intervals` the hours by symbol. Raises ContractViolation where the symbol
    cannot be read.
    """
    if not isinstance(raw, dict):
        raise ContractViolation(f"a symbol of exchangeInfo is no object but {str(raw)[:80]!r}")
    try:
        if not is_wanted(market_type, raw):
            return None
        unified = parse(raw)
    except Exception as error:  # what ccxt raises for a field that it does not expect is anything
        raise ContractViolation(
            f"symbol {ascii(raw.get('symbol'))[:64]} of exchangeInfo cannot be read: {type(error).__name__}: {error!a}"
        ) from error
    if unified is None:
        raise ContractViolation(f"symbol {ascii(raw.get('symbol'))[:64]} of exchangeInfo states no currencies")
    return market_of(market_type, raw, unified, funding_intervals.get(raw["symbol"]))


def market_of(
    market_type: MarketType, raw: Mapping[str, Any], unified: Mapping[str, Any], funding_interval_hours: int | None
) -> Market:
    """A market from Binance's symbol `raw` and what ccxt's parse_market makes of it, `unified`.

    ccxt gives the currency names only: its fees are a static table, and its steps come from the same filters.
    `funding_interval_hours` is what fundingInfo says of this symbol, None where it says nothing.
    Raises ContractViolation where a field is not what the documentation says it is.
    """
    try:
        return _read(market_type, raw, unified, funding_interval_hours)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ContractViolation(
            f"symbol {ascii(raw.get('symbol'))[:64]} of exchangeInfo cannot be read: {type(error).__name__}: {error!a}"
        ) from error


def _read(
    market_type: MarketType, raw: Mapping[str, Any], unified: Mapping[str, Any], funding_interval_hours: int | None
) -> Market:
    filters = {entry["filterType"]: entry for entry in raw.get("filters") or () if entry and entry.get("filterType")}
    price_filter, lot_size = filters.get("PRICE_FILTER", {}), filters.get("LOT_SIZE", {})
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
    is_swap = market_type is MarketType.SWAP
    base, quote = _text(unified["base"]), _text(unified["quote"])
    settle = _text(unified["settle"]) if is_swap else None
    is_active = raw.get("status") == "TRADING"
    return Market(
        provider=PROVIDER,
        market_type=market_type,
        exchange_id=_text(raw["symbol"]),
        symbol=f"{base}/{quote}:{settle}" if is_swap else f"{base}/{quote}",
        base=base,
        quote=quote,
        settle=settle,
        is_active=is_active,
        status=_text(raw["status"]) if raw.get("status") else None,
        price_step=_step(
            price_filter.get("tickSize"), raw, ("pricePrecision", "quoteAssetPrecision", "quotePrecision")
        ),
        qty_step=_step(lot_size.get("stepSize"), raw, ("quantityPrecision", "baseAssetPrecision")),
        min_notional=_positive(notional.get("minNotional")) or _positive(notional.get("notional")),
        max_order_size=_positive(lot_size.get("maxQty")),
        contract_size=float(unified.get("contractSize") or 1.0),
        maintenance_margin_rate=_percent(raw.get("maintMarginPercent")),
        initial_margin_rate=_percent(raw.get("requiredMarginPercent")),
        funding_interval_hours=funding_interval_hours or DEFAULT_FUNDING_INTERVAL_HOURS,
        margin_enabled=not is_swap and bool(raw.get("isMarginTradingAllowed")),
        listed_ms=_time(raw.get("onboardDate")) if is_swap else None,
        delisted_ms=_delisted(raw, is_active=is_active) if is_swap else None,
        trades_in_sessions=raw.get("contractType") == "TRADIFI_PERPETUAL",
    )


def _step(text: object, raw: Mapping[str, Any], decimals: Sequence[str]) -> float | None:
    """A filter's step, or where the filter is absent, null or zero (Binance: switched off) the decimals allowed.

    None where neither is stated.
    """
    step = _positive(text)
    if step is not None:
        return step
    for name in decimals:
        if raw.get(name) is not None:
            # From text, so that 1e-8 is the same float that "0.00000001" gives.
            return float(f"1e-{int(raw[name])}")
    return None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError(f"{ascii(value)[:40]} is no text that can be printed")
    return value


def _positive(text: object) -> float | None:
    """The number in `text`, None for null and for zero, which Binance writes where a limit is switched off."""
    value = float(str(text)) if text not in (None, "") else 0.0
    return value if value > 0 else None


def _percent(text: object) -> float | None:
    value = _positive(text)
    return value / 100 if value is not None else None


def _time(value: object) -> int | None:
    """Milliseconds since 1970, None for null and zero. Raises ValueError outside of the years that can be meant."""
    time_ms = int(str(value)) if value else None
    if time_ms is not None and not 0 < time_ms < _LAST_MS:
        raise ValueError(f"{time_ms} is no time of an exchange in milliseconds")
    return time_ms


def _delisted(raw: Mapping[str, Any], *, is_active: bool) -> int | None:
    """When trading ended. A trading perpetual with a near delivery date trades until then, so it has not ended."""
    delivery_ms = _time(raw.get("deliveryDate"))
    if is_active or delivery_ms is None or delivery_ms >= _NO_DELIVERY_MS:
        return None
    return delivery_ms
