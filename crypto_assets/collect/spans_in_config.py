"""Spans of candles as the run config of a candle asset writes them: `2023-03-24T12:40/2023-03-24T14:00`, UTC.

Written by `repair`, read by `assets.kdata`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crypto_assets.domain.intervals import parse_time, to_naive
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.errors import ConfigurationError


def span_text(span: Span) -> str:
    """The span as config; its end is not part of it."""
    return "/".join(to_naive(time).isoformat(timespec="minutes") for time in span)


def parse_spans(texts: Mapping[str, Sequence[str]], window: Span, symbols: Sequence[str] = ()) -> dict[str, list[Span]]:
    """The spans by symbol.

    Raises ConfigurationError, one sentence, for what is none, lies outside of the run's `window`, or is of a symbol
    other than the `symbols` that the run names: it would be passed over in silence.
    """
    for symbol in texts:
        if symbols and symbol not in symbols:
            raise ConfigurationError(f"spans of {symbol}: the run's symbols are {', '.join(symbols)}")
    return {symbol: [_within(symbol, _parse(symbol, text), window) for text in each] for symbol, each in texts.items()}


def _within(symbol: str, span: Span, window: Span) -> Span:
    if span.intersect(window) != span:
        raise ConfigurationError(
            f"spans of {symbol}: {span_text(span)} is not within the run's partitions, {span_text(window)}"
        )
    return span


def _parse(symbol: str, text: str) -> Span:
    start, slash, end = text.partition("/")
    try:
        span = Span(parse_time(start), parse_time(end)) if slash else Span(0, 0)
    except ValueError as error:
        raise ConfigurationError(f"spans of {symbol}: {error}") from None
    if span.start >= span.end:
        raise ConfigurationError(
            f"spans of {symbol}: {text!r} is not from/until, such as 2023-03-24T12:40/2023-03-24T14:00"
        )
    return span
