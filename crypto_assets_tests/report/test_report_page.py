"""The page as text: escaped, friendly where there is nothing, whole or not at all."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from crypto_assets.database.engines import open_database
from crypto_assets.report.figures import Totals, quality_figures
from crypto_assets.report.months import MAX_MONTHS, MAX_SYMBOLS, Month, SymbolMonths, TableMonths
from crypto_assets.report.page import PageNotWritten, page_text, verdict, write_page
from crypto_assets_tests.report.quality_rows import NOW

HOSTILE = "<script>alert(1)</script>'\"&"


@pytest.fixture
def figures(example_database):
    return quality_figures(example_database, NOW)


@pytest.fixture
def nothing(tmp_path):
    return quality_figures(open_database(f"sqlite:///{tmp_path / 'never'}", "sandbox"), NOW)


def test_the_page_says_what_was_looked_at(figures, example_database):
    text = page_text(figures)
    for said in ("sandbox", example_database.location, "2023-04-02 12:00 UTC", figures.version, "5,875", "99.43 %"):
        assert said in text
    assert "<h1>33 candles are missing.</h1>" in text


def test_every_text_is_escaped(figures):
    hostile = replace(
        figures,
        environment=HOSTILE,
        location=HOSTILE,
        tables=tuple(
            replace(table, symbols=tuple(replace(symbol, name=HOSTILE) for symbol in table.symbols))
            for table in figures.tables
        ),
        gaps=tuple(replace(gap, name=HOSTILE) for gap in figures.gaps),
        resets=tuple(replace(reset, name=HOSTILE, before=HOSTILE, now=HOSTILE) for reset in figures.resets),
        low_scores=tuple(replace(low, name=HOSTILE, level=HOSTILE, issues=(HOSTILE,)) for low in figures.low_scores),
        freshness=tuple(replace(fresh, name=HOSTILE) for fresh in figures.freshness),
    )
    text = page_text(hostile)
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert HOSTILE[-3:] not in text


def test_the_page_names_nothing_outside_itself(figures):
    assert re.findall(r"""(?:src|href)=(?!"data:)|https?://|@import|url\((?!#)""", page_text(figures)) == []


def test_an_empty_database_has_a_friendly_page(nothing):
    text = page_text(nothing)
    assert "Nothing has been collected yet." in text
    assert "crypto-assets migrate" in text
    assert "<svg" not in text


def test_the_verdict_tells_missing_candles_from_those_that_do_not_exist(figures):
    def said(**counts):
        totals = {**dict.fromkeys(Totals.__annotations__, 0), **counts}
        return verdict(replace(figures, totals=Totals(**totals)))

    assert said(owed=10, stored=10) == "Every candle that is owed is stored."
    assert said(owed=10, stored=9, source=1) == "Everything the exchange has is stored; 1 candle it has not."
    assert said(owed=10, stored=9, missing=1) == "1 candle is missing."


def test_what_was_cut_off_is_said_and_the_page_stays_small(figures):
    months = tuple(Month(f"{2010 + each // 12}-{each % 12 + 1:02d}", 10, 10, 0) for each in range(MAX_MONTHS))
    rows = tuple(SymbolMonths(f"e{each}", f"S{each}/USDT", months) for each in range(MAX_SYMBOLS))
    text = page_text(replace(figures, tables=(TableMonths("cryptopair_1m_kdata", rows, 5, 1),)))
    assert (
        "Shown are the 60 symbols that lack most, without 5 more and the newest months, without 1 earlier one." in text
    )
    assert text.count('<rect class="complete" x=') >= MAX_MONTHS * MAX_SYMBOLS
    assert len(text) < 2_000_000
    (drawn,) = re.findall(r'<svg class="cells" width="(\d+)"', text)
    assert int(drawn) < 1000


def test_a_page_is_written_where_no_directory_was_and_over_an_older_one(figures, nothing, tmp_path):
    path = tmp_path / "new" / "report.html"
    write_page(nothing, path)
    write_page(figures, path)
    assert path.read_text(encoding="utf-8") == page_text(figures)
    assert list(path.parent.iterdir()) == [path]


def test_a_page_that_cannot_be_written_is_said_in_a_sentence(nothing, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PageNotWritten, match=r"file/report\.html cannot be written: .*; name another file\."):
        write_page(nothing, tmp_path / "file" / "report.html")
