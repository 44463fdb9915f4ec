"""Parts of `benchmarks/serving.py` about many tickers: recursive batches, everyone into a file."""

from __future__ import annotations

import os
import statistics

from serving_stage import ALL, ONE, REFERENCE, ROOT, Stage, run_python

PROCESSORS = {ONE: "1", ALL: str(os.cpu_count())}
TOGETHER = """
import json, sys, time
sys.path.insert(0, sys.argv[1]); sys.path.insert(0, sys.argv[1] + "/benchmarks")
from pathlib import Path
from dataclasses import replace
from serving_stage import Stage
from data_pipeline import StockDataPipeline
from champions import Champions
from inference import Network, TrainedModel
from model_store import ModelStore
from parallel import SharedThreads, processors
from recipes import RECIPES
from served import view
from serving import forecast_from, forecasts_from
settings = Stage(Path(sys.argv[2])).settings
own = Champions(ModelStore(settings.models_dir), 9).get("T000").served
prices = StockDataPipeline("T000", settings).read()
recipe, path = RECIPES["mlops_64_64_32"].as_dict(), Path(sys.argv[2]) / "recursive.onnx"

def asked(many):
    networks = [Network(path) for _ in range(100 if many else 1)]
    served = [replace(own, model=TrainedModel(one, recipe)) for one in networks]
    return [(served[n % len(served)], view(served[n % len(served)], prices)) for n in range(100)]

def seconds(*ways):
    found = [[] for _ in ways]
    for _ in range(1 + int(sys.argv[3])):
        for make, times in zip(ways, found):  # in turns: the machine is not always the same
            began = time.perf_counter(); make(); times.append(time.perf_counter() - began)
    return [min(times[1:]) for times in found]

found, threads = {}, SharedThreads(processors())
for name, many in (("own", True), ("shared", False)):
    rows = asked(many)
    found[name] = seconds(
        lambda: [forecast_from(*row, 30, 10) for row in rows],
        lambda: forecasts_from(rows, 30, 10, threads.map),
    )
print(json.dumps(found))
"""
ALL = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1]); sys.path.insert(0, sys.argv[1] + "/benchmarks")
from pathlib import Path
from serving_stage import Stage
from desk import ForecastDesk
from forecast_all import forecast_all, written
few = {"loaded_models": int(sys.argv[4]), "cached_answers": 64, "refresh": False}
desk = ForecastDesk(Stage(Path(sys.argv[2])).settings.model_copy(update=few), promising=False)
tickers = [f"T{number:03}" for number in range(int(sys.argv[3]))]

def seconds(steps):
    began = time.perf_counter()
    with written(Path(sys.argv[2]) / "all.parquet") as write:
        for some in forecast_all(desk, tickers, steps, True):
            write(some)
    return time.perf_counter() - began

found = [seconds(1), *(seconds(steps) for steps in (29, 30, 31))]
found.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
print(json.dumps(found))
"""


def recursive(stage: Stage, times: int) -> list[str]:
    """A hundred tickers of a network that is fed its own answers, in one process without HTTP."""
    if not (stage.folder / "recursive.onnx").exists():
        run_python(REFERENCE, ROOT, stage.folder, 1)
    rows = [
        "| 100 tickers, 30 steps of `mlops_64_64_32`, views in memory | processors | one by one "
        "| together | faster |",
        "|---|--:|--:|--:|--:|",
    ]
    for cores, told in PROCESSORS.items():
        found = run_python(TOGETHER, ROOT, stage.folder, times, cores=cores)
        for name, text in (("own", "own weights each"), ("shared", "one network for all of them")):
            alone, together = found[name]
            cells = f"{alone * 1e3:.0f} ms | {together * 1e3:.0f} ms | {alone / together:.1f}x"
            rows.append(f"| {text} | {told} | {cells} |")
    return rows


def everyone(stage: Stage, champions: int) -> list[str]:
    """Every champion's forecast into a Parquet file, as `predict.py --all` writes it."""
    rows = [
        f"| {champions} champions, 30 steps with bands, into Parquet | models kept | models and "
        "prices read on the way | all in memory | memory at most |",
        "|---|--:|--:|--:|--:|",
    ]
    for kept in (champions, 128):
        first, *later, memory = run_python(ALL, ROOT, stage.folder, champions, kept)
        warm = f"{statistics.median(later):.2f} s" if kept >= champions else ""
        rows.append(f"| | {kept} | {first:.1f} s | {warm} | {memory:.0f} MB |")
    return rows
