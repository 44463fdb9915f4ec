"""Does recipe `panel` gain by starting a retraining from the champion's weights?

`python benchmarks/warm_start.py FOLDER` imports AAPL, GOOGL and MSFT from FOLDER and trains each at
the end of 2024 and of every quarter of 2025, from the base as the trainer does and from the weights
of the quarter before. Prints, per training, the validation loss of the weights each way began with
and ended with, and the one-step RMSE over the last close's on the test rows. Nothing is published.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}

from base_training import base_for
from bases import Base
from config import Settings
from data_pipeline import StockDataPipeline, import_file
from evaluation import Prepared, prepare
from fitting import Fitted, Lesson, fit
from model_store import WEIGHTS
from panel import panel_inputs, targets, training_windows
from recipes import Recipe, find_recipe

TICKERS = ("AAPL", "GOOGL", "MSFT")
QUARTERS = [
    date(2024, 12, 31),
    *(date(2025, m, d) for m, d in ((3, 31), (6, 30), (9, 30), (12, 31))),
]


def losses(fitted: Fitted, begun: Path, data: Prepared, recipe: Recipe) -> tuple[float, float]:
    """Validation loss of the weights at the beginning and at the end, both before shrinking."""
    inputs, part = panel_inputs(data.bars), data.parts.validation
    known = targets(inputs, recipe.horizons, part.stop + 1)
    held = training_windows(inputs, known, part, recipe.unrollings)
    ended = fitted.network.model.get_weights()
    fitted.network.load(begun)
    first = float(fitted.network.model.evaluate(held.x, held.y, verbose=0))
    fitted.network.model.set_weights(ended)
    return first, float(fitted.network.model.evaluate(held.x, held.y, verbose=0))


def test_ratio(fitted: Fitted, data: Prepared, recipe: Recipe) -> float:
    """One-step RMSE over the last close's, in logs by volatility, on the test rows."""
    inputs, last = panel_inputs(data.bars), data.rows.last[data.split.test]
    said = fitted.network.outputs(inputs.windows(last, recipe.unrollings))[:, 0]
    came = targets(inputs, (1,), len(inputs.mids))[last, 0]
    known = np.isfinite(came)
    return float(np.sqrt(np.mean((came - said)[known] ** 2) / np.mean(came[known] ** 2)))


def trained(data: Prepared, recipe: Recipe, base: Base, into: Path) -> tuple[float, float, float]:
    """Fit from the base's weights and keep the new ones, unshrunk, under `into`."""
    fitted = fit(Lesson(data.bars, data.rows, data.parts, base), recipe, 42)
    ratio = test_ratio(fitted, data, recipe)
    if fitted.shrinkage > 0:
        fitted.network.shrink(1 / fitted.shrinkage)
    begun, ended = losses(fitted, base.weights, data, recipe)
    into.mkdir(parents=True)
    fitted.network.save(into / WEIGHTS)
    return begun, ended, ratio


def main(folder: str) -> None:
    """Print one line per training, and the mean of each way."""
    recipe, rows = find_recipe("panel"), []
    print("ticker as of        base: begun  ended   test     warm: begun  ended   test")
    with TemporaryDirectory() as scratch:
        home = Path(scratch)
        settings = Settings(data_dir=home / "data", models_dir=home / "models", tickers=TICKERS)
        for ticker in TICKERS:
            import_file(ticker, Path(folder) / f"{ticker}.csv", settings)
            former: Path | None = None
            for day in QUARTERS:
                now = settings.model_copy(update={"as_of": day})
                prices = StockDataPipeline(ticker, now).read()
                data = prepare(prices, now, recipe)
                first = data.bars["Date"].iloc[int(data.rows.last[data.split.test][0])].date()
                base = base_for(first, recipe, now, prices)
                warm = replace(base, path=former) if former else base
                kept = {way: home / ticker / str(day) / way for way in ("base", "warm")}
                ways = [
                    trained(data, recipe, start, kept[way])
                    for way, start in (("base", base), ("warm", warm))
                ]
                former = kept["warm"]
                rows.append(sum(ways, ()))
                said = "   ".join("{:11.5f} {:.5f} {:.4f}".format(*way) for way in ways)
                print(f"{ticker:6} {day} {base.card.name} {said}", flush=True)
    print("mean", " ".join(f"{value:.5f}" for value in np.mean(rows, axis=0)))


if __name__ == "__main__":
    main(sys.argv[1])
