"""Training requests are taken one at a time, kept while they run, and say what came of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from project import ROOT

from contracts import LogUnavailable, NoBase, TrackingUnavailable
from forecast_log import ForecastLog
from training_queue import LEASE, TrainingQueue, at_work


@pytest.fixture
def requests(tmp_path) -> Iterator[ForecastLog]:
    opened = ForecastLog(f"sqlite:///{tmp_path}/forecasts.db")
    yield opened
    opened.close()


def trained(asked) -> str:
    return f"{asked.ticker}: version 1\nis champion"


def test_a_request_is_served_and_says_what_came_of_it(requests):
    requests.ask_training("AAPL", "no champion")
    assert TrainingQueue(requests, trained).serve_one().reason == "no champion"
    (past,) = requests.trainings("AAPL")
    assert (past.reason, past.outcome) == ("no champion", "AAPL: version 1 is champion")
    assert past.finished_at >= past.asked_at


def test_an_empty_queue_gives_nothing_to_do(requests):
    assert TrainingQueue(requests, trained).serve_one() is None
    assert requests.trainings("AAPL") == ()


def test_all_requests_are_served_the_oldest_first(requests):
    asked: list[str] = []
    for ticker in ("MSFT", "AAPL"):
        requests.ask_training(ticker, "age")
    queue = TrainingQueue(requests, lambda one: asked.append(one.ticker) or "done")
    assert queue.serve_all() == 2
    assert asked == ["MSFT", "AAPL"]


def test_a_training_that_cannot_be_made_is_finished_with_the_reason(requests):
    def baseless(_: object) -> str:
        raise NoBase("no base reaches that far back")

    requests.ask_training("AAPL", "age")
    TrainingQueue(requests, baseless).serve_one()
    assert requests.trainings("AAPL")[0].outcome == "failed: no base reaches that far back"


def test_a_training_without_mlflow_is_left_to_be_taken_again(requests):
    def away(_: object) -> str:
        raise TrackingUnavailable("MLflow is away")

    number = requests.ask_training("AAPL", "age")
    TrainingQueue(requests, away, lease_seconds=0.05).serve_one()
    time.sleep(0.06)
    again = TrainingQueue(requests, trained).serve_one()
    assert (again.id, again.attempts) == (number, 2)


def test_the_lease_is_renewed_while_a_training_runs(requests):
    def slow(_: object) -> str:
        time.sleep(1.0)
        assert requests.take_training("another", 60) is None
        return "done"

    requests.ask_training("AAPL", "age")
    TrainingQueue(requests, slow, lease_seconds=0.6).serve_one()
    assert requests.trainings("AAPL")[0].outcome == "done"


def test_what_another_worker_took_over_is_its_own_to_finish(requests):
    def robbed(asked: object) -> str:
        time.sleep(0.1)
        assert requests.take_training("another", 60) is not None
        return "mine"

    requests.ask_training("AAPL", "age")
    queue = TrainingQueue(requests, robbed, lease_seconds=0.05)
    queue._renew = lambda _: False  # a database that was away for a whole lease
    queue.serve_one()
    assert requests.trainings("AAPL") == ()


def test_a_request_of_a_killed_trainer_is_taken_again(requests, tmp_path):
    """A real process takes the request and is killed in the midst of its training."""
    code = (
        "import time\n"
        "from forecast_log import ForecastLog\n"
        "from training_queue import TrainingQueue\n"
        "def train(_):\n"
        "    print('training', flush=True)\n"
        "    time.sleep(60)\n"
        f"requests = ForecastLog('sqlite:///{tmp_path}/forecasts.db')\n"
        "TrainingQueue(requests, train, lease_seconds=1.0).serve_one()\n"
    )
    number = requests.ask_training("AAPL", "age")
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE
    ) as trainer:
        assert trainer.stdout.readline() == b"training\n"
        assert requests.take_training("early", 60) is None
        trainer.kill()
    while (taken := requests.take_training("late", 60)) is None:
        time.sleep(0.1)
    assert (taken.id, taken.attempts) == (number, 2)


def test_a_database_that_is_away_is_said(tmp_path):
    (tmp_path / "forecasts.db").write_text("no database" * 100)
    broken = ForecastLog(f"sqlite:///{tmp_path}/forecasts.db")
    with pytest.raises(LogUnavailable):
        TrainingQueue(broken, trained).serve_one()
    broken.close()


def test_a_trainer_that_stays_is_seen_by_its_lease(requests):
    with at_work(requests):
        assert requests.is_held(LEASE)
    assert not requests.is_held(LEASE)


def test_a_second_trainer_is_let_in_and_takes_the_lease_over(requests):
    with requests.lease(LEASE, "host-1", 60) as first:
        with at_work(requests, 0.3):
            first.__exit__()  # the first one is gone
            deadline = time.monotonic() + 30
            while not requests.is_held(LEASE) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert requests.is_held(LEASE)
        first.__enter__()  # given back by the second


def test_a_trainer_works_on_while_the_database_is_away(tmp_path, caplog):
    (tmp_path / "no.db").mkdir()
    away = ForecastLog(f"sqlite:///{tmp_path}/no.db")
    with at_work(away):
        assert "presence_not_told" in caplog.text
    away.close()
