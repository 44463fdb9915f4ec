"""Real processes at one database: killed writers, and workers at one queue and one lease.

Run by the tests of records: `python promise_processes.py JOB URL COUNT`; prints a JSON object.
The processes are forked from this one, so that its imports are paid for once.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from promised import forecast

from contracts import LeaseTaken
from forecast_log import ForecastLog

PAUSE = 0.002  # seconds between two forecasts


def forked(work: Callable[[int], None]) -> tuple[int, int]:
    """A process that does the work with a pipe to tell of it; its id and the pipe's other end."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        try:
            work(tell)
        finally:
            os._exit(0)
    os.close(tell)
    return child, told


def lines_of(told: int) -> list[list[str]]:
    """Everything a process told until it ended, as words."""
    with os.fdopen(told) as pipe:
        return [line.split() for line in pipe]


def serve_for_ever(url: str, name: str, tell: int) -> None:
    """Hand out numbered forecasts and tell each number, and when, once it was taken."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    writer = ForecastLog(url).writer()
    try:
        for number in range(10**6):
            writer.put(forecast(version=f"{name} {number}"), "")
            os.write(tell, f"{number} {time.time()}\n".encode())
            time.sleep(PAUSE)
    finally:
        writer.close()


def ended(url: str, how: signal.Signals, run: int) -> dict[str, float]:
    """One writer's end: what it had acknowledged and lost, and how old the oldest lost one was.

    `stood_still` is the longest the machine let the writer wait between two forecasts.
    """
    log = ForecastLog(url)
    log.ask_check("AAPL")  # the tables are there before the clock runs
    name = f"{how.name} {run}"
    child, told = forked(lambda tell: serve_for_ever(url, name, tell))
    time.sleep(random.Random(run).uniform(0.6, 1.1))
    os.kill(child, how)
    at = time.time()
    os.waitpid(child, 0)
    taken = {number: float(moment) for number, moment in lines_of(told)}
    kept = {promise.version for promise in log.promises("AAPL")}
    lost = sorted(int(number) for number in taken if f"{name} {number}" not in kept)
    moments = sorted([*taken.values(), at])
    log.close()
    return {
        "acknowledged": len(taken),
        "lost": len(lost),
        "lost_are_the_last": lost == list(range(len(taken) - len(lost), len(taken))),
        "oldest_lost": max((at - taken[str(number)] for number in lost), default=0.0),
        "stood_still": max(b - a for a, b in zip(moments, moments[1:], strict=False)),
    }


def writers(url: str, count: int) -> dict[str, object]:
    """Writers ended by SIGTERM and by SIGKILL, so many of each."""
    return {
        how.name: [ended(url, how, run) for run in range(count)]
        for how in (signal.SIGTERM, signal.SIGKILL)
    }


def work_off(url: str, worker: str, tell: int) -> None:
    """Take requests until there are none; now and then die with one in hand."""
    log, moments = ForecastLog(url), random.Random(worker)
    while (request := log.take_training(worker, 0.3)) is not None:
        os.write(tell, f"{request.id} {request.ticker} {worker}\n".encode())
        if moments.random() < 0.1:
            os._exit(0)
        if log.finish_training(request.id, "done", worker):
            os.write(tell, f"{request.id} finished {worker}\n".encode())


def queue(url: str, count: int) -> dict[str, object]:
    """Four workers at so many requests, begun again until none is left."""
    log = ForecastLog(url)
    asked = [log.ask_training(f"T{number}", "a test") for number in range(count)]
    told: list[list[str]] = []
    for round_ in range(100):
        workers = [
            forked(lambda tell, name=f"{round_}-{i}": work_off(url, name, tell)) for i in range(4)
        ]
        rows = [row for _, pipe in workers for row in lines_of(pipe)]
        for child, _ in workers:
            os.waitpid(child, 0)
        told += rows
        if {int(number) for number, what, _ in told if what == "finished"} == set(asked):
            break
        time.sleep(0.3)  # the leases of the dead end
    finished = [number for number, what, _ in told if what == "finished"]
    log.close()
    return {"asked": len(asked), "finished": len(finished), "distinct": len(set(finished))}


def hold(url: str, path: Path, count: int, holder: str) -> None:
    """Take one lease again and again; inside it, read a number from a file and write the next."""
    log = ForecastLog(url)
    done = 0
    while done < count:
        try:
            with log.lease("counter", holder, 30):
                number = int(path.read_text())
                time.sleep(0.001)
                path.write_text(str(number + 1))
                done += 1
        except LeaseTaken:
            time.sleep(0.002)


def lease(url: str, count: int) -> dict[str, object]:
    """Three processes that count together in a file that only the lease protects."""
    ForecastLog(url).ask_check("AAPL")
    path = Path(tempfile.mkdtemp()) / "number"
    path.write_text("0")
    children = [forked(lambda _, name=str(i): hold(url, path, count, name))[0] for i in range(3)]
    for child in children:
        os.waitpid(child, 0)
    counted = int(path.read_text())
    shutil.rmtree(path.parent)
    return {"expected": 3 * count, "counted": counted}


def create(url: str, count: int) -> dict[str, object]:
    """Three processes that meet an empty database at once, each asking for its own checks."""

    def ask(tell: int, name: str) -> None:
        log = ForecastLog(url)
        for number in range(count):
            os.write(tell, f"{log.ask_check(f'{name}{number}')}\n".encode())

    pipes = [forked(lambda tell, name=name: ask(tell, name)) for name in "ABC"]
    asked = [row[0] for _, pipe in pipes for row in lines_of(pipe)]
    for child, _ in pipes:
        os.waitpid(child, 0)
    return {"expected": 3 * count, "asked": len(set(asked))}


if __name__ == "__main__":
    jobs = {"writers": writers, "queue": queue, "lease": lease, "create": create}
    found = {job: jobs[job](sys.argv[2], int(sys.argv[3])) for job in sys.argv[1].split(",")}
    print(json.dumps(found))
