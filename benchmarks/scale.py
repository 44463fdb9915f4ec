"""Train, backtest and forecast 15 to 481 tickers: time, efficiency, memory and bytes by number.

`python benchmarks/scale.py --work FOLDER` runs the commands as a user would, in projects of its own
below FOLDER, on the first so many files of `panel/` below REAL_DATA_DIR. Each run is kept as it
ends, so that the same command goes on after an interruption; prints Markdown and draws
FOLDER/scale.png. A command's processes are read from /proc: for Linux.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from watched import Watch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engines.job import Job
from prices.importing import files_in, ticker_of

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
SIZES = (15, 60, 240, 481)
JOBS = ("train", "backtest", "forecast")
AS_OF = "2025-12-31"
REST = "\nEvery run starts its own processes, imports included; bytes are those of models and runs."


Spent = tuple[float, float, float, float, float]  # as in a Cost, from seconds to worker


@dataclass(frozen=True)
class Cost:
    """Of one command over some tickers."""

    job: str
    tickers: int
    workers: int
    seconds: float
    processor: float  # seconds of all its processes, and
    driving: float  # of the command itself
    driver: float  # MB of resident memory at most, of the command itself
    worker: float  # and of the largest of its workers
    stored: int  # bytes it added to models and runs
    failed: int  # tickers


@dataclass(frozen=True)
class Project:
    """A folder as a user's, with prices that all projects of the benchmark share."""

    folder: Path
    prices: Path

    def environment(self) -> dict[str, str]:
        """A user's, with the benchmark's settings in place of any other."""
        kept = {name: said for name, said in os.environ.items() if not name.startswith("STOCK_")}
        return {**kept, "STOCK_AS_OF": AS_OF, "STOCK_DATA_DIR": str(self.prices)}

    def run(self, *command: str, processors: int | None = None) -> tuple[int, str, Spent]:
        """Exit code, what was said, and what it took; by default with all processors."""
        self.folder.mkdir(parents=True, exist_ok=True)
        said = self.folder / f"{command[0]}.log"
        begun = perf_counter()
        with said.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / command[0]), *command[1:]],
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            if processors:  # before its first thread: those it starts later inherit it
                os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[-processors:])
            watch = Watch(process.pid)
            _, status, used = os.wait4(process.pid, 0)
        seconds = perf_counter() - begun
        watch.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        processor = used.ru_utime + used.ru_stime
        spent = (seconds, processor, watch.driving, watch.driver, watch.worker)
        return process.returncode, said.read_text(), spent

    def stored(self) -> int:
        """Bytes of everything it holds but logs."""
        files = (path for path in self.folder.rglob("*") if path.suffix != ".log")
        return sum(path.stat().st_size for path in files if path.is_file())


@dataclass(frozen=True)
class Wish:
    """What the commands are given besides the tickers."""

    engine: str
    epochs: int | None
    start: str  # first and last origin of the backtest
    end: str

    def command(self, job: str, tickers: Path, workers: int) -> tuple[str, ...]:
        """The words a user would type behind `python`."""
        file = ("--tickers-file", str(tickers))
        if job == "forecast":
            return ("predict.py", "--all", *file, "--steps", "30", "--out", "forecasts.parquet")
        spread = (*file, "--engine", self.engine, "--workers", str(workers), "--afresh")
        if job == "train":
            return ("train.py", *spread, *(("--epochs", str(self.epochs)) if self.epochs else ()))
        # one fit a ticker, and a short one: what a whole one costs is the training's to tell
        fit = ("--no-refit", "--epochs", str(self.epochs or 1))
        span = ("--start", self.start, "--end", self.end, "--json", "scores.json")
        return ("backtest.py", *spread, *span, *fit)


def measured(project: Project, job: str, tickers: Sequence[str], workers: int, wish: Wish) -> Cost:
    """Run one command and count what it cost.

    Raises:
        RuntimeError: it did not run to its end.
    """
    project.folder.mkdir(parents=True, exist_ok=True)
    names = project.folder / "tickers.txt"
    names.write_text("\n".join(tickers) + "\n")
    before = project.stored()
    # so many workers have so many processors; one that had two would write beside its own fits
    code, said, costs = project.run(*wish.command(job, names, workers), processors=workers)
    if code not in (0, 1):
        raise RuntimeError(f"{job} of {len(tickers)} tickers ended with {code}: {said[-2000:]}")
    failed = re.findall(r"(\d+) failed", said)
    return Cost(
        job,
        len(tickers),
        workers,
        *costs,
        project.stored() - before,
        int(failed[-1]) if failed else 0,
    )


def plan(
    sizes: Sequence[int], jobs: Sequence[str], workers: int, alone: int
) -> Iterator[tuple[str, int, int]]:
    """(job, tickers, workers) of every run.

    Trainings of up to `alone` tickers by one process on one processor as well.
    """
    for size in sorted(sizes):
        for wide in dict.fromkeys((1, workers) if size <= alone else (workers,)):
            for job in jobs:
                if job == "train" or wide == workers:
                    yield job, size, wide


def imported(files: Sequence[Path], work: Path) -> Path:
    """The price cache of all projects."""
    links = work / "files"
    links.mkdir(parents=True, exist_ok=True)
    for path in files:
        link = links / path.name
        if not link.is_symlink():
            link.symlink_to(path)
    project = Project(work / "prices", work / "prices" / "data")
    code, said, _ = project.run("data_pipeline.py", "import", "--dir", str(links))
    if code != 0:
        raise RuntimeError(said[-2000:])
    return project.prices


def table(costs: Sequence[Cost]) -> Iterator[str]:
    """Every run, line by line."""
    yield (
        "| job | tickers | workers | s | s a ticker | processor s | driver MB | largest worker MB "
        "| kB a ticker | failed |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for cost in costs:
        yield (
            f"| {cost.job} | {cost.tickers} | {cost.workers} | {cost.seconds:.1f} "
            f"| {cost.seconds / cost.tickers:.2f} | {cost.processor:.0f} | {cost.driver:.0f} "
            f"| {cost.worker:.0f} | {cost.stored / cost.tickers / 1e3:.0f} | {cost.failed} |"
        )


def efficiency(costs: Sequence[Cost]) -> Iterator[str]:
    """Of several workers against one process on one processor, whole and without the start."""
    runs = {(cost.job, cost.tickers, cost.workers): cost for cost in costs}
    sizes: dict[tuple[str, int], list[int]] = {}
    for job, size, workers in runs:
        if workers > 1 and (job, size, 1) in runs:
            sizes.setdefault((job, workers), []).append(size)
    yield "| job | workers | tickers | of linear | from there to the next size |"
    yield "|---|--:|--:|--:|--:|"
    for (job, workers), found in sizes.items():
        for size, following in pairwise([*sorted(found), 0]):
            one, several = (
                [runs[job, s, w].seconds for s in (size, following or size)] for w in (1, workers)
            )
            more = (one[1] - one[0]) / (several[1] - several[0]) / workers if following else None
            yield (
                f"| {job} | {workers} | {size} | {one[0] / several[0] / workers:.0%} "
                f"| {f'{more:.0%}' if more else ''} |"
            )


@dataclass(frozen=True)
class Cluster:
    """What a projection assumes."""

    tickers: int = 5000
    machines: int = 16
    processors: int = 8  # of each machine, as fast as those measured on
    share: float = 0.85  # of linear that many machines keep


def projection(costs: Sequence[Cost], cluster: Cluster) -> Iterator[str]:
    """Minutes on a cluster: what the workers need together, and what the driver does alone."""
    where = f"{cluster.tickers:,} tickers on {cluster.machines} machines of {cluster.processors}"
    yield f"| {where}, minutes | workers' s a ticker | driver's | by workers | by driver |"
    yield "|---|--:|--:|--:|--:|"
    wide = cluster.machines * cluster.processors * cluster.share
    for job in dict.fromkeys(cost.job for cost in costs):
        runs = widest(costs, job)
        driver = slope([(cost.tickers, cost.driving) for cost in runs])
        workers = slope([(cost.tickers, cost.processor - cost.driving) for cost in runs])
        shares = (cluster.tickers * each / 60 for each in (workers / wide, driver))
        yield f"| {job} | {workers:.2f} | {driver:.2f} | {' | '.join(f'{m:.1f}' for m in shares)} |"


def slope(points: Sequence[tuple[int, float]]) -> float:
    """What each ticker adds; of a single size, what each took. Noise aside, none gives any back."""
    if len(points) == 1:
        return points[0][1] / points[0][0]
    return max(0.0, float(np.polyfit(*zip(*points, strict=True), 1)[0]))


def widest(costs: Sequence[Cost], job: str) -> list[Cost]:
    """The runs of one job by most workers, by size."""
    workers = max(cost.workers for cost in costs if cost.job == job)
    runs = (cost for cost in costs if (cost.job, cost.workers) == (job, workers))
    return sorted(runs, key=lambda cost: cost.tickers)


def drawn(costs: Sequence[Cost], path: Path) -> None:
    """Time, memory and bytes by the number of tickers, a line for each job."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    time, memory, stored = figure.subplots(1, 3)
    for job in dict.fromkeys(cost.job for cost in costs):
        runs = widest(costs, job)
        sizes = [cost.tickers for cost in runs]
        label = f"{job}, {runs[0].workers} workers"
        (line,) = time.plot(sizes, [cost.seconds for cost in runs], "o-", label=label)
        style = {"color": line.get_color()}
        memory.plot(sizes, [c.driver for c in runs], "o-", **style, label=f"{job}: driver")
        if any(c.worker for c in runs):
            memory.plot(sizes, [c.worker for c in runs], "s--", **style, label=f"{job}: worker")
        stored.plot(sizes, [c.stored / c.tickers / 1e3 for c in runs], "o-", **style, label=job)
    time.set(title="time", xlabel="tickers", ylabel="seconds", xscale="log", yscale="log")
    memory.set(title="most resident memory", xlabel="tickers", ylabel="MB", ylim=(0, None))
    stored.set(title="stored", xlabel="tickers", ylabel="kB a ticker", ylim=(0, None))
    for axes in (time, memory, stored):
        axes.legend()
    figure.savefig(path, dpi=110)


def runs_of(arguments: argparse.Namespace) -> list[Cost]:
    """Every run of the plan, those of an earlier call as they were kept."""
    files = files_in(arguments.folder)[: max(arguments.sizes)]
    tickers = [ticker_of(path) for path in files]
    wish = Wish(arguments.engine, arguments.epochs, *arguments.origins)
    rows = list(plan(arguments.sizes, arguments.jobs, arguments.workers, arguments.alone))
    keys = {f"{job} {size} x{wide}": (job, size, wide) for job, size, wide in rows}
    about: Mapping[str, Any] = {**asdict(wish), "folder": str(arguments.folder)}
    prices = imported(files, arguments.work)
    place = arguments.work / "runs"
    with Job(place, "measuring", tuple(keys), about, afresh=arguments.afresh) as runs:
        for key in runs.pending():
            job, size, wide = keys[key]
            project = Project(arguments.work / f"of-{size}-by-{wide}", prices)
            runs.keep(key, asdict(measured(project, job, tickers[:size], wide, wish)))
        return [Cost(**record) for record in runs.records().values()]


def _parser() -> argparse.ArgumentParser:
    data = Path(os.environ.get("REAL_DATA_DIR", DATA))
    parser = argparse.ArgumentParser(prog="scale.py", description=main.__doc__)
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=data / "panel", help="a price file per ticker")
    add("--work", type=Path, required=True, help="where the projects and the results go")
    add("--sizes", type=int, nargs="+", default=SIZES, help="numbers of tickers")
    add("--jobs", nargs="+", choices=JOBS, default=JOBS, help="in this order")
    add("--engine", choices=("local", "ray"), default="local", help="as of the commands")
    add("--workers", type=int, default=os.cpu_count() or 1, help="at once")
    add("--alone", type=int, default=60, help="trainings up to this by one process too (60)")
    add("--afresh", action="store_true", help="measure again what an earlier call has measured")
    add("--epochs", type=int, help="of a training; for a short look")
    add("--origins", nargs=2, default=("2025-10-01", "2025-12-01"), help="first and last")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print tables and draw them."""
    arguments = _parser().parse_args(argv)
    arguments.work = arguments.work.absolute()
    costs = runs_of(arguments)
    for part in (table(costs), efficiency(costs), projection(costs, Cluster())):
        print("\n".join(part), end="\n\n")
    print(REST)
    drawn(costs, arguments.work / "scale.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
