"""What fitting many tickers' networks as one graph costs beside one by one, and how scores differ.

`python benchmarks/batched_fits.py FOLDER [--tickers 60] [--together 4 8 16 32 64] [--threads 1]`:
FOLDER holds one CSV per ticker, of which every so-many-th is imported into a folder of its own;
recipe `panel` as of 2025-12-31. Every way is warm: its graphs are traced before the clock starts,
but for `each alone`, which traces and converts for every ticker, as a process per ticker does.
Seconds are of the clock and of the processor, per ticker, for fit and export; `--scores` adds the
differences of the scores on the test rows. `TF_ENABLE_ONEDNN_OPTS=1` in the environment is heeded.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
AS_OF = date(2025, 12, 31)
SCORES = ("validation loss", "RMSE / last close", "CRPS / last close")
ALONE = 4  # tickers of the slow way


def quiet(threads: int) -> None:
    """What TensorFlow reads when it is loaded."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ |= dict.fromkeys(THREADS, str(threads))


def lessons_of(folder: Path, count: int, home: Path, recipe: Any) -> list[tuple[Any, Any]]:
    """Prepared data and lesson of evenly chosen tickers; those with too little history aside."""
    from base_training import base_for
    from config import Settings
    from contracts import ForecastingError
    from data_pipeline import StockDataPipeline, import_file
    from evaluation import prepare
    from fitting import Lesson

    settings = Settings(data_dir=home, models_dir=home / "models", as_of=AS_OF)
    files, found = sorted(folder.glob("*.csv*")), []
    for path in files[:: max(1, len(files) // count)]:
        ticker = path.name.split(".")[0]
        try:
            import_file(ticker, path, settings)
            prices = StockDataPipeline(ticker, settings).read()
            data = prepare(prices, settings, recipe)
        except ForecastingError as error:
            print(f"left out {ticker}: {error}", file=sys.stderr)
            continue
        first = data.bars["Date"].iloc[int(data.rows.last[data.split.test][0])].date()
        base = base_for(first, recipe, settings, prices)
        found.append((data, Lesson(data.bars, data.rows, data.parts, base)))
    return found[:count]


def clocked(name: str, work: Callable[[], list[Any]], scratch: Path) -> tuple[list[Any], float]:
    """Fit and export all; prints both times per ticker."""
    wall, processor = time.perf_counter(), time.process_time()
    fitted = work()
    for one in fitted:
        one.network.export_onnx(scratch)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    each = processor / len(fitted)
    print(f"| {name} | {wall / len(fitted):.3f} | {each:.3f} |", flush=True)
    return fitted, each


def forgetful(lessons: Sequence[Any], recipe: Any) -> list[Any]:
    """One by one, with nothing kept from one ticker to the next."""
    import keras

    import model
    from fitting import fit

    fitted = []
    for lesson in lessons:
        model._twin.cache_clear()
        model._template.cache_clear()
        keras.utils.set_random_seed(0)  # another seed: TensorFlow forgets what it has optimised
        fitted.append(fit(lesson, recipe, 42))
    return fitted


def scores(data: Any, fitted: Any, path: Path) -> tuple[float, float, float]:
    """Best validation loss; one-step RMSE and CRPS over the last close's on the test rows."""
    from evaluation import judge_model
    from inference import Network, TrainedModel
    from referee import judge

    fitted.network.export_onnx(path)
    model = TrainedModel(Network(path), fitted.network.recipe.as_dict())
    judged = judge_model(data, model, fitted.pool)
    skill = judge(judged.rows, "lstm", judged.fans)
    ratio = np.nan if skill.crps_ratio is None else skill.crps_ratio
    return min(fitted.history["val_loss"]), skill.rmse_ratio, ratio


def tell(gaps: np.ndarray) -> None:
    """Print what the scores of one by one and together differ by: (tickers, 3)."""
    error = np.nanstd(gaps, axis=0, ddof=1) / np.sqrt(np.isfinite(gaps).sum(axis=0))
    mean, widest = np.nanmean(gaps, axis=0), np.nanmax(np.abs(gaps), axis=0)
    print("\n| together less one by one | mean | standard error | widest |\n|---|--:|--:|--:|")
    for name, *figures in zip(SCORES, mean, error, widest, strict=True):
        print(f"| {name} | {figures[0]:+.6f} | {figures[1]:.6f} | {figures[2]:.6f} |")


def main() -> int:
    """Time every way, then compare scores of one by one and of the last group size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="one CSV per ticker")
    parser.add_argument("--tickers", type=int, default=60)
    parser.add_argument("--together", type=int, nargs="*", default=[4, 8, 16, 32, 64])
    parser.add_argument("--threads", type=int, default=1, help="of TensorFlow")
    parser.add_argument("--scores", action="store_true", help="compare scores too")
    arguments = parser.parse_args()
    quiet(arguments.threads)
    from batched_fitting import fit_many
    from fitting import fit
    from recipes import find_recipe

    recipe = find_recipe("panel")
    with TemporaryDirectory() as scratch:
        home, path = Path(scratch), Path(scratch) / "model.onnx"
        prepared = lessons_of(arguments.folder, arguments.tickers, home, recipe)
        lessons = [lesson for _, lesson in prepared]
        print(f"{len(lessons)} tickers, {arguments.threads} thread(s)\n")
        print("| fitted | s by the clock | s of processor |\n|---|--:|--:|")
        few = lessons[:ALONE]
        _, alone = clocked("each alone", lambda: forgetful(few, recipe), path)
        fit(lessons[0], recipe, 42)
        one_by_one, warm = clocked(
            "one by one", lambda: [fit(lesson, recipe, 42) for lesson in lessons], path
        )
        ratios = [f"one by one {alone / warm:.1f}"]
        for size in arguments.together:
            groups = [lessons[at : at + size] for at in range(0, len(lessons), size)]
            fit_many(groups[0], recipe, 42)
            together, each = clocked(
                f"{size} together",
                lambda g=groups: sum((fit_many(x, recipe, 42) for x in g), []),
                path,
            )
            ratios.append(f"{size} together {alone / each:.1f} ({warm / each:.2f})")
        print(f"\ntimes as fast as each alone (as one by one): {', '.join(ratios)}")
        if arguments.scores:
            rows = [
                [scores(data, way[at], path) for way in (one_by_one, together)]
                for at, (data, _) in enumerate(prepared)
            ]
            tell(np.array([np.subtract(ours, theirs) for theirs, ours in rows]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
