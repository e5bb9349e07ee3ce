"""Figures as one HTML page: no script, no network, every text escaped.

What it looks like is said by `page.html.j2` and `page.css`, what is drawn by `charts` and `time_charts`.
Called by `cli` and `orchestration`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from crypto_assets.domain.durations import counted, duration
from crypto_assets.report.charts import freshness_grids, month_map
from crypto_assets.report.figures import Figures
from crypto_assets.report.time_charts import gap_length, gap_timeline, score_chart
from crypto_assets.report.wording import moment, percent


class PageNotWritten(Exception):  # noqa: N818 - named after the state, as users read it
    """The page cannot be written where it should be; the message is one sentence."""


def page_text(figures: Figures) -> str:
    """The whole page, a friendly one also where nothing was collected yet."""
    environment = Environment(
        loader=PackageLoader("crypto_assets.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "moment": moment, "counted": counted, "duration": duration}
    totals = figures.totals
    gaps_in_all = totals.open_gaps + totals.source_gaps + totals.repaired_gaps
    return environment.get_template("page.html.j2").render(
        figures=figures,
        totals=totals,
        verdict=verdict(figures),
        maps=[month_map(table) for table in figures.tables],
        timeline=gap_timeline(figures.gaps, figures.resets, figures.made_at, gaps_in_all),
        scores=score_chart(figures.scores),
        freshness=freshness_grids(figures.freshness),
        gap_length=gap_length,
    )


def verdict(figures: Figures) -> str:
    """What the page says in one sentence, and in another what waits for a decision."""
    waiting = sum(hole.candles for hole in figures.holes if hole.state == "waiting")
    return _of_owed(figures) + (
        f" {waiting:,} more between collected partitions wait for a decision." if waiting else ""
    )


def _of_owed(figures: Figures) -> str:
    totals = figures.totals
    if not totals.owed:
        return "Nothing has been collected yet."
    if totals.missing:
        return f"{counted(totals.missing, 'candle')} {'is' if totals.missing == 1 else 'are'} missing."
    if totals.source:
        return f"Everything the exchange has is stored; {counted(totals.source, 'candle')} it has not."
    return "Every candle that is owed is stored."


def write_page(figures: Figures, path: Path) -> None:
    """Writes the page, making the directory; a reader sees the old page or the new one, never half of it.

    Raises PageNotWritten.
    """
    text = page_text(figures)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise PageNotWritten(f"{path} cannot be written: {error.strerror}; name another file.") from error
    finally:
        with suppress(OSError):  # what went wrong has been said
            unfinished.unlink()
