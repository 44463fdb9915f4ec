"""What each stage of a ticker's training keeps for ever: megabytes a time, free pages given back.

`python benchmarks/kept_memory.py FILE.csv [--times 15]`, with no settings in the environment; for
Linux with glibc. Takes minutes.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engines.worker import environment

os.environ |= {**environment(), "TQDM_DISABLE": "1"}

import bundling
from assignments import Assignments
from config import Settings
from data_pipeline import StockDataPipeline, import_file
from fitting import fit
from inference import Network
from model_store import NETWORK, WEIGHTS
from recipes import RECIPES

WARM = 3  # times before the first look


def resident() -> float:
    """MB of this process, when all that is free has been given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def kept(work: Callable[[], object], times: int) -> float:
    """MB that each call leaves behind."""
    for _ in range(WARM):
        work()
    before = resident()
    for _ in range(times):
        work()
        resident()
    return (resident() - before) / times


def main() -> int:
    """Repeat each stage and print what it keeps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--times", type=int, default=15)
    wish = parser.parse_args()
    with TemporaryDirectory() as home:
        file = wish.file.absolute()
        os.chdir(home)
        settings, recipe = Settings(allow_synthetic=False), replace(RECIPES["panel"], epochs=1)
        import_file("AAPL", file, settings)
        prices = StockDataPipeline("AAPL", settings).read()
        assignment, _ = Assignments(settings).of(prices, recipe)
        scratch = Path(home)

        def taught() -> object:
            shutil.rmtree(scratch / "base", ignore_errors=True)
            return bundling.taught(assignment, scratch)

        data, lesson = bundling.taught(assignment, scratch)
        fitted = fit(lesson, recipe, 42, None, scratch / WEIGHTS)
        _, model, _ = bundling.exported(data, fitted, scratch)
        judged = bundling.judge_model(data, model, fitted.pool)
        for name, work in {
            "bars, inputs, base": taught,
            "fit, one epoch": lambda: fit(lesson, recipe, 42, None, scratch / WEIGHTS),
            "weights, ONNX and parity": lambda: bundling.exported(data, fitted, scratch),
            "load the network": lambda: Network(scratch / NETWORK),
            "judge": lambda: bundling.judge_model(data, model, fitted.pool),
            "tables": lambda: bundling.judged_files(judged, model, data),
            "figures": lambda: bundling._figures(data, fitted, judged),
        }.items():
            print(f"{name:26} {kept(work, wish.times):6.2f} MB", flush=True)
        os.chdir("/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
