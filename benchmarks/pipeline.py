"""Reading, validating and preparing a panel of price files: time, memory, and the obvious loops.

`python benchmarks/pipeline.py [FOLDER]`, FOLDER holding one CSV or CSV.GZ per ticker (by default
`panel/` below REAL_DATA_DIR). Every figure is taken in a fresh process; prints Markdown.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from contracts import FloatArray
from features import Scale, mid_price, trailing_scale
from prices.formats import Table, read_table
from prices.importing import files_in, ticker_of
from prices.sessions import market_at
from prices.validation import check_bars

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
LENGTH, WINDOW = 50, 2500
SIZES = (60, 120, 240)
STEPS = ("read", "validate", "prepare")
Way = tuple[Callable[[Path], Any], Callable[[Path, Any], Any], Callable[[Any], Any]]


@dataclass(frozen=True)
class Cost:
    """Of one run over some files."""

    bars: int
    seconds: tuple[float, ...]  # of each of STEPS
    peak: float  # MB of resident memory, the interpreter and its libraries included
    before: float  # the same before the first file

    @property
    def whole(self) -> float:
        """Seconds of all steps."""
        return sum(self.seconds)


def read(path: Path) -> Table:
    """As an import does it."""
    return read_table(path.read_bytes(), ticker_of(path), path.name)


def validate(path: Path, table: Table) -> tuple[FloatArray, FloatArray]:
    """High and Low of what every rule of the house has let through."""
    market = market_at(ticker_of(path), datetime.now(UTC))
    bars = check_bars(table.bars, path.name, market, table.findings).bars
    return bars["High"].to_numpy(), bars["Low"].to_numpy()


def prepare(sides: tuple[FloatArray, FloatArray]) -> tuple[Scale, FloatArray]:
    """Mid-prices with their scales, and every scaled input, as a training needs them."""
    scale = trailing_scale(mid_price(*sides), WINDOW)
    return scale, scale.sequences(LENGTH).x[:, :, 0]


def read_rows(path: Path) -> list[dict[str, str]]:
    """As anyone would write it first."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return list(csv.DictReader(lines))


def validate_rows(path: Path, rows: list[dict[str, str]]) -> list[tuple[float, float]]:
    """High and Low of each row; five rules where `validate` has some two dozen."""
    sides, before = [], ""
    for row in rows:
        datetime.strptime(row["Date"][:10], "%Y-%m-%d")
        opening, high, low, close = (float(row[n]) for n in ("Open", "High", "Low", "Close"))
        if not 0 < low <= high or float(row["Volume"]) < 0 or row["Date"] <= before:
            raise ValueError(f"{path.name}: {row}")
        if min(opening, close) < low * 0.99 or max(opening, close) > high * 1.01:
            raise ValueError(f"{path.name}: {row}")
        sides.append((high, low))
        before = row["Date"]
    return sides


def prepare_rows(sides: list[tuple[float, float]]) -> tuple[Scale, FloatArray]:
    """A window at a time, a price at a time."""
    mids = [(high + low) / 2 for high, low in sides]
    lo = [min(mids[max(0, t + 1 - WINDOW) : t + 1]) for t in range(len(mids))]
    hi = [max(mids[max(0, t + 1 - WINDOW) : t + 1]) for t in range(len(mids))]
    inputs = []
    for last in range(LENGTH - 1, len(mids) - 1):
        span = hi[last] - lo[last]
        window = mids[last + 1 - LENGTH : last + 1]
        inputs.append([(mid - lo[last]) / span if span else 0.0 for mid in window])
    return Scale(np.array(mids), np.array(lo), np.array(hi)), np.array(inputs)


OURS: Way = (read, validate, prepare)
LOOPS: Way = (read_rows, validate_rows, prepare_rows)


def memory() -> float:
    """Peak resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(way: Way, files: Sequence[Path]) -> Cost:
    """Every file; mids and scales of all are kept, as training on a panel would keep them."""
    first, second, third = way
    third(second(files[0], first(files[0])))  # what is loaded on first use is no cost of a ticker
    before, kept, spent = memory(), [], np.zeros(len(STEPS))
    for path in files:
        times = [perf_counter()]
        table = first(path)
        times.append(perf_counter())
        sides = second(path, table)
        times.append(perf_counter())
        kept.append(third(sides)[0])
        spent += np.diff([*times, perf_counter()])
    bars = sum(len(scale.mids) for scale in kept)
    return Cost(bars, tuple(spent), memory(), before)


def apart(way: Way, files: Sequence[Path]) -> Cost:
    """The same in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run, way, files).result()


def together(files: Sequence[Path], processes: int) -> float:
    """Seconds for OURS over several processes, their start included."""
    started = perf_counter()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(run, OURS, files[i::processes]) for i in range(processes)]
        assert sum(part.result().bars for part in parts)
    return perf_counter() - started


def disagreements(files: Sequence[Path]) -> int:
    """Files on which both ways do not give the same inputs, bit by bit."""
    return sum(not np.array_equal(prepare(validate(f, read(f)))[1], _looped(f)) for f in files)


def _looped(path: Path) -> FloatArray:
    return prepare_rows(validate_rows(path, read_rows(path)))[1]


def growth(files: Sequence[Path], processes: int) -> Iterator[str]:
    """What more tickers cost, line by line."""
    yield f"| tickers | bars | s | ms a ticker | peak MB | s, {processes} processes |"
    yield "|--:|--:|--:|--:|--:|--:|"
    sizes = [size for size in SIZES if size < len(files)] + [len(files)]
    for size in tqdm(sizes, desc="sizes", leave=False):
        cost, several = apart(OURS, files[:size]), together(files[:size], processes)
        yield (
            f"| {size} | {cost.bars:,} | {cost.whole:.1f} | {cost.whole / size * 1e3:.1f} "
            f"| {cost.peak:.0f} | {several:.1f} |"
        )


def comparison(files: Sequence[Path]) -> Iterator[str]:
    """Both ways on the same files, step by step."""
    fast, slow = apart(OURS, files), apart(LOOPS, files)
    yield f"| ms a ticker, {len(files)} tickers | {' | '.join(STEPS)} | together | peak MB |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name, cost in (("ours", fast), ("obvious loops", slow)):
        steps = " | ".join(f"{s / len(files) * 1e3:.1f}" for s in (*cost.seconds, cost.whole))
        yield f"| {name} | {steps} | {cost.peak:.0f} |"
    sides = zip((*slow.seconds, slow.whole), (*fast.seconds, fast.whole), strict=True)
    yield f"| loops / ours | {' | '.join(f'{s / f:.1f}' for s, f in sides)} | |"
    yield f"\nBefore the first file a process holds {fast.before:.0f} MB.\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print two tables."""
    data = Path(os.environ.get("REAL_DATA_DIR", DATA))
    parser = argparse.ArgumentParser(prog="pipeline.py", description=main.__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=data / "panel")
    parser.add_argument("--loops", type=int, default=60, help="files the loops are measured on")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args(argv)
    files = files_in(arguments.folder)
    if different := disagreements(files[:5]):
        print(f"pipeline.py: the two ways differ on {different} files", file=sys.stderr)
        return 1
    for part in (comparison(files[: arguments.loops]), growth(files, arguments.processes)):
        for line in part:
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
