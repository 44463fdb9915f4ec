"""Forecasts of one price series at many origins, with quantiles, by every model that is compared.

Nothing dated after an origin touches its row: not a price, not an error that bands are made of.
Knows no file, no ticker and no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

import baseline_arima
from contracts import BadBundle, FloatArray, NotEnoughHistory
from features import denormalise, scaled_sequences
from inference import Network
from metrics import QUANTILES

LEVELS = (0.025, *QUANTILES, 0.975)
MEMORY = 1000  # known errors that a band is made of, the latest ones
LEAST_ERRORS = 39  # fewer give no finite 95 % band


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One ticker's history, oldest first: `days`, `mids` and `closes` have the shape (T,)."""

    days: np.ndarray  # datetime64
    mids: FloatArray
    closes: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Fan:
    """What one model expects at n origins: point (n, H) and quantiles (n, H, len(LEVELS))."""

    point: FloatArray
    quantiles: FloatArray


@dataclass(frozen=True, slots=True)
class Segment:
    """A network, and the origins it answers for.

    Origins from `unseen_from` on took no part in its fit, so their errors may make bands; it
    forecasts those from `first` up to, not including, `until`.
    """

    network: Network
    unrollings: int
    window_size: int
    unseen_from: int
    first: int
    until: int


def last_mid(series: Series, origins: np.ndarray, steps: int) -> Fan:
    """Repeat the last mid-price."""
    every = np.arange(len(series.mids))
    return _with_known_errors(series, origins, every, _repeat(series.mids, steps))


def last_close(series: Series, origins: np.ndarray, steps: int) -> Fan:
    """Repeat the last close; on mid-prices the naive forecast that is hard to beat."""
    every = np.arange(len(series.mids))
    return _with_known_errors(series, origins, every, _repeat(series.closes, steps))


def drift(series: Series, origins: np.ndarray, steps: int) -> Fan:
    """The last close, carried on at the mean daily log change of the MEMORY sessions before."""
    every = np.arange(len(series.mids))
    start = np.maximum(every - MEMORY, 0)
    slope = np.log(series.mids / series.mids[start]) / np.maximum(every - start, 1)
    path = _repeat(series.closes, steps) * np.exp(slope[:, None] * np.arange(1, steps + 1))
    return _with_known_errors(series, origins, every, path)


def arima(series: Series, origins: np.ndarray, steps: int) -> Fan:
    """ARIMA(5,1,0) fitted once on the sessions before the first origin, with Gaussian bands."""
    first = int(origins[0])
    start = max(0, first + 1 - baseline_arima.FIT_SESSIONS)
    fitted = baseline_arima.fit(series.mids[start : first + 1])
    point, spread = baseline_arima.paths(fitted, series.mids, origins, steps)
    return Fan(point, point[:, :, None] + spread[None, :, None] * norm.ppf(np.array(LEVELS)))


def lstm(series: Series, origins: np.ndarray, steps: int, segments: Sequence[Segment]) -> Fan:
    """The recursive forecast of each segment's network, with bands from its own unseen errors.

    Raises:
        BadBundle: a network forecasts a price that is not positive.
    """
    parts = []
    for segment in segments:
        rows = scaled_sequences(series.mids, segment.unrollings, segment.window_size)
        own = np.arange(max(segment.unseen_from, int(rows.last[0])), len(series.mids) - 1)
        rows = rows.rows(slice(int(own[0]) - int(rows.last[0]), None))
        paths = segment.network.recurse(rows.x, steps)
        prices = denormalise(paths, rows.lo[:, None], rows.hi[:, None])
        if not (prices > 0).all():
            raise BadBundle("the network forecasts a price that is not positive")
        mine = origins[(origins >= segment.first) & (origins < segment.until)]
        parts.append(_with_known_errors(series, mine, own, prices))
    return Fan(
        np.concatenate([part.point for part in parts]),
        np.concatenate([part.quantiles for part in parts]),
    )


def _repeat(prices: FloatArray, steps: int) -> FloatArray:
    return np.repeat(np.asarray(prices, dtype=float)[:, None], steps, axis=1)


def _with_known_errors(
    series: Series, origins: np.ndarray, made_at: np.ndarray, paths: FloatArray
) -> Fan:
    """Quantiles from the log errors whose outcome was known at each origin.

    Args:
        series: the prices.
        origins: shape (n,), positions to forecast at, each of them in `made_at`.
        made_at: shape (m,), consecutive positions that `paths` were made at.
        paths: shape (m, H), forecast mids.
    """
    steps, begin = paths.shape[1], int(made_at[0])
    point = paths[origins - begin]
    quantiles = np.empty((len(origins), steps, len(LEVELS)))
    for step in range(1, steps + 1):
        known = made_at[made_at + step < len(series.mids)]
        errors = np.log(series.mids[known + step] / paths[: len(known), step - 1])
        for row, origin in enumerate(origins):
            settled = errors[: max(0, int(origin) - step - begin + 1)][-MEMORY:]
            quantiles[row, step - 1] = finite_sample_quantiles(settled)
    return Fan(point, point[:, :, None] * np.exp(quantiles))


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
