"""Whether a table of bars can be trusted: what is refused, what is dropped, what is only noted.

Frames in, frames and sentences out. Knows neither where bars come from nor where they go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from contracts import BAR_COLUMNS, BadPrices, FloatArray

Mask = npt.NDArray[np.bool_]
TRADED = ("Open", "High", "Low", "Close")
TOUCH = 1e-6  # relative; float noise of an adjustment factor
OUTSIDE = 0.01  # relative; how far Open or Close may lie outside Low..High before a bar is dropped
FEW = 5  # bars that may be dropped from any table; of long ones FEW_SHARE
FEW_SHARE = 0.005
NOTABLE = np.log(1.5)  # one-day |log move| worth a word: 45 such days in 481 stocks of ten years
ABSURD = np.log(10.0)  # a split far more often than a market: refused rather than learnt
SPLITS = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50)
SPLIT_FIT = 0.07  # |log| distance between a move and a split ratio; real markets add their own move
UNDONE_WITHIN = 30  # sessions between a split and its undoing in a half-adjusted table


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """Bars that keep the promises of `contracts.Prices`, and what a reader should know of them."""

    bars: pd.DataFrame
    notes: tuple[str, ...]


def check_bars(table: pd.DataFrame, name: str) -> Checked:
    """Bring a table into order and judge it.

    Sorts by date, drops identical repeats and up to max(5, 0.5 %) unusable bars (an empty or
    non-positive price, High below Low, Open or Close more than 1 % outside Low..High).

    Args:
        table: columns of BAR_COLUMNS, any order of rows, NaN allowed.
        name: what to call the table in an error.

    Raises:
        BadPrices: no bars, two different bars of one day, too many unusable bars, a one-day
            move beyond a factor of ten, or a split that is undone within 30 sessions (some
            rows adjusted, others not).
    """
    bars, notes = _one_bar_a_day(table, name)
    bars, dropped = _usable_bars(bars, name)
    _refuse_broken_adjustment(bars, name)
    bars["Volume"] = np.rint(bars["Volume"].fillna(0)).astype(np.int64)
    return Checked(bars, (*notes, *dropped, *_flat_bars(bars), *_large_moves(bars)))


def _one_bar_a_day(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[str]]:
    unique = table[list(BAR_COLUMNS)].drop_duplicates()
    if unique.empty:
        raise BadPrices(f"{name} holds no bars")
    again = unique["Date"].duplicated()
    if again.any():
        day = unique.loc[again, "Date"].iloc[0]
        raise BadPrices(
            f"{name} has {again.sum()} days with two different bars, the first {day:%Y-%m-%d}; "
            "keep the right one"
        )
    repeats = len(table) - len(unique)
    notes = [f"{repeats} repeated rows dropped"] if repeats else []
    return unique.sort_values("Date").reset_index(drop=True), notes


def _usable_bars(bars: pd.DataFrame, name: str) -> tuple[pd.DataFrame, list[str]]:
    bad = _unusable(bars)
    count, days = int(bad.sum()), _list_days(bars["Date"], bad)
    if count > max(FEW, FEW_SHARE * len(bars)):
        raise BadPrices(
            f"{name}: {count} of {len(bars)} bars have an empty or non-positive price, or Open or "
            f"Close outside Low..High ({days})"
        )
    if count == len(bars):
        raise BadPrices(f"{name} holds no usable bar")
    notes = [f"{count} unusable bars dropped: {days}"] if count else []
    return bars[~bad].reset_index(drop=True), notes


def _unusable(bars: pd.DataFrame) -> Mask:
    prices = bars[[*TRADED, "Adj Close"]].to_numpy(dtype=float)
    priced = np.isfinite(prices).all(axis=1) & (prices > 0).all(axis=1)
    opening, high, low, close = (bars[name].to_numpy(dtype=float) for name in TRADED)
    inside = (np.maximum(opening, close) <= high * (1 + OUTSIDE)) & (
        np.minimum(opening, close) >= low * (1 - OUTSIDE)
    )
    volume = bars["Volume"].to_numpy(dtype=float)
    counted = np.isnan(volume) | (np.isfinite(volume) & (volume >= 0))
    return np.asarray(~(priced & inside & (low <= high * (1 + TOUCH)) & counted))


def _refuse_broken_adjustment(bars: pd.DataFrame, name: str) -> None:
    moves = _moves(bars)
    absurd = np.abs(moves) > ABSURD
    if absurd.any():
        row = int(np.argmax(absurd))
        raise BadPrices(
            f"{name}: {_move(bars, row)}, beyond a factor of ten in one day; a split is missing or "
            "applied twice"
        )
    ratios = _split_ratios(bars)
    rows = np.flatnonzero(ratios)
    for row, later in zip(rows[:-1], rows[1:], strict=True):
        if later - row <= UNDONE_WITHIN and np.isclose(ratios[row], -ratios[later]):
            raise BadPrices(
                f"{name}: {_move(bars, row)}, undone on {bars['Date'][later]:%Y-%m-%d}; a split is "
                "applied to some rows and not to others"
            )


def _moves(bars: pd.DataFrame) -> FloatArray:
    """(n,) natural-log change of Close since the bar before; 0 for the first."""
    logs = np.log(bars["Close"].to_numpy())
    return np.diff(logs, prepend=logs[0])


def _split_ratios(bars: pd.DataFrame) -> FloatArray:
    """(n,) log of the split a bar looks like, 0 for none.

    A split shows at the open and stays through the close. Where few different prices were
    traded it may be a tick: penny stocks of the 1980s moved between two, a factor of two apart.
    """
    close = np.log(bars["Close"].to_numpy())
    gap = np.log(bars["Open"].to_numpy()) - np.concatenate([close[:1], close[:-1]])
    moves = _moves(bars)
    logs = np.log(np.array([*SPLITS, *(1 / ratio for ratio in SPLITS)]))
    nearest = logs[np.abs(moves[:, None] - logs).argmin(axis=1)]
    fits = np.maximum(np.abs(moves - nearest), np.abs(gap - nearest)) < SPLIT_FIT
    if fits.any():
        fits &= _priced_finely(bars)
    return np.asarray(np.where(fits, nearest, 0.0))


def _priced_finely(bars: pd.DataFrame) -> Mask:
    """(n,) whether the last 20 closes took at least 10 different prices."""
    windows = pd.Series(pd.factorize(bars["Close"])[0]).rolling(20, min_periods=1)
    return np.asarray(windows.apply(lambda codes: len(np.unique(codes)), raw=True) >= 10)


def _flat_bars(bars: pd.DataFrame) -> list[str]:
    flat = int((bars["High"] == bars["Low"]).sum())
    if flat <= len(bars) / 2:
        return []
    return [f"{flat} of {len(bars)} bars have High equal to Low: the mid-price is the close there"]


def _large_moves(bars: pd.DataFrame) -> list[str]:
    moves = np.abs(_moves(bars))
    rows = np.flatnonzero(moves > NOTABLE)
    if not len(rows):
        return []
    ratios = _split_ratios(bars)
    largest = rows[np.argsort(-moves[rows])][:3]
    told = [_move(bars, row) + (", like a split" if ratios[row] else "") for row in largest]
    return [f"{len(rows)} one-day moves beyond a factor of 1.5, kept: {'; '.join(told)}"]


def _move(bars: pd.DataFrame, row: int) -> str:
    before, after = bars["Close"][row - 1], bars["Close"][row]
    return f"{bars['Date'][row]:%Y-%m-%d} Close {before:.6g} to {after:.6g}"


def _list_days(days: pd.Series[pd.Timestamp], chosen: Mask) -> str:
    first = [f"{day:%Y-%m-%d}" for day in days[chosen][:3]]
    return ", ".join(first) + (" ..." if chosen.sum() > len(first) else "")
