"""The published systems' own scales, which have seen the future, and fits on them.

The only file with such scales. Nothing that is served, judged or registered imports it: `published`
prints what they give beside the causal form, `as_published` one run of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import baseline_arima
from contracts import FloatArray
from features import (
    Sequences,
    Split,
    create_sequences,
    denormalise,
    normalise,
    scaled_sequences,
    split_rows,
    trailing_extremes,
)
from metrics import direction_accuracy, direction_accuracy_spec, mae, mse, r2, rmse
from published_systems import Series, System
from recipes import Recipe

BLOCK = 2500  # sessions of one MinMax of the windowed form

Bounds = tuple[FloatArray, FloatArray]  # lo and hi of each value for features.normalise, (T,) each
EpochListener = Callable[[int, Mapping[str, float]], None]


def block_minmax(values: FloatArray, block: int = BLOCK) -> Bounds:
    """Minimum and maximum of the block of `block` values that each one stands in. LEAKS."""
    parts = [values[i : i + block] for i in range(0, len(values), block)]
    lo = [np.full(len(part), part.min()) for part in parts]
    hi = [np.full(len(part), part.max()) for part in parts]
    return np.concatenate(lo), np.concatenate(hi)


def trailing_minmax(values: FloatArray) -> Bounds:
    """Minimum and maximum of the up to BLOCK values that end with each one.

    A target's scale is its own, which knows the target and is not that of its inputs.
    """
    return trailing_extremes(values, BLOCK)


def whole_minmax(values: FloatArray) -> Bounds:
    """Minimum and maximum of the whole series. LEAKS."""
    return block_minmax(values, len(values))


def whole_zscore(values: FloatArray) -> Bounds:
    """Mean, and mean plus standard deviation (ddof 0), of the whole series. LEAKS."""
    mean = np.full(len(values), np.mean(values))
    return mean, mean + np.std(values)


SCALERS: dict[str, Callable[[FloatArray], Bounds]] = {
    "block_minmax": block_minmax,
    "trailing_minmax": trailing_minmax,
    "whole_minmax": whole_minmax,
    "whole_zscore": whole_zscore,
}


@dataclass(frozen=True, slots=True, eq=False)
class Lot:
    """One series cut for one system: the published rows and our causal ones, target by target."""

    series: Series
    bounds: Bounds
    x: FloatArray  # (N, length, 1) on the published scale
    y: FloatArray  # (N,)
    causal: Sequences
    split: Split

    @property
    def first(self) -> int:
        """Position of the first test target in the series."""
        return int(self.causal.last[self.split.test.start]) + 1

    def scores(self, prices: FloatArray) -> dict[str, float]:
        """Forecasts of the test targets, (n,) in prices, on the published scale of each target."""
        values, at = self.series.values, slice(self.first, None)
        actual, last = values[at], values[self.first - 1 : -1]
        lo, hi = self.bounds[0][at], self.bounds[1][at]
        scaled = [normalise(part, lo, hi) for part in (actual, prices)]
        return {
            "mse": mse(*scaled),
            "mae": mae(*scaled),
            "r2": r2(*scaled),
            "rmse": rmse(actual, prices),
            "direction": direction_accuracy(last, actual, prices),
            "direction_spec": direction_accuracy_spec(actual, prices),
        }


def cut(series: Series, system: System, recipe: Recipe) -> Lot:
    """Sequences on both scales, split as the recipe says; row i of both has the same target.

    Raises:
        NotEnoughHistory: too few values for the recipe.
    """
    values = series.values
    bounds = SCALERS[system.scaler](values)
    x, y = create_sequences(normalise(values, *bounds), recipe.unrollings)
    causal = scaled_sequences(values, recipe.unrollings, recipe.window_size, recipe.scaling)
    share = recipe.train_test_split
    if system.test_from:
        before = series.days[causal.last + 1] < np.datetime64(system.test_from)
        share = (before.sum() + 0.5) / len(y)  # cut exactly there
    return Lot(series, bounds, x, y, causal, split_rows(len(y), share, recipe.validation_split))


def fit_published(
    lot: Lot, system: System, recipe: Recipe, seed: int, heard: EpochListener | None = None
) -> dict[str, Any]:
    """Fit on the published scale and rows, and score as published.

    Returns:
        Scores of Lot.scores; `last_price_mse` on the same scale; `forecasts` of every row in
        prices, `next` for the session after the last, and the `history` by epoch.
    """
    train, held = lot.split.train, lot.split.validation
    if system.chosen_on != "validation":
        train, held = slice(0, lot.split.test.start), lot.split.test
    parts = (lot.x[train], lot.y[train], lot.x[held], lot.y[held])
    newest = normalise(lot.series.values, *lot.bounds)[None, -recipe.unrollings :, None]
    how = (seed, system.chosen_on == "last epoch", heard)
    said, history = _fitted(parts, np.concatenate([lot.x, newest]), recipe, how)
    at = np.append(lot.causal.last + 1, len(lot.series.values) - 1)  # whose scale is inverted
    prices = denormalise(said, lot.bounds[0][at], lot.bounds[1][at])
    kept = {"forecasts": rounded(prices[:-1]), "next": float(prices[-1]), "history": history}
    repeated = lot.scores(lot.series.values[lot.first - 1 : -1])["mse"]
    return lot.scores(prices[:-1][lot.split.test]) | kept | {"last_price_mse": repeated}


def fit_causal(lot: Lot, recipe: Recipe, seed: int) -> dict[str, Any]:
    """The same recipe and rows on scales that end with each input; scored on the published one."""
    rows = lot.causal
    train, held = rows.rows(lot.split.train), rows.rows(lot.split.validation)
    parts = (train.x, train.y, held.x, held.y)
    said, history = _fitted(parts, rows.x, recipe, (seed, False, None))
    prices = denormalise(said, rows.lo, rows.hi)
    kept = {"forecasts": rounded(prices), "history": history}
    return lot.scores(prices[lot.split.test]) | kept


def _fitted(
    parts: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    asked: FloatArray,
    recipe: Recipe,
    how: tuple[int, bool, EpochListener | None],
) -> tuple[FloatArray, dict[str, list[float]]]:
    """What a fitted network says of `asked`, and Keras' history."""
    from model import LSTMStockModel

    seed, last_epoch, heard = how
    network = LSTMStockModel(recipe, seed=seed)
    newest: list[Any] = []

    def ended(epoch: int, logs: Mapping[str, float]) -> None:
        newest[:] = network.model.get_weights() if last_epoch else []
        if heard is not None:
            heard(epoch, logs)

    history = network.train(
        *parts, epochs=recipe.epochs, batch_size=recipe.batch_size, on_epoch_end=ended
    ).history
    if last_epoch:
        network.model.set_weights(newest)
    return network.predict(asked), {name: rounded(values) for name, values in history.items()}


def rounded(values: Sequence[float] | FloatArray) -> list[float]:
    """Six significant digits, as results are kept."""
    return [float(f"{value:.6g}") for value in values]


def baselines(lot: Lot) -> dict[str, Any]:
    """Forecasts without a network on the same rows: one step ahead, and ARIMA from one origin."""
    values, first = lot.series.values, lot.first
    arima, _ = baseline_arima.one_step(values, first - 1)
    known = values[max(0, first - baseline_arima.FIT_SESSIONS) : first]
    at_once = np.asarray(baseline_arima.fit(known).forecast(len(values) - first))
    said = {
        "last_price": values[first - 1 : -1],
        "last_close": lot.series.closes[first - 1 : -1],
        "arima": arima,
        "arima_at_once": at_once,
    }
    return {name: lot.scores(prices) for name, prices in said.items()}
