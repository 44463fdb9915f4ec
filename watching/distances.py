"""How far the newest sessions of a series are from a reference, at every session.

The distance is the first Wasserstein distance in standard deviations of the reference, as
Evidently has it, so that its page shows the same number.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import wasserstein_distance

from contracts import FloatArray

CELLS = 8  # points of the reference per point of the window, where many windows are measured


def distance(reference: FloatArray, current: FloatArray) -> float:
    """First Wasserstein distance in standard deviations of the reference."""
    return float(wasserstein_distance(reference, current)) / deviation(reference)


def deviation(reference: FloatArray) -> float:
    """The unit of `distance`; a constant has one too, as in Evidently."""
    return max(float(np.std(reference)), 0.001)


def distances(series: FloatArray, reference: FloatArray, window: int) -> FloatArray:
    """The exact distance of each window of one series: (T,), (n,) -> (T - window + 1,)."""
    view = np.lib.stride_tricks.sliding_window_view(series, window)
    return np.array([distance(reference, current) for current in view])


def many_distances(series: FloatArray, reference: FloatArray, window: int) -> FloatArray:
    """Nearly the same for many series, each with a reference of its own, much faster.

    The reference is cut into CELLS quantiles per point of a window; within a cell of both sorted
    samples the distance is the mean of absolute differences.

    Args:
        series: (draws, T).
        reference: (draws, n).
        window: newest sessions compared.

    Returns:
        (draws, T - window + 1).
    """
    n = reference.shape[1]
    at = ((np.arange(window * CELLS) + 0.5) / (window * CELLS) * n).astype(int)
    cells = np.sort(reference, axis=1)[:, at].reshape(len(reference), window, CELLS)
    view = np.lib.stride_tricks.sliding_window_view(series, window, axis=1)
    found = [
        np.abs(np.sort(windows, axis=1)[:, :, None] - cell).mean(axis=(1, 2))
        for windows, cell in zip(view, cells, strict=True)  # one draw at a time bounds the memory
    ]
    return np.asarray(found / np.maximum(reference.std(axis=1), 0.001)[:, None])


def ratios(
    own: FloatArray, baseline: FloatArray, reference: FloatArray | float, window: int
) -> FloatArray:
    """Root of mean squared errors over the baseline's in each window, over what it was then.

    Args:
        own: (..., T) squared errors of the model.
        baseline: (..., T) of the last close.
        reference: the ratio held out, one or one per series.
        window: newest sessions compared.

    Returns:
        (..., T - window + 1); 1.2 is an error a fifth larger than it was.
    """
    now = np.sqrt(_sums(own, window) / _sums(baseline, window))
    return np.asarray(now / np.asarray(reference)[..., None])


def _sums(values: FloatArray, window: int) -> FloatArray:
    view = np.lib.stride_tricks.sliding_window_view(values, window, axis=-1)
    return np.asarray(view.sum(axis=-1))
