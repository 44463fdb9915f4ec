"""How much of twice one process do two workers train? Tickers a minute once all of it runs.

`python benchmarks/linear.py --work FOLDER [--tickers 40] [--workers 2]` runs `train.py` by one
process on one processor, which is what the others are held against, by one that has all of them
(it writes on one while it fits on another), by as many workers, by one worker more, and as many
one-process trainings side by side, which is what the machine itself gives: they share its caches
and its disk and nothing else. Start and end are left out: what counts lies between two records of
the job. Prints Markdown; for idle cores, and for Linux.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scale import DATA, ROOT, Project, imported
from watched import LOOK_SECONDS, descendants, processor_seconds

sys.path.insert(0, str(ROOT))

from prices.importing import files_in, ticker_of

Look = tuple[float, float, float]  # clock, processor seconds of all processes, and of the driver


@dataclass(frozen=True)
class Pace:
    """Of one training, from the first record that counts to the last."""

    a_minute: float  # tickers
    processor: float  # seconds a ticker, of all its processes, and
    driving: float  # of the driver itself


class Training:
    """`train.py` over some tickers in a project of its own, looked at while it runs."""

    def __init__(
        self,
        project: Project,
        tickers: Sequence[str],
        workers: int,
        processors: frozenset[int] | None = None,
    ) -> None:
        self.project, self.workers = project, workers
        project.folder.mkdir(parents=True, exist_ok=True)
        names = project.folder / "tickers.txt"
        names.write_text("\n".join(tickers) + "\n")
        flags = ("--tickers-file", str(names), "--afresh", "--workers", str(workers))
        with (project.folder / "train.log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "train.py"), *flags],
                cwd=project.folder,
                env=project.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if processors:  # before its first thread: those it starts later inherit it
            os.sched_setaffinity(self._process.pid, processors)
        self._looks: list[Look] = []
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def pace(self) -> Pace:
        """Wait for its end.

        Raises:
            RuntimeError: it failed.
        """
        code = self._process.wait()
        self._thread.join()
        if code != 0:
            raise RuntimeError((self.project.folder / "train.log").read_text()[-2000:])
        done = (self.project.folder / "models" / "jobs" / "train" / "done").glob("*.json")
        return pace(sorted(path.stat().st_mtime for path in done), self._looks, self.workers)

    def _look(self) -> None:
        pid = self._process.pid
        while self._process.poll() is None:
            own = processor_seconds(pid)
            others = sum(map(processor_seconds, descendants(pid)))
            self._looks.append((time.time(), own + others, own))
            time.sleep(LOOK_SECONDS)


def pace(records: Sequence[float], looks: Sequence[Look], workers: int) -> Pace:
    """What lies between the records of the second task of each worker and of the last but one.

    Args:
        records: when each ticker was recorded, the earliest first.
        looks: in the order of time.
        workers: at work at the same time.
    """
    span = records[2 * workers - 1 : len(records) - workers + 1]
    if len(span) < 2:
        raise ValueError(f"{len(records)} tickers are too few for {workers} workers")
    begun, ended = span[0], span[-1]
    clock, *processor = np.asarray(looks).T
    spent = [np.interp(ended, clock, one) - np.interp(begun, clock, one) for one in processor]
    tickers = len(span) - 1
    return Pace(60 * tickers / (ended - begun), spent[0] / tickers, spent[1] / tickers)


def rows(found: Sequence[tuple[str, int, Sequence[Pace]]], cores: int) -> Iterator[str]:
    """A line for each way, held against so many times the first two."""
    yield (
        "| trained by | tickers a minute | of linear, by one processor | by one process "
        "| processor s a ticker | of it the driver's | cores waiting |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|"
    confined, free = (sum(one.a_minute for one in paces) for _, _, paces in found[:2])
    for name, at_once, paces in found:
        rate = sum(one.a_minute for one in paces)
        processor = sum(one.processor * one.a_minute for one in paces) / rate
        driving = sum(one.driving * one.a_minute for one in paces) / rate
        used = min(at_once, cores)
        yield (
            f"| {name} | {rate:.1f} | {rate / confined / used:.0%} | {rate / free / used:.0%} "
            f"| {processor:.2f} | {driving:.2f} | {1 - rate * processor / 60 / used:.0%} |"
        )


def measured(work: Path, prices: Path, tickers: Sequence[str], workers: int) -> Iterator[str]:
    """Every way after the other."""

    def trained(name: str, wide: int, processors: frozenset[int] | None = None) -> Training:
        place = work / f"{name}-{time.time_ns()}"  # no former champion is judged beside the new
        return Training(Project(place, prices), tickers, wide, processors)

    confined = trained("confined", 1, frozenset([max(os.sched_getaffinity(0))])).pace()
    alone = trained("alone", 1).pace()
    several = trained("several", workers).pace()
    one_more = trained("one-more", workers + 1).pace()
    beside = [trained(f"beside-{number}", 1) for number in range(workers)]
    found = [
        ("one process on one processor", 1, [confined]),
        ("one process", 1, [alone]),
        (f"{workers} workers", workers, [several]),
        (f"{workers + 1} workers", workers + 1, [one_more]),
        (f"{workers} times one process, side by side", workers, [one.pace() for one in beside]),
    ]
    yield from rows(found, workers)


def main(argv: Sequence[str] | None = None) -> int:
    """Train by every way and print the table."""
    data = Path(os.environ.get("REAL_DATA_DIR", DATA))
    parser = argparse.ArgumentParser(prog="linear.py", description=main.__doc__)
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=data / "panel", help="a price file per ticker")
    add("--work", type=Path, required=True, help="where the projects go")
    add("--tickers", type=int, default=40, help="of each training")
    add("--workers", type=int, default=os.cpu_count() or 1, help="at once")
    wish = parser.parse_args(argv)
    files = files_in(wish.folder)[: wish.tickers]
    work = wish.work.absolute()
    prices = imported(files, work)
    for line in measured(work, prices, [ticker_of(path) for path in files], wish.workers):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
