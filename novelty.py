"""How far the newest input of a network lies from all that it was fitted on. Arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contracts import FloatArray

LEAST_ROWS = 100  # sessions below which a high quantile of distances says nothing
FLOOR = 1e-4  # variance added to each input, so that one that never moved has a finite distance


@dataclass(frozen=True, slots=True)
class Distance:
    """Of one input, beside the distance that only few of those seen in training exceed."""

    value: float
    threshold: float

    @property
    def outside(self) -> bool:
        """Whether training saw next to nothing like it."""
        return self.value > self.threshold


def distance(seen: FloatArray, newest: FloatArray, quantile: float) -> Distance | None:
    """How far a row lies from those seen in training, beside what is unusual there.

    Args:
        seen: shape (n, inputs), finite.
        newest: shape (inputs,).
        quantile: of the distances of `seen` that is the threshold, such as 0.997.

    Returns:
        None where there are fewer than LEAST_ROWS.
    """
    if len(seen) < LEAST_ROWS:
        return None
    own, every = distances(seen, newest[None])
    return Distance(float(own[0]), float(np.quantile(every, quantile)))


def distances(seen: FloatArray, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mahalanobis distances of rows from the rows seen, and of those seen themselves.

    sqrt((x - m)' S^-1 (x - m)), m and S the mean and covariance of `seen` (Mahalanobis 1936).

    Args:
        seen: shape (n, inputs), finite.
        rows: shape (k, inputs).

    Returns:
        (k,) and (n,).
    """
    centre = seen.mean(axis=0)
    covariance = np.cov(seen, rowvar=False) + FLOOR * np.eye(seen.shape[1])
    root = np.linalg.cholesky(covariance)  # S = L L', so the distance is the norm of L^-1 (x - m)
    every = np.concatenate([rows, seen]) - centre
    found = np.linalg.norm(np.linalg.solve(root, every.T), axis=0)
    return found[: len(rows)], found[len(rows) :]
