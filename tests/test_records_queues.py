"""Queues and leases: a request has one worker at a time, the dead keep nothing for ever."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from contracts import JobRecord, LeaseLost, LeaseTaken
from records.requests import MOST_ATTEMPTS
from records.schema import LEASES

HERE = Path(__file__).resolve().parent
BRIEF, LONG = 0.05, 60.0  # seconds of a lease: over soon, or not within a test


def wait_out() -> None:
    time.sleep(2 * BRIEF)


def test_asking_twice_gives_the_same_request(forecast_log):
    number = forecast_log.ask_training("AAPL", "drift alarm")
    assert forecast_log.ask_training("AAPL", "age") == number
    assert forecast_log.ask_training("MSFT", "age") != number


def test_a_request_says_who_asked_why_and_until_when(forecast_log):
    number = forecast_log.ask_training("AAPL", "drift alarm")
    taken = forecast_log.take_training("worker-1", LONG)
    assert (taken.id, taken.ticker, taken.reason) == (number, "AAPL", "drift alarm")
    assert (taken.worker, taken.attempts) == ("worker-1", 1)
    assert abs(taken.expires_at - datetime.now(UTC) - timedelta(seconds=LONG)).seconds < LONG


def test_requests_are_taken_in_the_order_they_came_each_once(forecast_log):
    for ticker in ("MSFT", "AAPL", "IBM"):
        forecast_log.ask_training(ticker, "age")
    taken = [forecast_log.take_training("w", LONG) for _ in range(4)]
    assert [t and t.ticker for t in taken] == ["MSFT", "AAPL", "IBM", None]


def test_an_empty_queue_gives_nothing(forecast_log):
    assert forecast_log.take_training("w", LONG) is None
    assert forecast_log.take_check("w", LONG) is None


def test_a_request_in_hand_is_still_the_open_one(forecast_log):
    number = forecast_log.ask_training("AAPL", "age")
    forecast_log.take_training("w", LONG)
    assert forecast_log.ask_training("AAPL", "age") == number


def test_a_finished_request_makes_room_for_another(forecast_log):
    number = forecast_log.ask_training("AAPL", "age")
    forecast_log.take_training("w", LONG)
    assert forecast_log.finish_training(number, "promoted version 4")
    assert not forecast_log.finish_training(number, "again")
    assert forecast_log.take_training("w", LONG) is None
    assert forecast_log.ask_training("AAPL", "age") != number


def test_a_dead_workers_request_is_taken_again(forecast_log):
    number = forecast_log.ask_training("AAPL", "age")
    forecast_log.take_training("dead", BRIEF)
    wait_out()
    again = forecast_log.take_training("alive", LONG)
    assert (again.id, again.worker, again.attempts) == (number, "alive", 2)


def test_a_worker_that_comes_back_too_late_closes_nothing(forecast_log):
    number = forecast_log.ask_training("AAPL", "age")
    forecast_log.take_training("late", BRIEF)
    wait_out()
    forecast_log.take_training("alive", LONG)
    assert not forecast_log.renew_training(number, "late", LONG)
    assert not forecast_log.finish_training(number, "done", "late")
    assert forecast_log.finish_training(number, "done", "alive")


def test_a_renewed_request_stays_with_its_worker(forecast_log):
    number = forecast_log.ask_training("AAPL", "age")
    forecast_log.take_training("slow", BRIEF)
    assert forecast_log.renew_training(number, "slow", LONG)
    wait_out()
    assert forecast_log.take_training("other", LONG) is None


def test_a_request_that_ends_its_workers_is_given_up(forecast_log):
    number = forecast_log.ask_training("AAPL", "age")
    for _ in range(MOST_ATTEMPTS):
        assert forecast_log.take_training("w", 0).id == number
    assert forecast_log.take_training("w", 0) is None
    assert forecast_log.ask_training("AAPL", "age") != number


def test_checks_have_a_queue_of_their_own(forecast_log):
    number = forecast_log.ask_check("AAPL")
    assert forecast_log.take_training("w", LONG) is None
    assert forecast_log.take_check("w", LONG).id == number
    assert forecast_log.finish_check(number)
    assert forecast_log.ask_check("AAPL") != number


def test_a_queue_tells_what_waits_and_what_was_finished_last(forecast_log):
    assert forecast_log.trainings_done() == JobRecord(ticker=None, finished_at=None, waiting=0)
    for ticker in ("AAPL", "MSFT", "IBM"):
        forecast_log.ask_training(ticker, "age")
    for _ in range(2):
        forecast_log.finish_training(forecast_log.take_training("w", LONG).id, "done")
    done = forecast_log.trainings_done()
    assert (done.ticker, done.waiting) == ("MSFT", 1)
    assert done.finished_at == forecast_log.trainings("MSFT")[0].finished_at


def test_a_lease_is_held_by_one(forecast_log):
    with (
        forecast_log.lease("watch", "first", LONG),
        pytest.raises(LeaseTaken, match=r"first is at 'watch' until .* UTC"),
        forecast_log.lease("watch", "second", LONG),
    ):
        pass
    with forecast_log.lease("watch", "second", LONG):
        pass  # given back


def holder_of(url: str, name: str) -> str | None:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.scalar(sa.select(LEASES.c.holder).where(LEASES.c.name == name))
    engine.dispose()
    return found


def test_whoever_only_asks_takes_nothing(forecast_log, database_url):
    assert not forecast_log.is_held("watch")
    with forecast_log.lease("watch", "first", LONG):
        assert forecast_log.is_held("watch") and not forecast_log.is_held("sync")
    assert not forecast_log.is_held("watch")
    with forecast_log.lease("watch", "slow", BRIEF):
        time.sleep(2 * BRIEF)
        assert not forecast_log.is_held("watch")


def test_leases_of_other_names_do_not_meet(forecast_log, database_url):
    with forecast_log.lease("watch", "a", LONG), forecast_log.lease("sync", "b", LONG):
        assert holder_of(database_url, "watch") == "a"
        assert holder_of(database_url, "sync") == "b"
    assert holder_of(database_url, "watch") is None


def test_a_lease_ends_by_itself_and_the_old_holder_notices(forecast_log, caplog):
    with forecast_log.lease("watch", "slow", BRIEF) as lost:
        wait_out()
        taken = forecast_log.lease("watch", "next", LONG)
        with taken, pytest.raises(LeaseLost, match="slow no longer holds 'watch'"):
            lost.renew()
    assert "lease_lost name=watch holder=slow" in caplog.text


def test_the_end_of_a_lost_lease_leaves_the_next_holders(forecast_log, database_url):
    lost = forecast_log.lease("watch", "slow", BRIEF)
    lost.__enter__()
    wait_out()
    with forecast_log.lease("watch", "next", LONG):
        lost.__exit__(None, None, None)
        assert holder_of(database_url, "watch") == "next"


def test_a_renewed_lease_stays(forecast_log):
    with forecast_log.lease("watch", "busy", LONG) as held:
        held.renew()
        with pytest.raises(LeaseTaken), forecast_log.lease("watch", "other", LONG):
            pass


def test_what_fails_inside_a_lease_gives_it_back(forecast_log):
    with pytest.raises(ZeroDivisionError), forecast_log.lease("watch", "clumsy", LONG):
        _ = 1 / 0
    with forecast_log.lease("watch", "next", LONG):
        pass


@pytest.fixture(params=[6, pytest.param(300, marks=pytest.mark.long)])
def races(request, database_url) -> dict[str, dict[str, int]]:
    """What real processes at one database counted."""
    jobs = "create,queue,lease"
    command = [sys.executable, str(HERE / "promise_processes.py"), jobs]
    run = subprocess.run(
        [*command, database_url, str(request.param)],
        env={"PYTHONPATH": f"{HERE.parent}:{HERE}"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_processes_at_one_database_never_share_a_request_or_a_lease(races):
    assert races["create"]["asked"] == races["create"]["expected"]
    assert races["queue"]["finished"] == races["queue"]["distinct"] == races["queue"]["asked"]
    assert races["lease"]["counted"] == races["lease"]["expected"]
