"""Tasks run by processes, and in this one: what comes back, what a dead worker costs."""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import engine_work
import pytest
from processes import gone

from contracts import BadSettings
from engines import Done, EngineChoice, add_engine_flags, choice_of, open_engine
from engines.places import own_folder
from engines.worker import ONE_THREAD

TESTS = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def two():
    """Two processes for all tests of this file."""
    with open_engine(EngineChoice(workers=2)) as engine:
        yield engine


@pytest.fixture(params=["in this process", "two processes"])
def engine(request):
    """Either kind of the local engine."""
    if request.param == "two processes":
        yield request.getfixturevalue("two")
        return
    with open_engine(EngineChoice(workers=1)) as here:
        yield here


def numbered(*numbers: float):
    return [(f"task{index}", number) for index, number in enumerate(numbers)]


def by_key(outcomes):
    return {done.key: done for done in outcomes}


def test_every_task_comes_back_once_with_its_value(engine):
    outcomes = list(engine.map(engine_work.square, numbered(*range(25))))
    assert sorted(done.key for done in outcomes) == sorted(f"task{n}" for n in range(25))
    assert all(done.value == {"square": int(done.key[4:]) ** 2} for done in outcomes)
    assert {done.attempts for done in outcomes} == {1}


def test_a_collection_passes_over_what_a_workers_first_task_loaded(two):
    list(two.map(engine_work.square, numbered(1, 2)))  # the process may be new
    frozen = {done.value for done in two.map(engine_work.frozen, numbered(1, 2, 3, 4))}
    assert min(frozen) > 1000  # objects of the modules that are loaded


def test_no_task_gives_nothing(engine):
    assert list(engine.map(engine_work.square, [])) == []


def test_an_explained_error_is_the_tasks_own(engine, caplog):
    found = by_key(engine.map(engine_work.square_or_say_why, numbered(-1, 4)))
    assert found["task0"].error == "task0 is negative; give a number above zero"
    assert found["task1"].value == 2.0
    assert "Traceback" not in caplog.text


def test_a_surprise_is_told_with_its_traceback(engine, caplog):
    found = by_key(engine.map(engine_work.square_or_say_why, numbered(2, 4)))
    assert found["task0"].error == "unexpected ZeroDivisionError: division by zero"
    assert found["task1"].value == 2.0
    assert "task_failed key=task0" in caplog.text and "in square_or_say_why" in caplog.text


def test_a_task_that_gives_none_is_an_error(engine):
    (done,) = engine.map(engine_work.nothing, numbered(1))
    assert done.error == "unexpected TypeError: a task must give something other than None"


@pytest.mark.parametrize("work", [lambda key, number: 1, partial(lambda key, number: 1)])
def test_a_function_that_no_worker_could_import_is_refused(engine, work):
    with pytest.raises(ValueError, match="cannot be imported by a worker"):
        list(engine.map(work, numbered(1)))


def test_tasks_are_at_work_at_the_same_time(two):
    outcomes = list(two.map(engine_work.who, numbered(0.2, 0.2, 0.2, 0.2)))
    workers = {done.value for done in outcomes}
    assert len(workers) == 2 and os.getpid() not in workers


def test_a_process_gives_way_to_a_new_one_after_its_share_of_tasks(monkeypatch):
    monkeypatch.setattr("engines.local.TASKS_EACH", 3)
    with open_engine(EngineChoice(workers=2)) as engine:
        pids = Counter(done.value for done in engine.map(engine_work.who, numbered(*[0.05] * 12)))
        again = {done.value for done in engine.map(engine_work.who, numbered(*[0.05] * 6))}
    assert sum(pids.values()) == 12 and max(pids.values()) <= 3
    assert len(again) >= 2 and len(again & {*pids}) <= 2
    assert all(gone(pid) for pid in {*pids} | again)


def test_one_worker_is_this_process():
    with open_engine(EngineChoice(workers=1)) as engine:
        (done,) = engine.map(engine_work.who, numbered(0))
    assert (done.value, engine.name, engine.workers) == (os.getpid(), "local", 1)


def test_tasks_are_taken_no_further_ahead_than_two_for_each_worker(two):
    taken = 0

    def endless():
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield f"task{number}", number

    outcomes = two.map(engine_work.square, endless())
    for seen in range(1, 12):
        next(outcomes)
        assert taken <= seen + 2 * two.workers
    outcomes.close()


def test_what_a_worker_warns_of_is_said_by_the_driver(two, caplog):
    caplog.set_level(logging.INFO)
    list(two.map(engine_work.grumble, numbered(7)))
    assert [r.getMessage() for r in caplog.records] == ["odd key=task0 number=7"]


def test_what_cannot_travel_back_costs_only_itself(two):
    found = by_key(
        [*two.map(engine_work.a_lock, numbered(1)), *two.map(engine_work.square, [("b", 3)])]
    )
    assert found["task0"].error.startswith("unexpected")
    assert found["b"].value == {"square": 9}


def test_a_dead_worker_costs_its_task_a_second_attempt_and_the_others_nothing(two, tmp_path):
    tasks = [(key, str(tmp_path)) for key in ("a", "deadly", "b", "c", "d", "e")]
    found = by_key(two.map(engine_work.die, tasks))
    assert {key: (done.value, done.attempts) for key, done in found.items()} == {
        **dict.fromkeys("abcde", (1, 1)),
        "deadly": (2, 2),
    }


def test_a_task_that_kills_every_worker_is_given_up(two, tmp_path):
    tasks = [(key, str(tmp_path)) for key in ("a", "deadly", "b")]
    found = by_key(two.map(partial(engine_work.die, times=99), tasks))
    assert found["deadly"].error.startswith("its worker died 3 times")
    assert found["deadly"].attempts == 3 == len(list(tmp_path.glob("deadly-*")))
    assert found["a"].value == found["b"].value == 1


def test_every_task_has_one_thread(engine):
    (done,) = engine.map(engine_work.surroundings, [("a", tuple(ONE_THREAD))])
    assert done.value == ONE_THREAD


def test_the_environment_is_as_it_was_once_the_engine_is_closed(monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with open_engine(EngineChoice(workers=1)):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["TF_NUM_INTRAOP_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "TF_NUM_INTRAOP_THREADS" not in os.environ


def test_sums_are_the_same_to_the_last_bit_wherever_they_are_made(two):
    tasks = numbered(1, 2, 3)
    with open_engine(EngineChoice(workers=1)) as here:
        alone = {done.key: done.value for done in here.map(engine_work.products, tasks)}
    assert {done.key: done.value for done in two.map(engine_work.products, tasks)} == alone


def test_closing_ends_workers_in_the_midst_of_their_tasks():
    with open_engine(EngineChoice(workers=2)) as engine:
        pids = [done.value for done in engine.map(engine_work.who, numbered(0, 0.3, 0.3))]
        stuck = engine.map(engine_work.who, numbered(0, 600, 600))
        next(stuck)
    assert all(gone(pid) for pid in pids)


def test_a_worker_that_dies_as_it_gives_its_value_back_is_not_waited_for(two, tmp_path):
    tasks = [(key, str(tmp_path)) for key in ("a", "late", "b")]
    found = by_key(two.map(engine_work.die_giving, tasks))
    assert {key: (done.value[1], done.attempts) for key, done in found.items()} == {
        "a": ("", 1),
        "b": ("", 1),
        "late": ("survived", 2),
    }
    assert all(len(done.value[0]) == 10_000_000 for done in found.values())


def test_what_a_killed_process_left_is_swept_up(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    left, other = tmp_path / f"some-{int(ended.stdout)}-x", tmp_path / "some-thing-else"
    left.mkdir()
    other.mkdir()
    with own_folder("some-") as folder, own_folder("some-") as second:
        assert folder.is_dir() and second.is_dir() and not left.exists()
    assert list(tmp_path.iterdir()) == [other]


def test_a_place_whose_path_is_too_long_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with own_folder("stock-test-", longest=len(str(tmp_path)) - 1) as folder:
        assert folder.parent == Path("/tmp")


def test_nothing_is_left_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_engine(EngineChoice(workers=2)) as engine:
        for _ in engine.map(engine_work.square, numbered(*range(30))):
            files = list(tmp_path.glob("stock-local-*/*"))
            assert 1 <= len(files) <= 1 + 2 * 4  # the function; tasks under way, their values
    assert list(tmp_path.iterdir()) == []


DRIVER = """
import sys, engine_work
from engines import EngineChoice, open_engine
with open_engine(EngineChoice(workers=2)) as engine:
    tasks = [(str(n), seconds) for n, seconds in enumerate([0, 0, .3, .3, 600, 600])]
    for done in engine.map(engine_work.who, tasks):
        print(done.value, flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_running_when_the_driver_is_ended(how):
    path = f"{TESTS}{os.pathsep}{TESTS.parent}"
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as driver:
        pids = {int(driver.stdout.readline()) for _ in range(4)}
        os.killpg(driver.pid, how) if how == signal.SIGINT else driver.kill()
        driver.wait(timeout=30)
    assert pids and all(gone(pid) for pid in pids)


def flags(*given: str) -> EngineChoice:
    parser = argparse.ArgumentParser()
    add_engine_flags(parser)
    return choice_of(parser.parse_args(given))


def test_the_flags_say_which_engine():
    assert flags() == EngineChoice("local", None, None)
    assert flags("--engine", "ray", "--workers", "3", "--ray-address", "auto") == EngineChoice(
        "ray", 3, "auto"
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [(("--workers", "0"), "at least 1"), (("--ray-address", "auto"), "needs --engine ray")],
)
def test_a_choice_that_makes_no_sense_is_told(given, told):
    with pytest.raises(BadSettings, match=told):
        flags(*given)


@pytest.mark.parametrize(("value", "error"), [(None, None), (1, "both")])
def test_a_task_has_either_a_value_or_an_error(value, error):
    with pytest.raises(ValueError, match="either a value or an error"):
        Done(key="a", value=value, error=error, seconds=0, attempts=1)
