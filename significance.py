"""Whether one forecast errs less than another by more than chance.

NumPy alone: the serving process has neither SciPy nor scikit-learn and says it of its forecasts.
"""

from __future__ import annotations

import math

import numpy as np

from contracts import FloatArray


def student_two_sided(statistic: float, freedom: int) -> float:
    """P(|T| >= |statistic|) of Student's t with a whole number of degrees of freedom, at least 1.

    The finite series of Abramowitz and Stegun (1964), 26.7.3 and 26.7.4; exact to 1e-12.
    """
    angle = math.atan(abs(statistic) / math.sqrt(freedom))
    even = freedom % 2 == 0
    # powers of the cosine, 1, 2, 4, ... of them, each times its ratio of products of whole numbers
    k = np.arange(1, (freedom - 2) // 2 + 1) if even else np.arange(1, (freedom - 3) // 2 + 1)
    ratios = (2 * k - 1) / (2 * k) if even else 2 * k / (2 * k + 1)
    series = 1 + float(np.cumprod(ratios * math.cos(angle) ** 2).sum())
    if even:
        inside = math.sin(angle) * series
    else:
        wave = math.sin(angle) * math.cos(angle) * series if freedom > 1 else 0.0
        inside = 2 / math.pi * (angle + wave)
    return min(1.0, max(0.0, 1 - inside))


def long_run_variance(values: FloatArray, lags: int) -> float:
    """Newey and West's (1987) variance of sqrt(n) times the mean, with Bartlett weights."""
    centred = values - values.mean()
    count = len(values)
    return float(
        np.mean(centred**2)
        + 2
        * sum(
            (1 - lag / (lags + 1)) * np.sum(centred[lag:] * centred[:-lag]) / count
            for lag in range(1, min(lags, count - 1) + 1)
        )
    )


def equal_accuracy(loss: FloatArray, baseline_loss: FloatArray, horizon: int = 1) -> float:
    """Two-sided p-value that two forecasts lose the same on average.

    Diebold and Mariano (1995) with the small-sample correction of Harvey, Leybourne and Newbold
    (1997); the variance is Newey and West's with max(horizon - 1, n^(1/3)) lags, since losses
    of daily prices cluster and those of overlapping horizons share their days.

    Args:
        loss: shape (n,), in time order.
        baseline_loss: shape (n,), the other forecast's on the same rows.
        horizon: rows that one forecast reaches over.

    Returns:
        A p-value; 1.0 where both lose alike on every row, n < 10 or the correction has no room
        (too few rows to tell).
    """
    gap = np.asarray(loss) - np.asarray(baseline_loss)
    count = len(gap)
    correction = (count + 1 - 2 * horizon + horizon * (horizon - 1) / max(count, 1)) / max(count, 1)
    if count < 10 or not gap.any() or correction <= 0:
        return 1.0
    variance = long_run_variance(gap, max(horizon - 1, int(count ** (1 / 3))))
    if variance <= 0:
        return 1.0
    statistic = gap.mean() / math.sqrt(variance / count) * math.sqrt(correction)
    return student_two_sided(statistic, count - 1)


def diebold_mariano(errors: FloatArray, baseline_errors: FloatArray, horizon: int = 1) -> float:
    """`equal_accuracy` on squared errors; both of shape (n,), in time order."""
    return equal_accuracy(np.square(errors), np.square(baseline_errors), horizon)
