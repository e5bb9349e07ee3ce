"""The daemon of a real `dagster dev` gets back what is missing, with no hand laid on and although it is restarted."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crypto_assets_tests.live_dagster import LiveDagster, running_dagster
from crypto_assets_tests.sandboxed_project import BTC, ETH, START

TABLE = "cryptopair_5m_kdata"
SPACING = timedelta(seconds=20)
"""Less than a sensor's interval of thirty, twice of it more: the second wait is longer by a tick than the first."""
SETTINGS = {
    "CRYPTO_ASSETS_PAIRS": "BTC/USDT,ETH/USDT",
    "CRYPTO_ASSETS_PERPS": "BTC/USDT:USDT",
    "CRYPTO_ASSETS_START": START.isoformat(),
    "CRYPTO_ASSETS_GAP_SPACING": str(SPACING.total_seconds()),
}
LOST, HIDDEN, GONE = (
    (BTC, "2023-03-21 06:00", "2023-03-21 07:00"),
    (BTC, "2023-03-21 12:00", "2023-03-21 13:00"),
    (ETH, "2023-03-21 18:00", "2023-03-21 19:00"),
)


@dataclass(frozen=True)
class Tick:
    at: datetime
    runs: list[str]


def ticks(live: LiveDagster) -> list[Tick]:
    """All ticks of the repair sensor, oldest first."""
    answer = live.ask(
        """{ sensorOrError(sensorSelector: {sensorName: "gap_backfill_sensor", repositoryName: "__repository__",
            repositoryLocationName: "crypto_assets.definitions"}) { ... on Sensor { sensorState { ticks(limit: 99) {
            timestamp status runIds } } } } }"""
    )["sensorOrError"]["sensorState"]["ticks"]
    assert "FAILURE" not in {tick["status"] for tick in answer}
    return [Tick(moment(tick["timestamp"]), tick["runIds"]) for tick in reversed(answer)]


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def statuses(live: LiveDagster) -> list[str]:
    """How the runs that the sensor asked for ended, or how far they are."""
    runs = [run for tick in ticks(live) for run in tick.runs]
    select = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
    return [live.ask(select, id=run)["runOrError"]["status"] for run in runs]


def span_of_run(live: LiveDagster, run_id: str) -> tuple[datetime, datetime]:
    run = live.ask("query($id: ID!) { runOrError(runId: $id) { ... on Run { startTime endTime } } }", id=run_id)
    return moment(run["runOrError"]["startTime"]), moment(run["runOrError"]["endTime"])


def sql(database: Path, name: str, statement: str, *values: str) -> list[tuple]:
    file = database / "binance" / f"binance_{name}.db"
    with closing(sqlite3.connect(file, timeout=30)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def rows(database: Path, entity: str, until: str = "9999") -> list[tuple]:
    select = f"SELECT * FROM {TABLE} WHERE entity_id = ? AND timestamp < ? ORDER BY timestamp"
    return sql(database, TABLE, select, entity, until)


def gap(database: Path, span: tuple[str, str, str]) -> tuple[str | None, int, dict, datetime | None]:
    """The status of a span in the ledger, how often it was asked about, the evidence, and when it was repaired."""
    select = "SELECT status, attempts, evidence, repaired_at FROM crypto_kdata_gap WHERE entity_id = ? AND start LIKE ?"
    for status, attempts, evidence, repaired in sql(database, "crypto_quality", select, span[0], f"{span[1]}%"):
        return status, attempts, json.loads(evidence), repaired and datetime.fromisoformat(repaired)
    return None, 0, {}, None


def asked_at(database: Path, span: tuple[str, str, str]) -> list[datetime]:
    return [datetime.fromisoformat(answer["at"]) for answer in gap(database, span)[2]["answers"]]


def hide(span: tuple[str, str, str]) -> str:
    symbol = span[0].rpartition("_")[2].upper()
    return f"hidden_span:symbol={symbol},interval=5m,start={span[1].replace(' ', 'T')},end={span[2].replace(' ', 'T')}"


def delete(database: Path, span: tuple[str, str, str]) -> None:
    sql(database, TABLE, f"DELETE FROM {TABLE} WHERE entity_id = ? AND timestamp >= ? AND timestamp < ?", *span)


def test_what_was_deleted_comes_back_what_is_hidden_is_waited_for_and_what_is_gone_is_known_as_the_sources(
    sandbox, collected_project, tmp_path
):
    database = collected_project.copy(tmp_path / "database").directory
    whole = {entity: rows(database, entity) for entity in (BTC, ETH)}
    reappearing = sandbox.faults.add(hide(HIDDEN))
    sandbox.faults.add(hide(GONE))
    delete(database, HIDDEN)
    delete(database, GONE)
    with running_dagster(sandbox, tmp_path, **SETTINGS) as live:
        live.wait_for("an answer", lambda: [gap(database, each)[:2] for each in (HIDDEN, GONE)] == [("open", 1)] * 2)
        delete(database, LOST)
        seen = len(ticks(live))
    with running_dagster(sandbox, tmp_path, **SETTINGS) as live:
        live.wait_for("the end of the first repair", lambda: gap(database, LOST)[0] == "repaired")
        assert rows(database, BTC, HIDDEN[1]) == [row for row in whole[BTC] if row[3] < HIDDEN[1]]
        assert any(tick.runs for tick in ticks(live)[seen : seen + 2]), "asked for by the second tick at the latest"
        live.wait_for("a second answer", lambda: {gap(database, each)[1] for each in (HIDDEN, GONE)} == {2})
        assert {gap(database, each)[0] for each in (HIDDEN, GONE)} == {"open"}
        sandbox.faults.remove(reappearing.id)
        due = asked_at(database, HIDDEN)[-1] + 2 * SPACING
        live.wait_for("the return of what was hidden", lambda: gap(database, HIDDEN)[0] == "repaired")
        assert rows(database, BTC) == whole[BTC]
        (run,) = next(tick for tick in ticks(live) if tick.at >= due).runs
        live.wait_for("the third answer", lambda: gap(database, GONE)[0] == "source")
        first, second, third = asked_at(database, GONE)
        assert second - first >= SPACING
        assert third - second >= 2 * SPACING
        seen = len(ticks(live))
        live.wait_for("another tick", lambda: len(ticks(live)) > seen)
        assert ticks(live)[seen].runs == [], "what is the source's is left alone"
        assert set(statuses(live)) == {"SUCCESS"}, "a repair is not judged for what it was not asked to repair"
        began, end = span_of_run(live, run)
        assert began <= gap(database, HIDDEN)[3] <= end, "by the first tick after it was due"
        assert rows(database, ETH, GONE[1]) == [row for row in whole[ETH] if row[3] < GONE[1]]
        assert len(rows(database, ETH)) == len(whole[ETH]) - 12
