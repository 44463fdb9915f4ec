"""The monitor's loop on real prices: what a round leaves, and that it may be killed at will."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from loop_project import calm, on, placed, with_champion
from project import ROOT, Project, free_port

from config import Settings
from contracts import DriftVerdict, SourceUnavailable
from forecast_log import ForecastLog
from model_store import ModelStore
from registry import Registry, experiment_name
from rounds import Rounds
from watch import SessionClose, Watch, somebody_watches

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def seeded(panel_project, real_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("loop")
    with_champion(folder, panel_project, real_data)
    return folder


@pytest.fixture
def place(seeded, tmp_path) -> Settings:
    shutil.copytree(seeded, tmp_path / "project")
    return placed(tmp_path / "project")


@pytest.fixture
def requests(place) -> Iterator[ForecastLog]:
    opened = ForecastLog(place.database_url)
    yield opened
    opened.close()


def round_on(place: Settings, requests: ForecastLog, day: str, watcher=calm, **changes: object):
    return Rounds(on(place, day, **changes), requests, watcher).run("AAPL")


def live_runs(place: Settings) -> list[object]:
    client = Registry(place.mlflow_tracking_uri)._client
    experiment = client.get_experiment_by_name(experiment_name("AAPL"))
    return client.search_runs([experiment.experiment_id], "tags.kind = 'settlement'")


def test_a_round_promises_thirty_sessions_and_records_a_verdict(place, requests):
    report = round_on(place, requests, "2025-12-01")
    (promise,) = requests.promises("AAPL")
    assert (promise.origin, len(promise.dates)) == (date(2025, 12, 1), 30)
    assert (promise.version, promise.request_id) == ("1", "watch")
    assert [verdict.as_of for verdict in report.verdicts] == [date(2025, 12, 1)]
    assert report.failures == ()


def test_the_same_round_again_changes_nothing(place, requests):
    for _ in range(2):
        round_on(place, requests, "2025-12-01")
        report = round_on(place, requests, "2025-12-02")
    assert (report.settled, report.verdicts) == (0, ())
    assert len(requests.promises("AAPL")) == 2
    assert len(requests.verdicts("AAPL")) == 2
    assert len(live_runs(place)) == 1


def test_missed_sessions_are_checked_in_their_order_and_settled(place, requests):
    round_on(place, requests, "2025-12-01")
    report = round_on(place, requests, "2025-12-05")
    assert [str(verdict.as_of) for verdict in report.verdicts] == [
        *("2025-12-02", "2025-12-03", "2025-12-04", "2025-12-05")
    ]
    assert report.settled == 4


def test_every_settlement_is_a_run_beside_the_backtests(place, requests):
    for day in ("2025-12-01", "2025-12-02", "2025-12-03"):
        round_on(place, requests, day)
    newest, _ = sorted(live_runs(place), key=lambda run: run.data.tags["mark"], reverse=True)
    assert newest.data.tags["model_version"] == "1"
    assert newest.data.metrics["live_n_1"] == 2
    performance = requests.performance("AAPL")
    row = next(row for row in performance.rows if row.step == 1)
    assert newest.data.metrics["live_rmse_1"] == pytest.approx(row.model.rmse)


def test_without_mlflow_the_round_goes_on_and_the_figures_follow_later(
    place, requests, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = {"mlflow_tracking_uri": f"http://127.0.0.1:{free_port()}"}
    round_on(place, requests, "2025-12-01")
    report = round_on(place, requests, "2025-12-02", **away)
    assert report.settled == 1 and len(report.verdicts) == 1
    assert len(report.failures) == 1 and "tracking failed" in report.failures[0]
    assert live_runs(place) == []
    round_on(place, requests, "2025-12-02")
    assert len(live_runs(place)) == 1


def test_one_tickers_failure_does_not_stop_the_others(place, requests):
    watch = Watch(("NOPE", "AAPL"), place, Rounds(on(place, "2025-12-01"), requests, calm))
    (failure,) = watch.round(watch.tickers)
    assert failure.startswith("NOPE: prices failed")
    assert len(requests.promises("AAPL")) == 1


class Away:
    """A source that does not answer."""

    name, adjustment, in_parts = "yfinance", "split", True

    def fetch(self, ticker: str, first: date, last: date) -> None:
        raise SourceUnavailable("Yahoo does not answer")


def test_prices_that_could_not_be_brought_up_to_date_are_a_failure_to_be_tried_again(
    place, requests, monkeypatch
):
    monkeypatch.setattr("data_pipeline.providers", lambda _: [Away()])
    with_today = place.model_copy(update={"as_of": None})
    watch = Watch(("AAPL",), with_today, Rounds(with_today, requests, calm_today))
    (failure,) = watch.round(watch.tickers)
    assert "sessions behind" in failure
    assert requests.promises("AAPL")[0].origin == date(2025, 12, 31)


def calm_today(ticker: str, settings: Settings, log: ForecastLog) -> DriftVerdict:
    return calm(ticker, settings, log, as_of=date(2025, 12, 31))


def test_a_bug_in_one_round_does_not_stop_the_others(place, requests):
    class Faulty(Rounds):
        def run(self, ticker: str):
            return super().run(ticker) if ticker == "AAPL" else 1 / 0

    watch = Watch(("MSFT", "AAPL"), place, Faulty(on(place, "2025-12-01"), requests, calm))
    assert watch.round(watch.tickers) == ["MSFT: ZeroDivisionError: division by zero"]
    assert len(requests.promises("AAPL")) == 1


def test_a_ticker_without_a_champion_asks_for_one(place, requests):
    shutil.rmtree(place.models_dir / "champions")
    assert round_on(place, requests, "2025-12-01").asked == "no champion for these prices"
    assert requests.take_training("trainer", 60).ticker == "AAPL"
    assert requests.promises("AAPL") == ()


def test_an_alarm_asks_for_one_training_however_long_it_stands(place, requests):
    def alarmed(ticker: str, settings: Settings, log: ForecastLog) -> DriftVerdict:
        return calm(ticker, settings, log, alarm=True, severity="alarm", episode=date(2025, 12, 30))

    asked = round_on(place, requests, "2025-12-30", alarmed).asked
    assert asked == "drift alarm of 2025-12-30"
    request = requests.take_training("trainer", 60)
    requests.finish_training(request.id, "kept: worse than the champion")
    assert round_on(place, requests, "2025-12-31", alarmed).asked is None


def test_an_old_champion_asks_for_a_training(place, requests):
    asked = round_on(place, requests, "2025-12-31", retrain_after_days=30).asked
    assert asked == "version 1 has seen nothing for 30 days, after 2025-11-28"


def test_a_check_that_was_asked_for_is_made_and_finished(place, requests):
    rounds = Rounds(on(place, "2025-12-01"), requests, calm)
    assert rounds.serve_check() is None
    requests.ask_check("AAPL")
    assert rounds.serve_check() == "AAPL: No drift."
    assert rounds.serve_check() is None
    assert len(requests.verdicts("AAPL")) == 1


def test_an_alias_moved_by_hand_is_followed_by_the_loop(place, requests):
    registry, store = Registry(place.mlflow_tracking_uri), ModelStore(place.models_dir)
    first = store.champion("AAPL")
    second = registry.register(first.card.run_id, "AAPL", {"model_bundle": first.bundle})
    registry.name_champion("AAPL", second)
    watch = Watch(("AAPL",), place, Rounds(place, requests, calm))
    assert watch.sync() == []
    assert store.champion("AAPL").version == second == "2"


def test_the_loop_goes_on_when_mlflow_is_away(place, requests, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = place.model_copy(update={"mlflow_tracking_uri": f"http://127.0.0.1:{free_port()}"})
    (line,) = Watch(("AAPL",), away, Rounds(away, requests, calm)).sync()
    assert "check MLFLOW_TRACKING_URI" in line


def test_a_trigger_fires_a_while_after_every_close_early_ones_included():
    trigger = SessionClose("AAPL", timedelta(minutes=30))
    fired = trigger.get_next_fire_time(None, datetime(2025, 11, 26, 12, tzinfo=UTC))
    expected = [(26, 21, 30), (28, 18, 30)]  # Thanksgiving between them, half a day after it
    for day, hour, minute in expected:
        assert fired == datetime(2025, 11, day, hour, minute, tzinfo=UTC)
        fired = trigger.get_next_fire_time(fired, fired + timedelta(seconds=1))
    assert fired == datetime(2025, 12, 1, 21, 30, tzinfo=UTC)


def test_each_exchange_has_a_job_of_its_own(place, requests):
    watch = Watch(("AAPL", "0700.HK", "MSFT", "BTC-USD"), place, Rounds(place, requests))
    assert list(watch.by_exchange().values()) == [("AAPL", "MSFT"), ("0700.HK",), ("BTC-USD",)]
    scheduler = watch.schedule()
    names = [job.id for job in scheduler.get_jobs() if job.id.startswith("rounds")]
    assert names == ["rounds of XNYS", "rounds of XHKG", "rounds of 24/7"]


def environment(place: Settings, day: str) -> dict[str, str]:
    names = ("data_dir", "models_dir", "reports_dir", "database_url", "allow_synthetic")
    wish = {f"STOCK_{name}".upper(): str(getattr(place, name)) for name in names}
    return wish | {
        "MLFLOW_TRACKING_URI": place.mlflow_tracking_uri,
        "STOCK_TICKERS": "AAPL",
        "STOCK_AS_OF": day,
        "STOCK_WATCH_LEASE_SECONDS": "2",
    }


def test_two_loops_do_not_collide_and_the_second_finds_nothing_to_do(place, requests, tmp_path):
    lease = {"STOCK_WATCH_LEASE_SECONDS": "60"}  # that a starved process does not let slip
    project = Project(tmp_path, environment(place, "2025-12-01") | lease)
    command = [sys.executable, str(ROOT / "watch.py"), "--once"]
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=project.environment(), stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("waiting reason=" in text for text in said) == 1
    assert len(requests.verdicts("AAPL")) == 1
    assert len(requests.promises("AAPL")) == 1


def test_a_loop_that_stays_holds_its_lease_and_gives_it_back_when_told_to_end(
    place, requests, tmp_path
):
    project = Project(tmp_path, environment(place, "2025-12-01"))
    calm("AAPL", on(place, "2025-12-01"), requests)  # the check is done, so that the round is short
    command = [sys.executable, str(ROOT / "watch.py")]
    with subprocess.Popen(command, cwd=tmp_path, env=project.environment()) as loop:
        deadline = time.monotonic() + 60
        while not (held := somebody_watches(requests)) and time.monotonic() < deadline:
            time.sleep(0.2)
        while not requests.promises("AAPL") and time.monotonic() < deadline:
            time.sleep(0.2)
        loop.send_signal(signal.SIGTERM)
        assert loop.wait(30) == 0
    assert held
    assert len(requests.promises("AAPL")) == 1
    assert not somebody_watches(requests)


def killed(place: Settings, kills: int) -> dict[str, dict[str, object]]:
    folder = place.data_dir.parent
    run = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "kill_rounds.py"), str(folder), str(kills)],
        cwd=folder,
        env=Project(folder).environment(PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}"),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_rounds_that_are_killed_at_random_leave_what_an_undisturbed_one_leaves(place):
    found = killed(place, 3)
    assert found["disturbed"] == found["whole"]
    assert found["whole"]["settled"] == 8
    assert found["whole"]["asked"].startswith("version 1 has seen nothing for 5 days")


@pytest.mark.long
def test_a_hundred_kills_leave_nothing_behind(place):
    found = killed(place, 100)
    assert found["disturbed"] == found["whole"]
