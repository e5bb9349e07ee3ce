"""The page in a real browser: it draws everything it holds, asks the network for nothing and fits the window."""

from __future__ import annotations

from crypto_assets.report.figures import quality_figures
from crypto_assets.report.page import write_page
from crypto_assets_tests.report.chromium import visit
from crypto_assets_tests.report.quality_rows import NOW

DRAWN = """[...document.querySelectorAll('{}')].filter(each => each.getBoundingClientRect().width > 0).map(
    each => [each.getAttribute('class'), each.textContent])"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
GROUND = "getComputedStyle(document.body).backgroundColor"
FILL = "getComputedStyle(document.querySelector('.cells .source')).fill"


def width(pixels):
    size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    return ("Emulation.setDeviceMetricsOverride", size)


def scheme(name):
    return ("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": name}]})


def test_the_page_is_drawn_wholly_without_a_network(example_database, tmp_path):
    page = tmp_path / "report.html"
    write_page(quality_figures(example_database, NOW), page)
    seen = visit(
        page,
        [
            ("ask", "document.title"),
            ("ask", DRAWN.format(".cells > rect")),
            ("ask", DRAWN.format(".gaps.wide > rect")),
            ("ask", DRAWN.format(".gaps .reset, .freshness .dot")),
            ("ask", "document.querySelectorAll('circle.mean').length"),
            width(1280),
            ("ask", OVERFLOW),
            width(400),
            ("ask", OVERFLOW),
            scheme("light"),
            ("ask", GROUND),
            ("ask", FILL),
            scheme("dark"),
            ("ask", GROUND),
            ("ask", FILL),
        ],
    )
    title, cells, gaps, others, scores, wide, narrow, ground, fill, dark_ground, dark_fill = seen.answers
    assert title == "Data quality: sandbox"
    assert [kind for kind, _ in cells] == ["source", "complete", "source", "missing-2", "missing-2", "complete"]
    assert cells[0][1] == "BTC/USDT, 2023-03: 100 %, 2,800 of 2,880 candles stored, 80 not at the source"
    assert sorted(kind for kind, _ in gaps) == ["open", "open", "repaired", "source", "source"]
    assert "BTC/USDT 1m: 80 candles, 2023-03-24 12:40 to 2023-03-24 13:59 UTC (1 hour 20 minutes)" in str(gaps)
    assert [text for _, text in others][1:] == ["up to date", "up to date", "3 hours behind", "nothing stored"]
    assert "ETH/USDT: the source started over" in others[0][1]
    assert scores == 2
    assert (wide, narrow) == (0, 0)
    assert ground != dark_ground
    assert fill != dark_fill
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith("data:")] == [page.as_uri()]
