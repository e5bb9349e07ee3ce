"""The section `rivals` on few rows, without the rival that has to be installed."""

from __future__ import annotations

import pytest

from benchmarks.report import Report
from benchmarks.rivals_section import RivalsSection, RivalsSize
from crypto_assets.domain.intervals import parse_time
from crypto_assets.sandbox.process import SandboxProcess

SIZE = RivalsSize(repeats=1, few_days=25, days=25, with_freqtrade=False)
SANDBOX = ["--no-budget", "--genesis", "2021-01-01"]


def measured(sandbox: SandboxProcess, directory, size: RivalsSize = SIZE) -> Report:
    report = Report()
    start = parse_time("2021-02-01")
    RivalsSection(sandbox.url, directory, ["BTC/USDT"], start, size, report, lambda _: None).measure()
    return report


def test_every_rival_is_measured_beside_ours_and_the_one_left_out_is_named(tmp_path):
    with SandboxProcess(SANDBOX) as sandbox:
        ((section, figures),) = measured(sandbox, tmp_path).sections.items()
    assert "36,000 candles" in section
    costs = {figure.what: figure for figure in figures if figure.unit == "µs"}
    assert costs.pop("freqtrade download-data: left out").other is None
    assert len(costs) == 5
    assert all(figure.ours > 0 and figure.other > 0 and figure.ratio > 0 for figure in costs.values())


def test_a_rival_that_gets_other_rows_is_no_comparison(tmp_path):
    part_of_a_page = RivalsSize(repeats=1, few_days=1, days=1, with_freqtrade=False)
    with SandboxProcess(SANDBOX) as sandbox, pytest.raises(RuntimeError, match="got 2,000 rows, not 1,440"):
        measured(sandbox, tmp_path, part_of_a_page)
