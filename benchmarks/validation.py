"""What validation says of real prices, and how many false shifts it finds in them.

`python benchmarks/validation.py` reads every `panel/*.csv.gz` below REAL_DATA_DIR (or where the
tests look for prices) and prints the tables of docs/EXPERIMENTS.md.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd

from prices.findings import Findings
from prices.formats import read_table
from prices.moves import jumps
from prices.sessions import market_at
from prices.validation import judged

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 11, 21, tzinfo=UTC)
FACTORS = (0.6, 0.8, 1.25, 1.5, 2.0)
RAW = ["Open", "High", "Low", "Close"]


def read(path: Path) -> pd.DataFrame:
    """The file's bars, as yet unjudged."""
    return read_table(path.read_bytes(), path.name.split(".")[0], path.name).bars


def judge(path: Path, bars: pd.DataFrame) -> tuple[Findings, float]:
    """What is found, and how long that took (ms)."""
    market, begun = market_at(path.name.removesuffix(".csv.gz"), NOW), time.perf_counter()
    return judged(bars, market).findings, 1000 * (time.perf_counter() - begun)


def shifted(bars: pd.DataFrame, factor: float, chance: np.random.Generator) -> str:
    """What is said of a false shift on a random day: its code, or `nothing`."""
    row = int(chance.integers(30, len(bars) - 5))
    other = bars.copy()
    other.loc[: row - 1, RAW] /= factor
    day = bars["Date"][row].date()
    return next((found.code for found in jumps(other) if found.date == day), "nothing")


def main() -> int:
    """Two tables: findings by code, false shifts by size."""
    folder = Path(os.environ.get("REAL_DATA_DIR", ROOT.parent / "shared" / "data"))
    files = sorted((folder / "panel").glob("*.csv.gz"))
    chance = np.random.default_rng(0)
    hits: Counter[tuple[str, str]] = Counter()
    owners: dict[tuple[str, str], set[str]] = {}
    told = Counter[tuple[float, str]]()
    times = []
    for path in files:
        bars = read(path)
        findings, spent = judge(path, bars)
        times.append(spent)
        for finding in findings:
            key = finding.code, finding.action
            hits[key] += 1
            owners.setdefault(key, set()).add(path.name.split(".")[0])
        told.update((factor, shifted(bars, factor, chance)) for factor in FACTORS)
    print("| finding | action | hits | files |\n|---|---|--:|--:|")
    for (code, action), count in sorted(hits.items()):
        print(f"| {code} | {action} | {count} | {len(owners[code, action])} |")
    print(f"\n{len(files)} files; {len(files) - len(set().union(*owners.values()))} without any")
    print(f"judging one: median {np.median(times):.1f} ms, longest but first {max(times[1:]):.1f}")
    print("\n| prices before a random day divided by | level_shift | large_move | nothing |")
    print("|--:|--:|--:|--:|")
    for factor in FACTORS:
        cells = [told[factor, code] for code in ("level_shift", "large_move", "nothing")]
        print(f"| {factor} | " + " | ".join(f"{cell / len(files):.1%}" for cell in cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
