"""The arithmetic behind published figures that cannot mean what they are called.

Arrays and numbers in, numbers out. Knows no system, file or network.
"""

from __future__ import annotations

import math

import numpy as np

from contracts import FloatArray
from metrics import mae, mse, r2


def batch_loss(errors: FloatArray, batch_size: int) -> float:
    """What a loop reports that adds each batch's mean square divided by the batch's rows.

    Args:
        errors: shape (n,), in the order of the batches.
        batch_size: rows of every batch but the last, which may have fewer.
    """
    batches = [errors[i : i + batch_size] for i in range(0, len(errors), batch_size)]
    return float(sum(np.mean(np.square(batch)) / len(batch) for batch in batches))


def batch_factor(rows: int, batch_size: int) -> float:
    """What that loop reports over the true mean square, on average over shuffled rows.

    Every batch of shuffled rows has the mean square of all as its expectation, so the factor is
    the sum of 1 / rows over the batches: whole / batch_size + 1 / rest.
    """
    whole, rest = divmod(rows, batch_size)
    return whole / batch_size + (1 / rest if rest else 0.0)


def least_largest_error(mean_square: float, mean_absolute: float) -> float:
    """The largest |error| is at least this: mean(e^2) <= max|e| * mean|e|."""
    return mean_square / mean_absolute


def least_rows(mean_square: float, mean_absolute: float) -> int:
    """At least so many rows: max|e| <= n * mean|e|, hence mean(e^2) <= n * mean|e|^2."""
    return math.ceil(mean_square / mean_absolute**2)


def can_both_be(mean_square: float, mean_absolute: float, largest: float) -> bool:
    """Whether errors of at most `largest` can have both: mae^2 <= mse <= largest * mae."""
    return mean_absolute**2 <= mean_square <= largest * mean_absolute


def not_inverted(scaled: FloatArray, actual: FloatArray) -> dict[str, float]:
    """Scores of forecasts left on their scale against prices, both (n,).

    Returns:
        `mae` and `rmse` in the unit of the prices, `mse` in its square, `r2`.
    """
    square = mse(actual, scaled)
    return {
        "mae": mae(actual, scaled),
        "mse": square,
        "rmse": math.sqrt(square),
        "r2": r2(actual, scaled),
    }
