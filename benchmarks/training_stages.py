"""Where the processor's seconds of one ticker's training go, in the task and in the driver.

`STOCK_AS_OF=2025-12-31 python benchmarks/training_stages.py FOLDER [--tickers 5]` trains the first
tickers of FOLDER by recipe `panel`, one after the other on one thread, in a folder of its own.
Prints the mean of all but the first, which also traces and loads.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engines.worker import environment

os.environ |= {**environment(), "TQDM_DISABLE": "1", "MLFLOW_LOGGING_LEVEL": "ERROR"}

import bundling
import evaluation
import fitting
import recording
from assignments import Assignments
from config import Settings
from data_pipeline import StockDataPipeline, import_file
from recipes import find_recipe
from registry import Registry

STAGES: tuple[tuple[str, Any, str], ...] = (
    ("fit: base to ticker", bundling, "fit"),
    ("  of which the weight of the correction", fitting, "earned_weight"),
    ("save, ONNX and parity", bundling, "exported"),
    ("judge", bundling, "judge_model"),
    ("  of which ARIMA", evaluation.baseline_arima, "fit"),
    ("judge the champion", bundling, "rule"),
    ("table of every forecast, joint errors", bundling, "judged_files"),
    ("two figures", bundling, "_figures"),
    ("write, track, register, publish", recording.Recorder, "record"),
)


def timed(made: Callable[..., Any], spent: dict[str, float], name: str) -> Callable[..., Any]:
    """The same function, which adds its processor time to `spent`."""

    def call(*given: Any, **named: Any) -> Any:
        begun = time.process_time()
        try:
            return made(*given, **named)
        finally:
            spent[name] += time.process_time() - begun

    return call


def main() -> int:
    """Train, and print a line a stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tickers", type=int, default=5)
    wish = parser.parse_args()
    files = sorted(wish.folder.glob("*.csv*"))[: wish.tickers]
    spent: dict[str, float] = defaultdict(float)
    for name, owner, what in STAGES:
        setattr(owner, what, timed(getattr(owner, what), spent, name))
    with TemporaryDirectory() as home:
        os.chdir(home)
        settings, recipe = Settings(allow_synthetic=False), find_recipe("panel")
        assignments = Assignments(settings)
        registry = Registry(settings.mlflow_tracking_uri)
        recorder = recording.Recorder(settings, registry, "job", keras_models=False)
        for number, file in enumerate(files):
            import_file(ticker := file.name.split(".")[0], file, settings)
            prices = StockDataPipeline(ticker, settings).read()
            begun = time.process_time()
            assignment, data = assignments.of(prices, recipe)
            recorder.record(bundling.train_ticker(ticker, assignment), data, recipe)
            spent["all"] += time.process_time() - begun
            if number == 0:
                print(f"{ticker}, the first: {spent['all']:.2f} s")
                spent.clear()
    for name in (*(name for name, *_ in STAGES), "all"):
        print(f"{name:42} {spent[name] / (len(files) - 1):6.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
