"""Symbols as people write them: `BTC/USDT`, `btcusdt`, `BTC/USDT:USDT`, `*/USDT`, and which listed ones they mean.

A symbol has a name for people (ccxt's) and a code, the exchange's own id in lower case; either may be written, in any
case, and with wildcards. Here belongs how a text is matched; what is listed is given by the caller. Called by
`settings`, which knows of no listing, and by all that takes symbols: `database`, `orchestration` and `cli`.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from crypto_assets.domain.entities import MarketType, entity_code

# Quote currencies, which the code of a symbol ends in; one that could end in two of them is ambiguous.
_QUOTES = {
    MarketType.SPOT: (
        *("USDT", "USDC", "FDUSD", "TUSD", "USDP", "BUSD", "USD1", "BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "SOL"),
        *("EUR", "EURI", "AEUR", "TRY", "BRL", "ARS", "JPY", "GBP", "AUD", "RUB", "UAH", "ZAR", "PLN", "RON", "MXN"),
        *("COP", "CZK", "IDRT", "BIDR", "BKRW", "BVND", "DAI", "NGN", "PAX", "USDS", "VAI", "UST"),
    ),
    MarketType.SWAP: ("USDT", "USDC", "BUSD", "USD1", "BTC"),
}
_EXAMPLES = {
    MarketType.SPOT: "a ccxt spot symbol such as BTC/USDT",
    MarketType.SWAP: "a ccxt perpetual symbol such as BTC/USDT:USDT",
}
_WILDCARD = re.compile(r"[*?]")


class Listed(NamedTuple):
    """A symbol that the exchange lists, or did: its entity id, its name and its code."""

    entity_id: str
    name: str
    code: str


class Ambiguous(ValueError):  # noqa: N818 - said of a text; what is wrong is the sentence
    """A text means several symbols, and no wildcard says that all are meant."""


class NoSuchSymbol(ValueError):  # noqa: N818 - likewise
    """A text means no listed symbol; `nearest` are listed names that look like it, best first."""

    def __init__(self, text: str, nearest: Sequence[str], where: str) -> None:
        hint = f"; did you mean {', '.join(nearest)}?" if nearest else "; check the spelling and the market"
        super().__init__(f"{text!r} is no symbol of {where}{hint}")
        self.nearest = list(nearest)


def named_without_listing(text: str, market_type: MarketType) -> str:
    """The ccxt name that `text` can only mean in a market: `BTC/USDT` of `btcusdt` in the spot market.

    A perpetual settles in its quote currency. Raises ValueError for what is no symbol of this market, and Ambiguous
    where a code could be cut in two ways.
    """
    symbol = text.upper()
    base, slash, rest = symbol.partition("/")
    if slash:
        quote, colon, settle = rest.partition(":")
        fits = bool(base and quote) and (not colon or (market_type is MarketType.SWAP and bool(settle)))
        names = [_name(base, quote, market_type, settle)] if fits else []
    elif re.fullmatch(r"[^\W_]+", symbol):
        names = [
            _name(symbol.removesuffix(quote), quote, market_type)
            for quote in _QUOTES[market_type]
            if symbol.endswith(quote) and symbol != quote
        ]
    else:
        names = []
    if len(names) > 1:
        raise Ambiguous(f"{text!r} may be {' or '.join(names)}; write it with its slash")
    if not names or _WILDCARD.search(symbol):
        raise ValueError(f"{text!r} is not {_EXAMPLES[market_type]}")
    return names[0]


def _name(base: str, quote: str, market_type: MarketType, settle: str = "") -> str:
    return f"{base}/{quote}" if market_type is MarketType.SPOT else f"{base}/{quote}:{settle or quote}"


def find_listed(texts: Iterable[str], listed: Iterable[Listed], where: str) -> list[Listed]:
    """The listed symbols that `texts` mean, each once, in the order of the texts and of their names.

    A text is a name, a name without its settlement currency, a code or an entity id, in any case, or any of these with
    the wildcards `*` and `?`. One of several markets is meant in each. Raises NoSuchSymbol, which says `where` it was
    looked for, and Ambiguous.
    """
    known = sorted(listed, key=lambda each: (each.name, each.code))
    found: dict[str, Listed] = {}
    for text in texts:
        meant = _matches(text, known)
        if not meant:
            names = {each.name.upper(): each.name for each in known} | {each.code.upper(): each.name for each in known}
            near = difflib.get_close_matches(text.upper(), names, n=5)
            raise NoSuchSymbol(text, list(dict.fromkeys(names[each] for each in near))[:3], where)
        of_one_market = Counter(each.entity_id.partition("_")[0] for each in meant)
        if max(of_one_market.values()) > 1 and not _WILDCARD.search(text):
            raise Ambiguous(
                f"{text!r} may be {' or '.join(f'{each.code} ({each.name})' for each in meant)}; name its code"
            )
        found |= {each.entity_id: each for each in meant}
    return list(found.values())


def matching(texts: Iterable[str], listed: Iterable[Listed]) -> list[Listed]:
    """The listed symbols that any of `texts` means; what means none, or several, is no error."""
    known = sorted(listed, key=lambda each: (each.name, each.code))
    return list({each.entity_id: each for text in texts for each in _matches(text, known)}.values())


def is_spelled_out(text: str) -> bool:
    """Whether a text is a name or has a wildcard: only a listing tells which codes it means."""
    return "/" in text or has_wildcard(text)


def has_wildcard(text: str) -> bool:
    """Whether a text may mean several symbols."""
    return _WILDCARD.search(text) is not None


def _matches(text: str, known: Sequence[Listed]) -> list[Listed]:
    wanted, code = text.upper(), entity_code(text).upper()
    if _WILDCARD.search(wanted):
        return [each for each in known if any(fnmatchcase(spelled, wanted) for spelled in _spellings(each))]
    # The exchange's own id before a name: names are for people, and two symbols may share one.
    for meant in (
        [each for each in known if code == each.code.upper() or wanted == each.entity_id.upper()],
        [each for each in known if wanted == each.name.upper()],
        [each for each in known if wanted == each.name.partition(":")[0].upper()],
    ):
        if meant:
            return meant
    return []


def _spellings(each: Listed) -> tuple[str, ...]:
    name = each.name.upper()
    return name, name.partition(":")[0], each.code.upper(), each.entity_id.upper()
