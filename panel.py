"""The inputs and targets of recipe `panel`: bars in units of their own recent volatility.

Measured so, a day of one share looks like a day of any other, and one network can learn from all
of them. Arrays in, arrays out; nothing after a session touches its row. Knows no file, ticker or
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from contracts import FloatArray, NotEnoughHistory
from features import mid_price

INPUTS = ("return", "gap", "range", "overnight", "volume", "vol_5", "vol_66", "vol_250")
WARM_UP = 66  # sessions before the averages behind a row mean anything
SPAN = 22  # sessions of the volatility that is the unit
LONGEST_BLOCK = 100  # targets in one training window
UNIT_FLOOR = 1e-4  # a price that never moves still has a unit: one basis point a day
CLIP, TARGET_CLIP = 6.0, 8.0  # false or freak days must not move a network


@dataclass(frozen=True, slots=True, eq=False)
class PanelInputs:
    """One ticker's sessions as the network sees them, oldest first.

    `x` has the shape (T, len(INPUTS)); `unit` (T,) is the daily volatility expected at each
    session's end (0.01 is about 1 %), `mids` and `closes` (T,) are prices.
    """

    x: FloatArray
    unit: FloatArray
    mids: FloatArray
    closes: FloatArray

    def windows(self, last: np.ndarray, length: int) -> FloatArray:
        """The `length` rows that end with each position of `last`: (n, length, inputs)."""
        view = np.lib.stride_tricks.sliding_window_view(self.x, length, axis=0)
        return np.asarray(view[last - length + 1].transpose(0, 2, 1))


@dataclass(frozen=True, slots=True)
class Blocks:
    """Where the origins of one part are cut: blocks of `length` targets that begin at `starts`.

    The last one may overlap the one before it; its first `repeated` targets are that one's, and
    none counts twice.
    """

    starts: tuple[int, ...]
    length: int
    repeated: int


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Training rows: `x` (n, burn-in + block, inputs), `y` (n, block, horizons), NaN unknown."""

    x: FloatArray
    y: FloatArray


def panel_inputs(bars: pd.DataFrame) -> PanelInputs:
    """Bars to inputs in volatility units.

    The daily variance is Parkinson's (1980) range estimate, log(high/low)^2 / (4 log 2), plus the
    squared overnight move; its exponential mean of span 22 gives the unit. Moves are divided by
    the unit known before them, the gap between close and mid by the one known with it.

    Args:
        bars: columns Open, High, Low, Close, Volume; ascending.
    """
    open_, high, low, close, volume = (
        bars[name].to_numpy(dtype=float) for name in ("Open", "High", "Low", "Close", "Volume")
    )
    mids = mid_price(high, low)
    overnight = np.log(open_ / _before(close, open_[0]))
    variance = np.log(high / low) ** 2 / (4 * np.log(2)) + overnight**2
    unit = _volatility(variance, SPAN)
    known = _before(unit, unit[0])
    traded = np.log(np.maximum(volume, 1.0))
    x = np.stack(
        [
            np.log(mids / _before(mids, mids[0])) / known,
            np.log(close / mids) / unit,
            np.log(high / low) / known - 1.5,  # about its mean
            overnight / known,
            traded - _mean(traded, SPAN),
            *(2 * np.log(_volatility(variance, span) / unit) for span in (5, 66, 250)),
        ],
        axis=-1,
    )
    return PanelInputs(np.clip(x, -CLIP, CLIP), unit, mids, close)


def inputs_of_levels(levels: FloatArray) -> tuple[FloatArray, float]:
    """Inputs from one series alone, and its unit, for those who hold no bars.

    Each value stands for a whole session at one price: the gap, range, overnight move and volume
    are unknown and set to their means, 0. Moves are differences, so the series may be on any
    scale and of either sign.

    Args:
        levels: shape (T,), oldest first, at least 2.

    Returns:
        ((T, len(INPUTS)), the last expected size of a move in the unit of `levels`).
    """
    levels = np.asarray(levels, dtype=float)
    moves = np.diff(levels, prepend=levels[0])
    unit = np.sqrt(_mean(moves**2, SPAN))
    unit = np.maximum(unit, UNIT_FLOOR * max(float(np.max(np.abs(levels))), UNIT_FLOOR))
    x = np.zeros((len(levels), len(INPUTS)))
    x[:, 0] = np.clip(moves / _before(unit, unit[0]), -CLIP, CLIP)
    return x, float(unit[-1])


def targets(inputs: PanelInputs, horizons: Sequence[int], known_until: int) -> FloatArray:
    """What the network is to expect: shape (T, len(horizons)), NaN where not known.

    log(mid h sessions later / close) / (unit * sqrt(h)), from outcomes before `known_until`.
    """
    found = np.full((len(inputs.mids), len(horizons)), np.nan)
    for column, step in enumerate(horizons):
        origins = max(0, min(known_until, len(inputs.mids)) - step)
        move = np.log(inputs.mids[step : step + origins] / inputs.closes[:origins])
        found[:origins, column] = move / (inputs.unit[:origins] * np.sqrt(step))
    return np.asarray(np.clip(found, -TARGET_CLIP, TARGET_CLIP))


def blocks(part: range, burn_in: int) -> Blocks:
    """Cut origins of one part into blocks.

    Args:
        part: consecutive origins; those before `burn_in` + WARM_UP are left out.
        burn_in: rows before a block, for the network's state to settle.

    Raises:
        NotEnoughHistory: no origin is left.
    """
    first = max(part.start, burn_in + WARM_UP)
    length = min(LONGEST_BLOCK, part.stop - first)
    if length < 1:
        raise NotEnoughHistory(have=part.stop, need=burn_in + WARM_UP + 1)
    starts = (*range(first, part.stop - length, length), part.stop - length)
    twice = max(0, starts[-2] + length - starts[-1]) if len(starts) > 1 else 0
    return Blocks(starts, length, twice)


def training_windows(inputs: PanelInputs, target: FloatArray, part: range, burn_in: int) -> Windows:
    """Cut origins of one part into blocks, each with the rows before it for the state to settle.

    Args:
        inputs: of one ticker.
        target: as `targets` gives it; origins outside `part` count for nothing.
        part: consecutive origins, as `blocks` takes them.
        burn_in: rows before a block.

    Raises:
        NotEnoughHistory: no origin is left.
    """
    cut = blocks(part, burn_in)
    x = np.stack([inputs.x[at - burn_in : at + cut.length] for at in cut.starts])
    y = np.stack([target[at : at + cut.length] for at in cut.starts])
    y[-1, : cut.repeated] = np.nan
    return Windows(x.astype("float32"), y.astype("float32"))


def stack(parts: Sequence[Windows]) -> Windows:
    """Windows of many tickers as one table; shorter blocks are padded at their beginning."""
    rows = max(part.x.shape[1] for part in parts)
    block = max(part.y.shape[1] for part in parts)
    return Windows(
        np.concatenate([_pad(part.x, rows, 0.0) for part in parts]),
        np.concatenate([_pad(part.y, block, np.nan) for part in parts]),
    )


def scale_at(log_scales: FloatArray, horizons: Sequence[int], steps: int) -> FloatArray:
    """Expected size of the log error in units, at every step: (n, horizons) -> (n, steps).

    Interpolated in the logarithm of the step between the horizons the network speaks of; grows
    with the square root of the step before the correction.
    """
    every = np.arange(1, steps + 1)
    known = np.log(np.asarray(horizons, dtype=float))
    place = np.interp(np.log(every), known, np.arange(len(known)))
    low = np.minimum(place.astype(int), len(known) - 2)
    share = place - low
    mixed = log_scales[:, low] * (1 - share) + log_scales[:, low + 1] * share
    return np.asarray(np.exp(np.clip(mixed, -3.0, 3.0)) * np.sqrt(every))


def _before(values: FloatArray, first: float) -> FloatArray:
    return np.concatenate([[first], values[:-1]])


def _mean(values: FloatArray, span: int) -> FloatArray:
    return np.asarray(pd.Series(values).ewm(span=span).mean(), dtype=float)


def _volatility(variance: FloatArray, span: int) -> FloatArray:
    return np.maximum(np.sqrt(_mean(variance, span)), UNIT_FLOOR)


def _pad(values: FloatArray, length: int, filler: float) -> FloatArray:
    lacking = length - values.shape[1]
    return np.asarray(np.pad(values, ((0, 0), (lacking, 0), (0, 0)), constant_values=filler))
