"""Bars to network inputs: mid-price, causal MinMax and its inverse, sequences, splits by date.

Arrays in, arrays out. Knows no file, network, clock, setting or TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from contracts import FloatArray, NotEnoughHistory, Scaling

VOLUME_SESSIONS = 60  # a quarter: longer than what a week of results does to volume


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """N training pairs. Row i of `x` and `y[i]` are scaled by `lo[i]` and `hi[i]` alone.

    The input of row i ends at position `last[i]` of the series, its target is the next one.
    """

    windows: FloatArray  # (N, sequence_length, 1), mid-prices: a view on the series
    y: FloatArray  # (N,)
    lo: FloatArray  # (N,) smallest mid of the trailing window that ends at `last`
    hi: FloatArray  # (N,) largest
    last: np.ndarray  # (N,) int

    @property
    def x(self) -> FloatArray:
        """(N, sequence_length, 1) scaled inputs, made anew at each call: take a part, then ask."""
        return normalise(self.windows, self.lo[:, None, None], self.hi[:, None, None])

    def rows(self, part: slice) -> Sequences:
        """The pairs of one part of a split: views, nothing is copied."""
        return Sequences(
            self.windows[part], self.y[part], self.lo[part], self.hi[part], self.last[part]
        )


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Mid-prices and the trailing MinMax that ends with each, all of shape (T,)."""

    mids: FloatArray
    lo: FloatArray
    hi: FloatArray

    def sequences(self, length: int) -> Sequences:
        """Every pair of `length` mids and the next one, scaled by what the input's end knew.

        Nothing after position `last[i]` touches row i of `x`; the target's price is read once,
        as the target.

        Raises:
            NotEnoughHistory: T <= length.
        """
        windows, target = create_sequences(self.mids, length)
        last = np.arange(length - 1, len(self.mids) - 1)
        lo, hi = self.lo[last], self.hi[last]
        return Sequences(windows, normalise(target, lo, hi), lo, hi, last)


@dataclass(frozen=True, slots=True)
class Split:
    """Consecutive parts of N rows, oldest first; validation is the end of the training part."""

    train: slice
    validation: slice
    test: slice


def mid_price(high: FloatArray, low: FloatArray) -> FloatArray:
    """(high + low) / 2, same shape and unit as its inputs."""
    return np.asarray((np.asarray(high, dtype=float) + np.asarray(low, dtype=float)) / 2.0)


def trailing_extremes(values: FloatArray, window_size: int) -> tuple[FloatArray, FloatArray]:
    """Minimum and maximum of the up to `window_size` values that end with each one.

    Args:
        values: shape (T,), no NaN.
        window_size: at least 1.

    Returns:
        (lo, hi), each of shape (T,); entry t depends on values[: t + 1] only.
    """
    rolling = pd.Series(np.asarray(values, dtype=float)).rolling(window_size, min_periods=1)
    return np.asarray(rolling.min()), np.asarray(rolling.max())


def trailing_moments(values: FloatArray, window_size: int) -> tuple[FloatArray, FloatArray]:
    """Mean, and mean plus standard deviation, of the up to `window_size` values ending with each.

    Put into `normalise` for lo and hi they give z-scores. Same shapes as `trailing_extremes`.
    """
    rolling = pd.Series(np.asarray(values, dtype=float)).rolling(window_size, min_periods=1)
    mean = np.asarray(rolling.mean())
    return mean, mean + np.asarray(rolling.std(ddof=0))


def trailing_bounds(
    values: FloatArray, window_size: int, scaling: Scaling
) -> tuple[FloatArray, FloatArray]:
    """The (lo, hi) that `normalise` takes for a scaling, each of shape (T,)."""
    find = trailing_moments if scaling == "zscore" else trailing_extremes
    return find(values, window_size)


def normalise(values: FloatArray, lo: FloatArray | float, hi: FloatArray | float) -> FloatArray:
    """(value - lo) / (hi - lo), and 0 where hi == lo. Broadcasts like NumPy."""
    span = np.asarray(hi, dtype=float) - lo
    flat = span == 0
    scaled = np.asarray(np.subtract(values, lo, dtype=float))
    fits = scaled.shape == np.broadcast_shapes(scaled.shape, span.shape)
    # in place: another array of this size costs several times the division
    scaled = np.divide(scaled, np.where(flat, 1.0, span), out=scaled if fits else None)
    return np.asarray(np.where(flat, 0.0, scaled) if flat.any() else scaled)


def denormalise(values: FloatArray, lo: FloatArray | float, hi: FloatArray | float) -> FloatArray:
    """The inverse of `normalise`: lo + value * (hi - lo); gives lo where hi == lo."""
    return np.asarray(lo + np.asarray(values, dtype=float) * (np.asarray(hi, dtype=float) - lo))


def windowed_normalize(mid: FloatArray, window_size: int = 2500) -> FloatArray:
    """Each value on the MinMax scale of its own trailing window, for display: shape (T,), 0..1.

    Neighbours stand on different scales, so this series is not what the network is trained on;
    see `scaled_sequences`.
    """
    lo, hi = trailing_extremes(mid, window_size)
    return normalise(mid, lo, hi)


def create_sequences(
    values: FloatArray, sequence_length: int = 50
) -> tuple[FloatArray, FloatArray]:
    """Slice one series into every (past, next) pair it contains.

    Args:
        values: shape (T,), no NaN.
        sequence_length: values the network sees, at least 1.

    Returns:
        X of shape (T - sequence_length, sequence_length, 1) and y of shape (T - sequence_length,).
        Both are views on the input: nothing is copied.

    Raises:
        NotEnoughHistory: T <= sequence_length.
    """
    values = np.asarray(values, dtype=float)
    if len(values) <= sequence_length:
        raise NotEnoughHistory(have=len(values), need=sequence_length + 1)
    windows = np.lib.stride_tricks.sliding_window_view(values, sequence_length)[:-1]
    return windows[:, :, np.newaxis], values[sequence_length:]


def trailing_scale(mids: FloatArray, window_size: int, scaling: Scaling = "minmax") -> Scale:
    """Mid-prices (T,), ascending in time, with the bounds of the `window_size` ending with each."""
    return Scale(mids, *trailing_bounds(mids, window_size, scaling))


def scaled_sequences(
    mid: FloatArray, sequence_length: int, window_size: int, scaling: Scaling = "minmax"
) -> Sequences:
    """Pairs of which each is scaled, target included, by the window ending at its last input.

    Args:
        mid: shape (T,), mid-prices, ascending in time.
        sequence_length: mids in one input.
        window_size: mids the scale looks back over.
        scaling: by minimum and maximum, or by mean and standard deviation.

    Raises:
        NotEnoughHistory: T <= sequence_length.
    """
    return trailing_scale(mid, window_size, scaling).sequences(sequence_length)


def split_rows(count: int, train_share: float, validation_share: float) -> Split:
    """Cut `count` rows in time: the first `train_share` of them, then the test part.

    The last `validation_share` of the training part is set aside for validation.

    Raises:
        NotEnoughHistory: a part would be empty.
    """
    train_end = int(count * train_share)
    fit_end = train_end - max(1, int(train_end * validation_share))
    if fit_end < 1 or train_end >= count:
        raise NotEnoughHistory(have=count, need=4, what="sequences")
    return Split(slice(0, fit_end), slice(fit_end, train_end), slice(train_end, count))


def exponential_average(values: FloatArray, span: int) -> FloatArray:
    """Exponential moving average, alpha = 2 / (span + 1), started at the first value.

    No bias adjustment: s[0] = v[0], s[i] = alpha v[i] + (1 - alpha) s[i-1]. Of each row of a table;
    shape kept.
    """
    alpha, given = 2 / (span + 1), np.asarray(values, dtype=float)
    # plain numbers for one row, ninety at most: pandas would take 40 times as long
    alone = given.size == given.shape[-1]
    smooth: list[Any] = given.ravel().tolist() if alone else list(given.T)
    for place in range(1, len(smooth)):
        smooth[place] = alpha * smooth[place] + (1 - alpha) * smooth[place - 1]
    return np.array(smooth).T.reshape(given.shape)


def daily_features(bars: pd.DataFrame) -> pd.DataFrame:
    """What drift is measured on, never price levels: one row per session but the first.

    Args:
        bars: columns Date, Open, High, Low, Close, Volume; ascending.

    Returns:
        Date; `return`, log change of the mid-price (0.01 is about +1 %); `range`, log(high/low);
        `gap`, log of the open over the close before; `volume`, log of the volume over the median
        of the up to VOLUME_SESSIONS before it, so that a split leaves it alone.
    """
    open_, high, low, close, volume = (
        bars[name].to_numpy(dtype=float) for name in ("Open", "High", "Low", "Close", "Volume")
    )
    traded = pd.Series(np.log(np.maximum(volume, 1.0)))
    usual = traded.rolling(VOLUME_SESSIONS, min_periods=1).median().to_numpy()
    return pd.DataFrame(
        {
            "Date": bars["Date"].to_numpy()[1:],
            "return": np.diff(np.log(mid_price(high, low))),
            "range": np.log(high / low)[1:],
            "gap": np.log(open_[1:] / close[:-1]),
            "volume": traded.to_numpy()[1:] - usual[:-1],
        }
    )
