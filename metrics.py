"""Scores of forecasts against what happened. Knows neither the model nor the ticker.

Arguments named `actual`, `forecast`, `last` are arrays of the same shape and unit (prices, or
the normalised scale); the result has that unit, or is a share between 0 and 1.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats
from sklearn.metrics import mean_absolute_error, mean_squared_error, root_mean_squared_error

from contracts import FloatArray, Verdict

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


def diebold_mariano(errors: FloatArray, baseline_errors: FloatArray, horizon: int = 1) -> float:
    """Two-sided p-value that squared errors of two forecasts are equal on average.

    Diebold and Mariano (1995) with the small-sample correction of Harvey, Leybourne and Newbold
    (1997); the variance is Newey and West's with max(horizon - 1, n^(1/3)) lags, since losses
    of daily prices cluster.

    Args:
        errors: shape (n,), forecast errors in time order.
        baseline_errors: shape (n,), those of the other forecast on the same rows.
        horizon: steps ahead of both.

    Returns:
        A p-value; 1.0 where both err alike on every row or n < 10 (too few to tell).
    """
    loss = np.square(errors) - np.square(baseline_errors)
    count = len(loss)
    if count < 10 or not loss.any():
        return 1.0
    lags = max(horizon - 1, int(count ** (1 / 3)))
    centred = loss - loss.mean()
    variance = np.mean(centred**2) + 2 * sum(
        (1 - lag / (lags + 1)) * np.sum(centred[lag:] * centred[:-lag]) / count
        for lag in range(1, lags + 1)
    )
    correction = (count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count
    statistic = loss.mean() / math.sqrt(variance / count) * math.sqrt(correction)
    return float(2 * stats.t.sf(abs(statistic), df=count - 1))


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
