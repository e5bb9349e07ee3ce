"""Spans of candles as the run config of a candle asset writes them: `2023-03-24T12:40/2023-03-24T14:00`, UTC.

Written by `repair`, read by `assets.kdata`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crypto_assets.domain.intervals import parse_time, to_datetime
from crypto_assets.domain.spans import Span
from crypto_assets.exchange.errors import ConfigurationError


def span_text(span: Span) -> str:
    """The span as config; its end is not part of it."""
    return "/".join(to_datetime(time).replace(tzinfo=None).isoformat(timespec="minutes") for time in span)


def parse_spans(texts: Mapping[str, Sequence[str]]) -> dict[str, list[Span]]:
    """The spans by symbol. Raises ConfigurationError, one sentence, for what is none."""
    return {symbol: [_parse(symbol, text) for text in each] for symbol, each in texts.items()}


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
