"""Scores of forecasts against what happened. Knows neither the model nor the ticker.

Arguments named `actual`, `forecast`, `last` are arrays of the same shape and unit (prices, or
the normalised scale); the result has that unit, or is a share between 0 and 1.
"""

from __future__ import annotations

import math

import numpy as np
from sklearn.metrics import (
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    root_mean_squared_error,
)

from contracts import QUANTILES as QUANTILES  # a public name of this module too
from contracts import FloatArray, Verdict
from significance import diebold_mariano as diebold_mariano
from significance import equal_accuracy as equal_accuracy
from significance import long_run_variance as long_run_variance

SIGNIFICANCE = 0.05  # two-sided, for verdicts and the gate


def mse(actual: FloatArray, forecast: FloatArray) -> float:
    """Mean squared error, in squared units."""
    return float(mean_squared_error(actual, forecast))


def mae(actual: FloatArray, forecast: FloatArray) -> float:
    """Mean absolute error."""
    return float(mean_absolute_error(actual, forecast))


def rmse(actual: FloatArray, forecast: FloatArray) -> float:
    """Root of the mean squared error."""
    return float(root_mean_squared_error(actual, forecast))


def direction_accuracy(last: FloatArray, actual: FloatArray, forecast: FloatArray) -> float:
    """Share of moves whose side of the last KNOWN price was forecast: sign(f - l) == sign(a - l).

    Rows in which the price did not move are left out; a forecast of no move counts as wrong.
    NaN when nothing moved or the forecast never names a side (repeating the last mid).
    """
    moved = actual != last
    named = forecast != last
    if not moved.any() or not named.any():
        return math.nan
    return float(np.mean(np.sign(forecast - last)[moved] == np.sign(actual - last)[moved]))


def direction_accuracy_spec(actual: FloatArray, forecast: FloatArray) -> float:
    """The specification's form: signs of successive differences of both series.

    A forecast that is wrong by 50 every day scores 1.0 here; reported for comparison only.
    """
    if len(actual) < 2:
        return math.nan
    return float(np.mean(np.sign(np.diff(forecast)) == np.sign(np.diff(actual))))


def r2(actual: FloatArray, forecast: FloatArray) -> float:
    """1 - squared error over the variance of the outcomes; NaN for fewer than two rows."""
    return float(r2_score(actual, forecast)) if len(actual) > 1 else math.nan


def mase(actual: FloatArray, forecast: FloatArray, scale: float) -> float:
    """Mean absolute error over `scale`, the mean absolute one-step change before the first origin.

    Hyndman and Koehler (2006). NaN where the price never moved.
    """
    return mae(actual, forecast) / scale if scale > 0 else math.nan


def pinball(actual: FloatArray, quantiles: FloatArray, levels: FloatArray) -> FloatArray:
    """Loss of each quantile forecast, in the unit of the price.

    Args:
        actual: shape (n,).
        quantiles: shape (n, Q).
        levels: shape (Q,), between 0 and 1.

    Returns:
        Shape (n, Q): max(level * (a - q), (level - 1) * (a - q)), Koenker and Bassett (1978).
    """
    gap = np.asarray(actual)[:, None] - quantiles
    return np.asarray(np.maximum(levels * gap, (levels - 1) * gap))


def crps(actual: FloatArray, quantiles: FloatArray, levels: FloatArray) -> FloatArray:
    """Continuous ranked probability score per row, shape (n,): twice the mean pinball loss.

    Exact in the limit of many levels; with 19 it is the usual approximation (Gneiting and
    Ranjan 2011), the same for every model compared.
    """
    return np.asarray(2 * pinball(actual, quantiles, levels).mean(axis=1))


def winkler(actual: FloatArray, lower: FloatArray, upper: FloatArray, level: float) -> FloatArray:
    """Interval score per row, shape (n,): width, plus 2 / (1 - level) times what it missed by.

    Winkler (1972); `level` is the share meant to fall inside, such as 0.8.
    """
    missed = np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0)
    return np.asarray(upper - lower + 2 / (1 - level) * missed)


def block_means(losses: FloatArray, block: int, draws: int, seed: int) -> FloatArray:
    """Means of resampled rows, whole blocks at a time so that dependence stays.

    The circular block bootstrap of Politis and Romano (1992).

    Args:
        losses: shape (n, k), one column per series; rows in time order.
        block: rows per block, at least the horizon.
        draws: how many resamples.
        seed: of the draws; the same blocks for every column.

    Returns:
        Shape (draws, k).
    """
    count = len(losses)
    blocks = math.ceil(count / block)
    starts = np.random.default_rng(seed).integers(0, count, size=(draws, blocks))
    doubled = np.concatenate([losses, losses[: block - 1]]) if block > 1 else losses
    sums = np.concatenate([np.zeros((1, losses.shape[1])), doubled.cumsum(axis=0)])
    totals = sums[np.minimum(starts + block, len(doubled))] - sums[starts]
    return np.asarray(totals.mean(axis=1) / block)


def ratio_interval(
    loss: FloatArray, baseline_loss: FloatArray, block: int, *, root: bool = False, seed: int = 0
) -> tuple[float, float]:
    """95 % bootstrap interval of mean(loss) / mean(baseline_loss).

    Args:
        loss: shape (n,), in time order.
        baseline_loss: shape (n,), on the same rows.
        block: rows per block.
        root: True for the square root of the ratio, as of RMSEs.
        seed: of the draws.

    Returns:
        The 2.5 and 97.5 % points over 2000 resamples; NaN where the baseline loses nothing.
    """
    means = block_means(np.column_stack([loss, baseline_loss]), block, 2000, seed)
    if not (means[:, 1] > 0).all():
        return math.nan, math.nan
    ratios = means[:, 0] / means[:, 1]
    low, high = np.quantile(np.sqrt(ratios) if root else ratios, [0.025, 0.975])
    return float(low), float(high)


def conformal_width(scores: FloatArray, level: float) -> float | None:
    """The finite-sample quantile of absolute scores: the ceil((n + 1) * level)-th smallest.

    A band this wide covers at least `level` of exchangeable outcomes (Vovk, Gammerman and
    Shafer 2005). None where n is too small for a finite width.
    """
    rank = math.ceil((len(scores) + 1) * level)
    if rank > len(scores):
        return None
    width = float(np.partition(scores, rank - 1)[rank - 1])
    return width if math.isfinite(width) else None


def coverage(actual: FloatArray, lower: FloatArray, upper: FloatArray) -> float:
    """Share of outcomes inside [lower, upper]."""
    return float(np.mean((lower <= actual) & (actual <= upper)))


def verdict(rmse_ratio: float, p_value: float) -> Verdict:
    """What a ratio of errors and its p-value allow one to say, in plain words."""
    if p_value >= SIGNIFICANCE:
        return "no better than the last price"
    return "better than the last price" if rmse_ratio < 1 else "worse than the last price"
