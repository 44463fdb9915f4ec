"""Forecasts of one price series at many origins, with quantiles, by every model that is compared.

Nothing dated after an origin touches its row: not a price, not an error that bands are made of.
Knows no file, no ticker and no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

import baseline_arima
from bands import LEVELS, MEMORY, Outlook, Pool, errors_of, known_quantiles
from contracts import BadBundle, FloatArray
from features import mid_price
from inference import TrainedModel


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One ticker's history, oldest first: `days`, `mids` and `closes` have the shape (T,)."""

    bars: pd.DataFrame
    days: np.ndarray  # datetime64
    mids: FloatArray
    closes: FloatArray

    @classmethod
    def of(cls, bars: pd.DataFrame) -> Series:
        """The series of a table of bars with a RangeIndex."""
        mids = mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy())
        return cls(bars, bars["Date"].to_numpy(), mids, bars["Close"].to_numpy(dtype=float))


@dataclass(frozen=True, slots=True, eq=False)
class Fan:
    """What one model expects at n origins: point (n, H) and quantiles (n, H, len(LEVELS))."""

    point: FloatArray
    quantiles: FloatArray


@dataclass(frozen=True, slots=True)
class Segment:
    """A model, and the origins it answers for.

    Errors of origins from `errors_from` on make its bands; it forecasts those from `first` up to,
    not including, `until`.
    """

    model: TrainedModel
    pool: Pool | None
    errors_from: int
    first: int
    until: int


def last_mid(series: Series, origins: np.ndarray, steps: int) -> Fan:
    """Repeat the last mid-price."""
    every = np.arange(len(series.mids))
    return _with_known_errors(series, origins, every, _unscaled(_repeat(series.mids, steps)))


def last_close(series: Series, origins: np.ndarray, steps: int) -> Fan:
    """Repeat the last close; on mid-prices the naive forecast that is hard to beat."""
    every = np.arange(len(series.mids))
    return _with_known_errors(series, origins, every, _unscaled(_repeat(series.closes, steps)))


def drift(series: Series, origins: np.ndarray, steps: int) -> Fan:
    """The last close, carried on at the mean daily log change of the MEMORY sessions before."""
    every = np.arange(len(series.mids))
    start = np.maximum(every - MEMORY, 0)
    slope = np.log(series.mids / series.mids[start]) / np.maximum(every - start, 1)
    path = _repeat(series.closes, steps) * np.exp(slope[:, None] * np.arange(1, steps + 1))
    return _with_known_errors(series, origins, every, _unscaled(path))


def arima(series: Series, origins: np.ndarray, steps: int, fitted: Any = None) -> Fan:
    """ARIMA(5,1,0) fitted once on the sessions before the first origin, with Gaussian bands.

    `fitted` is what `baseline_arima.fit_by` gave of the first origin, if that has been asked
    before.
    """
    fitted = fitted or baseline_arima.fit_by(series.mids, int(origins[0]))
    point, spread = baseline_arima.paths(fitted, series.mids, origins, steps)
    return Fan(point, point[:, :, None] + spread[None, :, None] * norm.ppf(np.array(LEVELS)))


def lstm(series: Series, origins: np.ndarray, steps: int, segments: Sequence[Segment]) -> Fan:
    """The forecast of each segment's model, with bands from its own past errors.

    Raises:
        BadBundle: a network forecasts a price that is not positive.
    """
    parts = []
    for segment in segments:
        mine = origins[(origins >= segment.first) & (origins < segment.until)]
        parts.append(_of_segment(series, mine, steps, segment))
    return Fan(
        np.concatenate([part.point for part in parts]),
        np.concatenate([part.quantiles for part in parts]),
    )


def _of_segment(series: Series, mine: np.ndarray, steps: int, segment: Segment) -> Fan:
    begin = max(segment.errors_from, segment.model.first_origin)
    # no band needs an error older than this
    begin = max(begin, int(mine[0]) - MEMORY - steps)
    own = np.arange(begin, int(mine[-1]) + 1)
    outlook = segment.model.outlook(series.bars, own, steps)
    if not (outlook.point > 0).all():
        raise BadBundle("the network forecasts a price that is not positive")
    return _with_known_errors(series, mine, own, outlook, segment.pool)


def _repeat(prices: FloatArray, steps: int) -> FloatArray:
    return np.repeat(np.asarray(prices, dtype=float)[:, None], steps, axis=1)


def _with_known_errors(
    series: Series,
    origins: np.ndarray,
    made_at: np.ndarray,
    outlook: Outlook,
    pool: Pool | None = None,
) -> Fan:
    """Quantiles from the log errors whose outcome was known at each origin.

    Args:
        series: the prices.
        origins: shape (n,), positions to forecast at, each of them in `made_at`.
        made_at: shape (m,), consecutive positions that `outlook` was made at.
        outlook: m rows.
        pool: what the quantiles are drawn towards.
    """
    own = outlook.at(origins - int(made_at[0]))
    errors = errors_of(outlook, series.mids, made_at)
    quantiles = known_quantiles(errors, made_at, origins, pool)
    return Fan(own.point, own.point[:, :, None] * np.exp(own.scale[:, :, None] * quantiles))


def _unscaled(paths: FloatArray) -> Outlook:
    return Outlook(paths, np.ones_like(paths))
