"""What a simulated loop was worth: beside its first champions, kept for ever, and the last close.

Every forecast is made again from the bundles that were champion on each session, with the bands of
their cards, on the same origins and outcomes. Knows no database and no schedule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from bands import LEVELS, Outlook, errors_of, known_quantiles
from contracts import FloatArray, ModelCard, Prices
from data_pipeline import training_bars
from features import mid_price
from inference import Network, TrainedModel
from metrics import QUANTILES, crps, equal_accuracy
from model_store import NETWORK, Published

STEPS = 30  # sessions ahead
SHOWN = (1, 5, 10, 20, 30)
LOOP, KEPT, LAST_CLOSE = "the loop", "never retrained", "last_close"
INNER = slice(1, -1)  # of bands.LEVELS: metrics.QUANTILES


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """One ticker's losses by forecaster, relative to the last mid: (n, STEPS), NaN unknown.

    `days` (n,) are the origins.
    """

    days: np.ndarray
    squared: Mapping[str, FloatArray]
    crps: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """The loop over one rival at one step; below 1 the loop erred less."""

    rival: str
    step: int
    n: int  # origins with a known outcome
    rmse_ratio: float
    rmse_p: float  # two-sided Diebold-Mariano
    crps_ratio: float
    crps_p: float


def walked(prices: Prices, reign: Mapping[date, Published], first: Published, last: date) -> Walked:
    """Losses at every origin of one ticker.

    Args:
        prices: of the ticker, through the end of the walk or later.
        reign: the champion that answered from each origin.
        first: the champion the walk began with.
        last: later bars are not looked at.
    """
    known = prices.bars[prices.bars["Date"] <= pd.Timestamp(last)].reset_index(drop=True)
    seen = Prices(prices.ticker, known, prices.provenance)
    mids = mid_price(known["High"].to_numpy(dtype=float), known["Low"].to_numpy(dtype=float))
    place = {day.date(): row for row, day in enumerate(known["Date"])}
    origins = np.array([place[day] for day in reign], dtype=int)
    fans = {
        LOOP: _of_reign(seen, reign, place),
        KEPT: _of_reign(seen, dict.fromkeys(reign, first), place),
        LAST_CLOSE: _of_last_close(known, mids, origins),
    }
    return Walked(
        np.array(list(reign), dtype="datetime64[D]"),
        {name: _squared(mids, origins, point) for name, (point, _) in fans.items()},
        {name: _crps(mids, origins, quantiles) for name, (_, quantiles) in fans.items()},
    )


def _of_reign(
    prices: Prices, reign: Mapping[date, Published], place: Mapping[date, int]
) -> tuple[FloatArray, FloatArray]:
    """Points (n, STEPS) and quantiles (n, STEPS, Q) of whoever was champion."""
    days = list(reign)
    points = np.empty((len(days), STEPS))
    quantiles = np.empty((len(days), STEPS, len(QUANTILES)))
    for bundle in {champion.path: champion for champion in reign.values()}.values():
        rows = np.array([i for i, day in enumerate(days) if reign[day].path == bundle.path])
        bars = training_bars(prices, bundle.card.start_date)
        shift = len(prices.bars) - len(bars)
        at = np.array([place[days[row]] for row in rows]) - shift
        model = TrainedModel(Network(bundle.path / NETWORK), bundle.card.recipe)
        outlook = model.outlook(bars, at, STEPS)
        points[rows] = outlook.point
        quantiles[rows] = _fan(bundle.card, outlook)
    return points, quantiles


def _fan(card: ModelCard, outlook: Outlook) -> FloatArray:
    """Prices at QUANTILES by the card's calibration: (n, STEPS, Q)."""
    nothing = [np.nan] * len(LEVELS)
    rows = [nothing if row is None else row for row in card.calibration.quantiles[:STEPS]]
    table = np.array(rows, dtype=float)[None, :, INNER]
    return np.asarray(outlook.point[..., None] * np.exp(outlook.scale[..., None] * table))


def _of_last_close(
    bars: pd.DataFrame, mids: FloatArray, origins: np.ndarray
) -> tuple[FloatArray, FloatArray]:
    """The last close, with quantiles of its errors that were known at each origin."""
    every = np.arange(len(mids) - 1)
    closes = bars["Close"].to_numpy(dtype=float)
    flat = np.repeat(closes[every, None], STEPS, axis=1)
    errors = errors_of(Outlook(flat, np.ones_like(flat)), mids, every)
    found = known_quantiles(errors, every, origins)[..., INNER]
    points = np.repeat(closes[origins, None], STEPS, axis=1)
    return points, np.asarray(points[..., None] * np.exp(found))


def _outcomes(mids: FloatArray, origins: np.ndarray) -> FloatArray:
    target = origins[:, None] + np.arange(1, STEPS + 1)
    return np.where(target < len(mids), mids[np.minimum(target, len(mids) - 1)], np.nan)


def _squared(mids: FloatArray, origins: np.ndarray, points: FloatArray) -> FloatArray:
    return np.asarray(((points - _outcomes(mids, origins)) / mids[origins, None]) ** 2)


def _crps(mids: FloatArray, origins: np.ndarray, quantiles: FloatArray) -> FloatArray:
    came, levels = _outcomes(mids, origins), np.array(QUANTILES)
    by_step = [crps(came[:, step], quantiles[:, step], levels) for step in range(STEPS)]
    return np.asarray(np.stack(by_step, axis=1) / mids[origins, None])


def gains(tickers: Sequence[Walked]) -> tuple[Gain, ...]:
    """The loop over each rival, by step; of several tickers the mean loss of a day is one row.

    Two tickers of one day are no two outcomes, so the test is on the day's mean. Steps beyond
    every known outcome are left out.
    """
    found = (_gain(tickers, rival, step) for rival in (KEPT, LAST_CLOSE) for step in SHOWN)
    return tuple(gain for gain in found if gain.n)


def _gain(tickers: Sequence[Walked], rival: str, step: int) -> Gain:
    squared = _by_day(tickers, "squared", rival, step)
    bands = _by_day(tickers, "crps", rival, step)
    ours, theirs = squared.mean()
    return Gain(
        rival=rival,
        step=step,
        n=len(squared),
        rmse_ratio=float(np.sqrt(ours / theirs)),
        rmse_p=_p_value(squared, step),
        crps_ratio=float(bands.mean().iloc[0] / bands.mean().iloc[1]),
        crps_p=_p_value(bands, step),
    )


def _p_value(losses: pd.DataFrame, step: int) -> float:
    ours, theirs = losses.to_numpy(dtype=float).T
    return equal_accuracy(ours, theirs, step)


def _by_day(tickers: Sequence[Walked], loss: str, rival: str, step: int) -> pd.DataFrame:
    """The loop's and the rival's mean loss by day, two columns, days with an outcome only."""
    parts = []
    for one in tickers:
        losses: Mapping[str, FloatArray] = getattr(one, loss)
        columns = {name: losses[name][:, step - 1] for name in (LOOP, rival)}
        parts.append(pd.DataFrame(columns, index=one.days).dropna())
    return pd.concat(parts).groupby(level=0).mean().sort_index()


def as_table(found: Sequence[Gain]) -> str:
    """Gains as people read them."""
    lines = [
        f"{'against':16} {'step':>4} {'days':>5}   {'RMSE':>7} {'p':>6}   {'CRPS':>7} {'p':>6}"
    ]
    lines += [
        f"{one.rival:16} {one.step:4} {one.n:5}   {one.rmse_ratio:7.4f} {one.rmse_p:6.3f}   "
        f"{one.crps_ratio:7.4f} {one.crps_p:6.3f}"
        for one in found
    ]
    return "\n".join([*lines, "loss of the loop over the other's; below 1 the loop erred less"])
