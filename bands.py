"""Quantiles of past forecast errors: the bands of every forecast, and joint paths that fit them.

Pure. An error is log(outcome / forecast) / scale; see contracts.Calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from contracts import QUANTILES, Band, Calibration, FloatArray, NotEnoughHistory

LEVELS = (0.025, *QUANTILES, 0.975)
OF_BAND = {"80": (0.1, 0.9), "95": (0.025, 0.975)}
MEMORY = 1000  # known errors that a band is made of, the latest ones
LEAST_ERRORS = 39  # fewer give no finite 95 % band


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """What a model says at n origins: mids `point` (n, H), `scale` (n, H) of their log errors."""

    point: FloatArray
    scale: FloatArray

    def at(self, rows: slice | np.ndarray) -> Outlook:
        """The same at some of the origins."""
        return Outlook(self.point[rows], self.scale[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Quantiles of many tickers' errors: `quantiles` (H, len(LEVELS)) and their weight, 0 to 1."""

    quantiles: FloatArray
    weight: float

    def mixed(self, own: FloatArray, step: int) -> FloatArray:
        """Own quantiles at `step` (from 1 on) drawn towards the pool's; they stay ascending."""
        return np.asarray((1 - self.weight) * own + self.weight * self.quantiles[step - 1])


def finite_sample_quantiles(errors: FloatArray) -> FloatArray:
    """Quantiles at LEVELS with the rank that keeps its promise on n errors.

    Below the median floor((n + 1) q), above it ceil((n + 1) q), so that each band covers at
    least its level of exchangeable errors.

    Raises:
        NotEnoughHistory: fewer than LEAST_ERRORS.
    """
    count = len(errors)
    if count < LEAST_ERRORS:
        raise NotEnoughHistory(have=count, need=LEAST_ERRORS, what="known forecast errors")
    exact = (count + 1) * np.array(LEVELS)
    # a hair of float noise must not move a rank
    ranks = np.where(np.array(LEVELS) < 0.5, np.floor(exact + 1e-9), np.ceil(exact - 1e-9))
    ranks = np.clip(ranks.astype(int), 1, count) - 1
    return np.asarray(np.sort(errors)[ranks])


def errors_of(outlook: Outlook, mids: FloatArray, origins: np.ndarray) -> FloatArray:
    """Standardised log errors at each origin and step: (n, H), NaN where not yet known.

    A forecast that is not positive is wrong by any width: infinity.
    """
    steps = outlook.point.shape[1]
    target = origins[:, None] + np.arange(1, steps + 1)
    known = target < len(mids)
    outcome = np.where(known, mids[np.minimum(target, len(mids) - 1)], np.nan)
    positive = outlook.point > 0
    error = np.log(outcome / np.where(positive, outlook.point, 1.0)) / outlook.scale
    return np.where(known & ~positive, np.inf, error)


def calibrate(errors: FloatArray, pool: Pool | None = None, memory: int = MEMORY) -> Calibration:
    """The quantiles per step of the last `memory` known errors, drawn towards the pool's.

    Args:
        errors: shape (n, H), as `errors_of` gives them, oldest first.
        pool: None for the ticker's own alone.
        memory: how many, at most.
    """
    rows: list[tuple[float, ...] | None] = []
    for step in range(1, errors.shape[1] + 1):
        known = errors[~np.isnan(errors[:, step - 1]), step - 1]
        try:
            own = finite_sample_quantiles(known[-memory:])
        except NotEnoughHistory:
            rows.append(None)
            continue
        found = pool.mixed(own, step) if pool else own
        # wrong by any width too often: no band, rather than one of the forecasts that went well
        whole = bool(np.isfinite(found).all())
        rows.append(tuple(float(value) for value in found) if whole else None)
    return Calibration(
        origins=min(memory, len(errors)),
        levels=LEVELS,
        quantiles=tuple(rows),
        pooled=pool.weight if pool else 0.0,
    )


def known_quantiles(
    errors: FloatArray, made_at: np.ndarray, origins: np.ndarray, pool: Pool | None = None
) -> FloatArray:
    """At each origin the quantiles of the errors whose outcome was known then: (k, H, levels).

    Args:
        errors: shape (m, H), made at the consecutive positions `made_at` (m,).
        made_at: positions.
        origins: shape (k,), positions.
        pool: None for the series' own errors alone.

    Raises:
        NotEnoughHistory: fewer than LEAST_ERRORS known at one of them.
    """
    steps, begin = errors.shape[1], int(made_at[0])
    found = np.empty((len(origins), steps, len(LEVELS)))
    for step in range(1, steps + 1):
        for row, origin in enumerate(origins):
            settled = errors[: max(0, int(origin) - step - begin + 1), step - 1][-MEMORY:]
            own = finite_sample_quantiles(settled)
            found[row, step - 1] = pool.mixed(own, step) if pool else own
    return found


def bands_of(calibration: Calibration, outlook: Outlook) -> dict[str, Band]:
    """Every level whose quantiles are known at each step of one origin's outlook.

    A band always holds its own forecast.
    """
    return bands_by([edges_of(calibration)], outlook)[0]


def edges_of(calibration: Calibration) -> FloatArray:
    """The quantiles that bands end at, (steps, 2 * len(OF_BAND)), up to the first unknown step."""
    known = list(takewhile(lambda row: row is not None, calibration.quantiles))
    place = {level: column for column, level in enumerate(calibration.levels)}
    columns = [place[level] for edges in OF_BAND.values() for level in edges]
    if not known:
        return np.empty((0, len(columns)))
    return np.array(known, dtype=float)[:, columns]


def bands_by(edges: Sequence[FloatArray], outlook: Outlook) -> list[dict[str, Band]]:
    """`bands_of` each of n origins, by the n edges of their calibrations."""
    steps = outlook.point.shape[1]
    found: list[dict[str, Band]] = [{} for _ in edges]
    known = [row for row, own in enumerate(edges) if len(own) >= steps]
    if not known:
        return found
    sides = np.stack([edges[row][:steps].T for row in known])
    point, scale = outlook.point[known][:, None, :], outlook.scale[known][:, None, :]
    prices = point * np.exp(scale * sides)
    lower = np.minimum(point, prices[:, ::2]).tolist()
    upper = np.maximum(point, prices[:, 1::2]).tolist()
    for row, low, high in zip(known, lower, upper, strict=True):
        for side, name in enumerate(OF_BAND):
            found[row][name] = Band(lower=tuple(low[side]), upper=tuple(high[side]))
    return found


def templates(errors: FloatArray, calibration: Calibration, memory: int = MEMORY) -> FloatArray:
    """How errors of one origin went together over the steps: (n, H), in units of the scale.

    Each row is what one past origin really saw, carried step by step from the distribution of
    its own step to the calibrated one (a Schaake shuffle, Clark et al. 2004): the rows keep the
    dependence between steps, and their quantiles at each step are those of the bands.
    """
    whole = errors[np.isfinite(errors).all(axis=1)][-memory:]
    if len(whole) < LEAST_ERRORS or any(row is None for row in calibration.quantiles):
        return np.empty((0, errors.shape[1]))
    rows = np.empty_like(whole)
    for step, row in enumerate(calibration.quantiles):
        values, wanted = whole[:, step], np.array(row, dtype=float)
        own = finite_sample_quantiles(values)
        inside = np.interp(values, own, wanted)
        beyond = np.minimum(values - own[0], 0.0) + np.maximum(values - own[-1], 0.0)
        rows[:, step] = inside + beyond
    return rows


def sample_paths(outlook: Outlook, rows: FloatArray) -> FloatArray:
    """Joint paths of mids from one origin: (n, steps), every one positive."""
    steps = outlook.point.shape[1]
    return np.asarray(outlook.point * np.exp(outlook.scale * rows[:, :steps]))


def share(hits: np.ndarray) -> float:
    """The share of true values by the rank rule (k + 1/2) / (n + 1): never 0, never 1."""
    return (float(np.count_nonzero(hits)) + 0.5) / (len(hits) + 1)
