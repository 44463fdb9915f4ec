"""Kills real rounds at random moments and looks at what the next, undisturbed one makes of it.

Run by test_watch: `python kill_rounds.py FOLDER KILLS` in a project of loop_project; prints a JSON
object: what a loop that was killed again and again left, beside what an undisturbed one left.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path

import mlflow  # noqa: F401  # loaded before the fork: a round is then as short as in a loop
from loop_project import calm, on, placed

from forecast_log import ForecastLog
from rounds import Rounds

DAYS = ("2025-12-01", "2025-12-02", "2025-12-04", "2025-12-05")


def rounds(folder: Path, days: tuple[str, ...]) -> None:
    requests = ForecastLog(placed(folder).database_url)
    for day in days:
        Rounds(on(placed(folder), day, retrain_after_days=5), requests, calm).run("AAPL")
    requests.close()


def in_a_process(folder: Path, days: tuple[str, ...], seconds: float | None) -> float:
    """Run rounds in a process of their own, killed after `seconds`; how long they took."""
    begun = time.perf_counter()
    child = os.fork()
    if child == 0:
        rounds(folder, days)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return time.perf_counter() - begun


def left(folder: Path) -> dict[str, object]:
    """Everything that must not depend on kills."""
    requests = ForecastLog(placed(folder).database_url)
    found = {
        "promises": [[str(p.origin), *p.points[:3]] for p in requests.promises("AAPL")],
        "verdicts": [str(verdict.as_of) for verdict in requests.verdicts("AAPL")],
        "settled": requests.performance("AAPL").settled,
        "asked": requests.take_training("looker", 0).reason,
    }
    requests.close()
    with sqlite3.connect(folder / "mlflow.db") as database:
        query = "SELECT DISTINCT value FROM tags WHERE key = 'mark' ORDER BY value DESC LIMIT 1"
        found["tracked"] = database.execute(query).fetchone()[0]
    database.close()
    return found


def main(folder: str, kills: int) -> None:
    disturbed, whole = Path(folder), Path(f"{folder}-whole")
    shutil.copytree(disturbed, whole)
    span = in_a_process(whole, DAYS, None)
    moments = random.Random(20261121)
    for _ in range(kills):
        in_a_process(disturbed, DAYS, moments.uniform(0, span))
    in_a_process(disturbed, DAYS, None)
    print(json.dumps({"disturbed": left(disturbed), "whole": left(whole)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
