"""The alert sensor tick by tick: real runs in a Dagster history of the test's own, a real receiver, and its cursor."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_assets.alerts import incidents
from crypto_assets.alerts.incidents import Alerts, Ending, Trouble
from crypto_assets.alerts.webhook import Webhook
from crypto_assets.definitions import build_definitions
from crypto_assets.orchestration.alerts import sensor
from crypto_assets.orchestration.alerts.sensor import build_alert_sensor
from crypto_assets.settings import Settings
from crypto_assets_tests.sandboxed_project import QUIET
from crypto_assets_tests.webhook_receiver import HANG, closed_url, running_receiver

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
REPAIR = "dagster asset materialize -m crypto_assets.definitions --select candles --partition 2023-03-20"


@dataclass
class World:
    """What the runs of a small project find: set by the test before each run."""

    verdicts: dict[str, dg.AssetCheckResult] = field(default_factory=dict)
    failing: dict[str, Exception] = field(default_factory=dict)
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)
    cursor: str | None = None

    def __post_init__(self) -> None:
        def asset(name: str) -> dg.AssetsDefinition:
            @dg.asset(name=name)
            def made() -> None:
                if name in self.failing:
                    raise self.failing[name]

            return made

        def check(name: str, *, blocking: bool = True) -> dg.AssetChecksDefinition:
            @dg.asset_check(asset="candles", name=name, blocking=blocking)
            def judged() -> dg.AssetCheckResult:
                return self.verdicts.get(name, dg.AssetCheckResult(passed=True))

            return judged

        self.definitions = dg.Definitions(
            assets=[asset("candles"), asset("trades")],
            asset_checks=[check("no_gaps"), check("on_grid"), check("advice", blocking=False)],
            jobs=[
                dg.define_asset_job("collect", dg.AssetSelection.all().without_checks()),
                dg.define_asset_job("integrity", dg.AssetSelection.all_asset_checks()),
                dg.define_asset_job("everything", dg.AssetSelection.all()),
            ],
            executor=dg.in_process_executor,
        )

    def run(self, job: str, **options) -> str:
        options = {"run_config": QUIET, "raise_on_error": False, **options}
        return self.definitions.resolve_job_def(job).execute_in_process(instance=self.instance, **options).run_id

    def materialize(self, *names: str) -> str:
        chosen = self.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection={dg.AssetKey(name) for name in names}, asset_check_selection=set()
        )
        return chosen.execute_in_process(instance=self.instance, run_config=QUIET, raise_on_error=False).run_id

    def tick(self, url: str | None, timeout: float = 5.0) -> str:
        """One tick as the daemon makes it, with nothing kept but the cursor; what the UI would show of it."""
        sensor = build_alert_sensor(Webhook(url, timeout) if url else None, "testnet")
        done = sensor.evaluate_tick(dg.build_sensor_context(instance=self.instance, cursor=self.cursor))
        assert not done.run_requests
        self.cursor = done.cursor
        return done.skip_message

    @property
    def waiting(self) -> int:
        return len(json.loads(self.cursor)["waiting"])


def gaps(severity: dg.AssetCheckSeverity = ERROR) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False,
        severity=severity,
        description="2,880 owed candles are missing in 2 gaps.",
        metadata={"count": 2880, "repair": REPAIR},
    )


@pytest.fixture
def receiver():
    with running_receiver() as running:
        yield running


@pytest.fixture
def world() -> World:
    """A project whose past was read."""
    world = World()
    world.tick(closed_url())
    return world


GAPS_OPEN = "*[testnet] candles: no_gaps failed*"
GAPS_OVER = "*[testnet] candles: no_gaps is well again*"


def test_a_failed_blocking_check_is_told_with_what_how_much_since_when_and_how_to_repair_it(world, receiver):
    world.verdicts["no_gaps"] = gaps()
    before = datetime.now(UTC).replace(microsecond=0)
    run_id = world.run("integrity")
    assert "Messages posted: 1, waiting: 0; incidents open: 1." in world.tick(receiver.url)
    title, how_much, since, *repair = receiver.taken[0].splitlines()
    assert title == f":red_circle: {GAPS_OPEN}"
    assert how_much == "2,880 owed candles are missing in 2 gaps."
    moment = re.fullmatch(rf"Since (\S+ \S+) UTC, run `{run_id}` of job integrity", since)[1]
    assert before <= datetime.fromisoformat(f"{moment}+00:00") <= datetime.now(UTC)
    assert repair == ["Repair:", f"```{REPAIR}```"]


def test_an_incident_is_told_once_however_often_it_is_seen_and_its_end_once(world, receiver):
    world.verdicts["no_gaps"] = gaps()
    for _ in range(3):
        world.run("integrity")
        world.tick(receiver.url)
        world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN]
    world.verdicts.clear()
    for _ in range(2):
        world.run("integrity")
        world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN, GAPS_OVER]
    assert re.search(r"Broken since \S+ \S+ UTC, for 0:00:\d\d, seen 3 times\n", receiver.taken[1])
    world.verdicts["no_gaps"] = gaps()
    world.run("integrity")
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN, GAPS_OVER, GAPS_OPEN]


def test_a_failed_step_is_told_by_its_job_with_its_own_sentence_and_the_command_that_runs_it_again(world, receiver):
    world.failing["trades"] = dg.Failure(description="api.example answered 451: <blocked> & gone")
    tags = {"dagster/asset_partition_range_start": "2023-03-20", "dagster/asset_partition_range_end": "2023-03-22"}
    world.run("collect", tags=tags)
    world.tick(receiver.url)
    (text,) = receiver.taken
    assert text.splitlines()[0] == ":red_circle: *[testnet] job collect failed*"
    assert "Steps failed: 1, succeeded: 1. trades: api.example answered 451: &lt;blocked&gt; &amp; gone" in text
    assert f"```dagster job execute -m crypto_assets.definitions -j collect --tags '{json.dumps(tags)}'```" in text
    world.failing.clear()
    world.run("collect")
    world.tick(receiver.url)
    assert receiver.titles()[1:] == ["*[testnet] job collect is well again*"]


def test_an_unexpected_error_is_told_by_its_own_message_without_a_traceback(world, receiver):
    world.failing["candles"] = ZeroDivisionError("of nothing")
    world.run("collect")
    world.tick(receiver.url)
    assert "candles: ZeroDivisionError: of nothing\n" in receiver.taken[0]
    assert "File" not in receiver.taken[0]


def test_a_materialization_is_told_by_its_assets_and_ends_when_each_was_materialized_in_whatever_run(world, receiver):
    world.failing = {name: ValueError("down") for name in ("candles", "trades")}
    world.materialize("candles", "trades")
    world.tick(receiver.url)
    assert receiver.titles() == ["*[testnet] materialization of candles, trades failed*"]
    assert "dagster asset materialize -m crypto_assets.definitions --select candles,trades```" in receiver.taken[0]
    assert "candles: ValueError: down (failed as well: trades)\n" in receiver.taken[0]
    world.failing.pop("trades")
    world.materialize("trades")
    world.run("collect")  # where candles fail still, which is known
    world.tick(receiver.url)
    assert len(receiver.taken) == 1
    world.failing.clear()
    world.materialize("candles")
    world.tick(receiver.url)
    assert receiver.titles()[1:] == ["*[testnet] materialization of candles, trades is well again*"]


def test_a_job_over_chosen_assets_is_run_again_over_these_with_its_partition_and_what_it_was_told_to_do(
    world, receiver
):
    run = world.instance.create_run_for_job(
        world.definitions.resolve_job_def("collect"),
        run_config={
            "ops": {"candles": {"config": {"symbols": ["BTC/USDT"]}}},
            "resources": {"io_manager": {"config": {"base_dir": "/what may be secret"}}},
        },
        tags={"dagster/partition": "2023-03-20"},
        asset_selection={dg.AssetKey("candles")},
    )
    world.instance.report_run_failed(run)
    world.tick(receiver.url)
    assert (
        "```dagster asset materialize -m crypto_assets.definitions --select candles --partition 2023-03-20"
        """ --config-json '{"ops": {"candles": {"config": {"symbols": ["BTC/USDT"]}}}}'```""" in receiver.taken[0]
    )


def test_a_run_that_fails_for_its_checks_is_not_told_a_second_time(world, receiver):
    world.verdicts["no_gaps"] = gaps()
    world.run("everything")
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN]


def test_a_step_that_fails_beside_a_check_is_another_incident(world, receiver):
    world.verdicts["no_gaps"] = gaps()
    world.failing["trades"] = ValueError("down")
    world.run("everything")
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN, "*[testnet] job everything failed*"]


def test_warnings_and_checks_that_do_not_block_are_no_incidents_and_no_recoveries(world, receiver):
    world.verdicts = {"no_gaps": gaps(WARN), "advice": gaps()}
    world.run("everything")
    world.tick(receiver.url)
    assert receiver.taken == []
    world.verdicts = {"no_gaps": gaps()}
    world.run("integrity")
    world.verdicts = {"no_gaps": gaps(WARN)}
    world.run("integrity")
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN]


def test_canceled_runs_are_ignored(world, receiver):
    run = world.instance.create_run_for_job(world.definitions.resolve_job_def("collect"))
    world.instance.report_run_canceled(run)
    world.tick(receiver.url)
    assert receiver.taken == []


def test_a_run_that_died_before_any_step_is_told_by_its_job_until_the_job_succeeds(world, receiver):
    run = world.instance.create_run_for_job(world.definitions.resolve_job_def("integrity"))
    world.instance.report_run_failed(run, message="Run worker 123 was killed")
    world.tick(receiver.url)
    assert "Steps failed: 0, succeeded: 0. Run worker 123 was killed" in receiver.taken[0]
    assert "```dagster job execute -m crypto_assets.definitions -j integrity```" in receiver.taken[0]
    world.run("collect")
    world.tick(receiver.url)
    assert len(receiver.taken) == 1
    # Red for its checks: the job itself ran to its end.
    world.verdicts["no_gaps"] = gaps()
    world.run("integrity")
    world.tick(receiver.url)
    assert receiver.titles()[1:] == [GAPS_OPEN, "*[testnet] job integrity is well again*"]


@pytest.mark.parametrize("status", [500, 503, 429, 404, HANG])
def test_a_message_that_was_not_taken_is_posted_again_at_the_next_tick_and_only_then(world, receiver, status):
    world.verdicts["no_gaps"] = gaps()
    world.run("integrity")
    receiver.script = [status, status]
    for tick in (1, 2):
        said = world.tick(receiver.url, timeout=0.2)
        assert "Messages posted: 0, waiting: 1; incidents open: 1. The webhook at 127.0.0.1" in said
        assert ("CRYPTO_ASSETS_ALERT_WEBHOOK" in said) == (status == 404)
        assert "secret" not in said
        assert len(receiver.requests) == tick
    world.tick(receiver.url)
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN]
    assert len(receiver.requests) == 3
    assert receiver.requests[0] == receiver.requests[2]


def test_what_broke_and_ended_while_nobody_listened_is_told_in_order_afterwards(world, receiver):
    world.verdicts["no_gaps"] = gaps()
    world.run("integrity")
    world.tick(closed_url())
    world.verdicts.clear()
    world.run("integrity")
    assert "did not answer" in world.tick(closed_url())
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN, GAPS_OVER]


def test_several_incidents_of_one_run_are_a_message_each(world, receiver):
    world.verdicts = {name: gaps() for name in ("no_gaps", "on_grid")}
    world.run("integrity")
    world.tick(receiver.url)
    assert set(receiver.titles()) == {GAPS_OPEN, "*[testnet] candles: on_grid failed*"}


def test_a_tick_posts_a_bounded_number_of_messages_and_stops_at_the_first_that_is_refused(world, receiver):
    for verdicts in [{"no_gaps": gaps()}, {}] * 4:
        world.verdicts = verdicts
        world.run("integrity")
    receiver.script = [200, 200, 500]
    world.tick(receiver.url)
    assert (len(receiver.taken), len(receiver.requests), world.waiting) == (2, 3, 6)
    world.tick(receiver.url)
    assert (len(receiver.taken), world.waiting) == (2 + sensor.MESSAGES_PER_TICK, 1)
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN, GAPS_OVER] * 4


def test_a_tick_reads_a_bounded_number_of_runs_and_the_next_goes_on(world, receiver):
    world.verdicts["no_gaps"] = gaps()
    world.run("integrity")
    for _ in range(sensor.RUNS_PER_TICK):
        world.materialize("trades")
    world.verdicts.clear()
    world.run("integrity")
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN]
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN, GAPS_OVER]


def test_while_nothing_can_be_delivered_the_cursor_stops_growing_and_nothing_is_lost(world, receiver):
    # Two messages a run, so that it is neither the number of runs nor that of messages in a tick that ends the reading.
    rounds = sensor.MAX_WAITING // 4 + 2
    for verdicts in [{"no_gaps": gaps(), "on_grid": gaps()}, {}] * rounds:
        world.verdicts = verdicts
        world.run("integrity")
    for _ in range(3):
        world.tick(closed_url())
        assert world.waiting == sensor.MAX_WAITING
    for _ in range(rounds):
        world.tick(receiver.url)
    assert [title for title in receiver.titles() if "no_gaps" in title] == [GAPS_OPEN, GAPS_OVER] * rounds
    assert len(receiver.taken) == 4 * rounds


def test_a_run_touched_after_its_end_is_not_read_again(world, receiver):
    world.verdicts["no_gaps"] = gaps()
    failed = world.run("integrity")
    world.verdicts.clear()
    world.run("integrity")
    world.tick(receiver.url)
    world.instance.add_run_tags(failed, {"reviewed": "yes"})
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN, GAPS_OVER]


def test_the_first_tick_tells_of_the_last_hour_and_not_of_history(receiver):
    world = World()
    world.verdicts["no_gaps"] = gaps()
    world.run("integrity")
    hour = 3600
    old = dg.EventLogEntry(
        error_info=None,
        level="debug",
        user_message="",
        run_id=world.instance.create_run_for_job(world.definitions.resolve_job_def("collect")).run_id,
        timestamp=time.time() - 2 * hour,
        dagster_event=dg.DagsterEvent(dg.DagsterEventType.RUN_FAILURE.value, "collect", message="long ago"),
    )
    world.instance.handle_new_event(old)
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN]


@pytest.mark.parametrize(
    "cursor", ["garbage", "[]", "{}", '{"position": "x"}', '{"position": 1, "incidents": [3]}', "null"]
)
def test_a_cursor_that_is_not_its_own_is_dropped(world, receiver, cursor):
    world.cursor = cursor
    world.verdicts["no_gaps"] = gaps()
    world.run("integrity")
    world.tick(receiver.url)
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN]


def test_a_history_that_was_wiped_does_not_deafen_it(world, receiver):
    memory = json.loads(world.cursor)
    world.cursor = json.dumps(memory | {"position": 10**9})
    world.tick(receiver.url)
    world.verdicts["no_gaps"] = gaps()
    world.run("integrity")
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN]


def test_without_a_webhook_the_setting_is_named_and_what_is_known_is_kept(world, receiver):
    world.verdicts["no_gaps"] = gaps()
    world.run("integrity")
    cursor = world.cursor
    assert "CRYPTO_ASSETS_ALERT_WEBHOOK" in world.tick(None)
    assert world.cursor == cursor
    world.tick(receiver.url)
    assert receiver.titles() == [GAPS_OPEN]


def trouble(number: int, repair: str = "again") -> Trouble:
    return Trouble({f"check:table:{number}"}, f"table: {number}", "much", repair)


def test_there_is_an_end_to_how_many_incidents_are_kept_and_what_is_left_out_is_said():
    memory = Alerts(position=0)
    many = [trouble(number) for number in range(incidents.MAX_INCIDENTS + 2)]
    assert memory.note(Ending("run", "job integrity", 0.0, many), "testnet") == many[-2:]
    assert len(memory.incidents) == incidents.MAX_INCIDENTS
    well = Ending("run", "job integrity", 1.0, many[-1:], frozenset(many[0].keys))
    memory.note(well, "testnet")
    assert memory.note(well, "testnet") == []
    assert memory.incidents[-1].what == many[-1].what


def test_a_message_stays_short_and_a_repair_that_would_be_cut_is_not_shown():
    memory = Alerts(position=0)
    long = Trouble({"check:a:b"}, "&" * 5000, "<" * 5000, "DELETE " * 1000)
    memory.note(Ending("run-1", "job " + ">" * 5000, 0.0, [long]), "testnet")
    (text,) = memory.waiting
    assert len(text) < 3000
    assert "DELETE" not in text
    assert "see the metadata of run run-1" in text
    assert not re.search(r"&(?!amp;|lt;|gt;)", text)


STEPS = st.sampled_from(["ok", "check", "step", "other check", "down", "up", "tick"])


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=10))
def test_every_change_between_well_and_broken_is_told_exactly_once_and_in_order(receiver, steps):
    world, broken, expected = World(), set(), []
    receiver.taken.clear()
    receiver.always = 200
    names = {"check": "candles: no_gaps", "other check": "candles: on_grid", "step": "job everything"}
    for step in steps:
        if step in ("down", "up"):
            receiver.always = 500 if step == "down" else 200
        elif step == "tick":
            world.tick(receiver.url)
        else:
            world.verdicts = {
                name: gaps() for name, of in (("no_gaps", "check"), ("on_grid", "other check")) if step == of
            }
            world.failing = {"trades": ValueError("down")} if step == "step" else {}
            world.run("everything")
            now = {names[step]} if step in names else set()
            expected += [f"*[testnet] {name} failed*" for name in now - broken]
            expected += [f"*[testnet] {name} is well again*" for name in broken - now]
            broken = now
    receiver.always = 200
    for _ in range(len(expected) + 2):
        world.tick(receiver.url)
    assert receiver.titles() == expected
    assert {incident["what"] for incident in json.loads(world.cursor)["incidents"]} == broken


def test_the_project_has_the_sensor_and_nowhere_shows_its_url(receiver):
    definitions = build_definitions(Settings(environment="sandbox", database="", alert_webhook=receiver.url))
    sensor = definitions.get_repository_def().get_sensor_def("run_failure_alert_sensor")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 30
    assert all("secret" not in str(resource.__dict__) for resource in definitions.resources.values())
    instance = dg.DagsterInstance.ephemeral()
    run = instance.create_run_for_job(definitions.resolve_job_def("bootstrap"))
    instance.report_run_failed(run)
    context = dg.build_sensor_context(instance=instance, repository_def=definitions.get_repository_def())
    sensor.evaluate_tick(context)
    assert receiver.titles() == ["*[sandbox] job bootstrap failed*"]
