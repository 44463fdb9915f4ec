"""What a job keeps on disk, and how it goes on after whatever ended it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contracts import LeaseTaken
from engines.job import Job

KEYS = ("AAPL", "BRK-B", "^GSPC", "0700.HK", "EURUSD=X")
ABOUT = {"recipe": "panel", "seed": 42}
TESTS = Path(__file__).resolve().parent


def opened(folder: Path, about=ABOUT, keys=KEYS, **wish) -> Job:
    return Job(folder / "job", "training", keys, about, **wish)


def interrupted(folder: Path, *done: str) -> None:
    """A job that kept some keys and was then left."""
    with opened(folder) as job:
        for key in done:
            job.keep(key, {"said": f"{key} done"})


def test_a_new_job_has_everything_to_do(tmp_path):
    with opened(tmp_path) as job:
        assert job.pending() == KEYS
        assert job.records() == {} and job.resumed == 0


def test_what_is_kept_is_not_pending(tmp_path):
    with opened(tmp_path) as job:
        job.keep("^GSPC", {"rmse": 0.5})
        assert job.pending() == ("AAPL", "BRK-B", "0700.HK", "EURUSD=X")
        assert job.records() == {"^GSPC": {"rmse": 0.5}}


def test_the_same_command_goes_on_where_it_was(tmp_path, capsys):
    interrupted(tmp_path, "EURUSD=X", "AAPL")
    with opened(tmp_path) as job:
        assert job.pending() == ("BRK-B", "^GSPC", "0700.HK")
        assert list(job.records()) == ["AAPL", "EURUSD=X"]
    assert "resuming: 2 of 5 done (--afresh begins again)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "other", [{"about": {"recipe": "panel", "seed": 43}}, {"afresh": True}], ids=str
)
def test_another_job_begins_anew(tmp_path, other):
    interrupted(tmp_path, "AAPL")
    with opened(tmp_path, **other) as job:
        assert job.pending() == KEYS


def test_a_job_that_is_over_is_not_resumed(tmp_path):
    with opened(tmp_path, keys=("AAPL",)) as job:
        job.keep("AAPL", {})
        assert job.finish().done == 1
    with opened(tmp_path, keys=("AAPL",)) as job:
        assert job.pending() == ("AAPL",)


def test_a_job_that_ended_before_it_was_finished_is(tmp_path):
    interrupted(tmp_path, *KEYS)
    with opened(tmp_path) as job:
        assert job.pending() == () and job.finish().resumed == 5


def test_failures_are_told_at_the_end_and_tried_again(tmp_path):
    with opened(tmp_path) as job:
        for key in KEYS[1:]:
            job.keep(key, {})
        job.fail("AAPL", "only 40 sessions", attempts=1)
        summary = job.finish()
    assert (summary.done, summary.failed) == (4, {"AAPL": "only 40 sessions"})
    assert str(summary).startswith("4 done, 1 failed in 0:0")
    assert str(summary).endswith("\n  AAPL: only 40 sessions")
    with opened(tmp_path) as job:
        assert job.pending() == ("AAPL",)


def test_a_key_that_comes_to_be_done_failed_no_longer(tmp_path):
    with opened(tmp_path, keys=("AAPL",)) as job:
        job.fail("AAPL", "prices away")
        job.keep("AAPL", {})
        assert job.finish().failed == {}


def test_keys_that_are_added_join_those_that_are_done(tmp_path):
    interrupted(tmp_path, "AAPL")
    with opened(tmp_path, keys=(*KEYS, "MSFT")) as job:
        assert job.pending() == (*KEYS[1:], "MSFT")


def test_records_are_of_the_jobs_keys_and_of_jsons_types(tmp_path):
    with opened(tmp_path) as job:
        with pytest.raises(KeyError):
            job.keep("MSFT", {})
        with pytest.raises(TypeError):
            job.keep("AAPL", {"day": object()})
        assert job.pending() == KEYS


def test_two_processes_are_never_at_one_job(tmp_path):
    with opened(tmp_path), pytest.raises(LeaseTaken, match="another process is at the job"):
        opened(tmp_path)
    with opened(tmp_path) as job:  # it is free again
        assert job.pending() == KEYS


def test_progress_tells_pace_and_failures(tmp_path, capsys):
    with opened(tmp_path) as job:
        job.keep("AAPL", {})
        job.fail("BRK-B", "no prices")
    last = capsys.readouterr().err.split("\r")[-1]
    assert "training:  20%" in last and "1/5" in last
    assert "a minute, 1 failed" in last


def test_a_damaged_note_of_the_job_begins_it_anew(tmp_path, caplog):
    interrupted(tmp_path, "AAPL")
    (tmp_path / "job" / "job.json").write_text('{"about": ')
    with opened(tmp_path) as job:
        assert job.pending() == KEYS
    assert "set_aside" in caplog.text


WRITER = """
import sys, itertools
from pathlib import Path
from engines.job import Job
job = Job(Path(sys.argv[1]) / "job", "training", [str(n) for n in range(10_000)], {"a": 1})
for key in job.pending():
    job.keep(key, {"text": "x" * 3000})
    print(key, flush=True)
"""


def killed_writer(folder: Path, after: int) -> list[str]:
    """Kill a process that keeps records; what it said it had kept."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)],
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as writer:
        said = [writer.stdout.readline().strip() for _ in range(after)]
        os.kill(writer.pid, signal.SIGKILL)
        return said + writer.stdout.read().split()


@pytest.mark.parametrize("rounds", [2, pytest.param(25, marks=pytest.mark.long)])
def test_a_kill_loses_nothing_that_was_kept_and_nothing_is_done_twice(tmp_path, rounds):
    said: list[str] = []
    for _ in range(rounds):
        said += killed_writer(tmp_path, 5)
    assert len(said) == len(set(said))
    job = Job(tmp_path / "job", "training", [str(n) for n in range(10_000)], {"a": 1})
    records = job.records()
    assert set(said) <= set(records) and len(records) - len(said) <= rounds
    assert all(len(record["text"]) == 3000 for record in records.values())
    job.close()


DRIVER = """
import sys, engine_work
from pathlib import Path
from engines import EngineChoice, open_engine
from engines.job import Job
place = Path(sys.argv[1])
keys = [str(number) for number in range(int(sys.argv[2]))]
with Job(place / "job", "keys", keys, {}) as job, open_engine(EngineChoice(workers=2)) as engine:
    tasks = ((key, str(place / "started")) for key in job.pending())
    for done in engine.map(engine_work.start_and_end, tasks):
        job.keep(done.key, {"value": done.value})
        print(done.key, flush=True)
    print(job.finish(), flush=True)
"""


def driver(folder: Path, count: int) -> subprocess.Popen[str]:
    """A job of `count` keys over two processes, going on where an earlier one was."""
    (folder / "started").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder), str(count)],
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.parametrize(
    ("count", "kills"), [(12, 1), pytest.param(300, 12, marks=pytest.mark.long)]
)
def test_a_killed_driver_goes_on_without_doing_again_what_is_done(tmp_path, count, kills):
    kept: list[str] = []
    for _ in range(kills):
        with driver(tmp_path, count) as killed:
            kept += [killed.stdout.readline().strip() for _ in range(4)]
            killed.kill()
            kept += killed.stdout.read().split()
    starts = [path.name.partition("-")[0] for path in (tmp_path / "started").iterdir()]
    with driver(tmp_path, count) as last:
        said = last.stdout.read().splitlines()
    again = {path.name.partition("-")[0] for path in (tmp_path / "started").iterdir()}
    assert said[-1].startswith(f"{count} done, ") and again == {str(n) for n in range(count)}
    assert len(kept) == len(set(kept)) and not set(kept) & set(said)
    assert len(starts) <= len(kept) + 3 * kills  # two at work, and one that was not yet kept
