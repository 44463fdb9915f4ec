"""Jumps between one bar and the next: which a market makes, and which only an adjustment can.

Frames in, findings out. Knows no calendar and no source.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from contracts import Finding, FloatArray
from prices.findings import Action, Ints, Mask

NOTABLE = np.log(1.5)  # one-day |log move| worth a word: 45 such days in 481 stocks of ten years
ABSURD = np.log(10.0)  # a split far more often than a market: refused rather than learnt
SPLITS = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50)
SPLIT_FIT = 0.07  # |log| distance between a move and a split ratio; real markets add their own move
UNDONE_WITHIN = 30  # sessions between a split and its undoing in a half-adjusted table

# A level shift happens overnight and leaves an ordinary day behind it: what a spin-off, a special
# dividend or a split adjusted wrongly looks like. News that moves a price this far is fought over:
# a wide range or many times the usual volume. Measured by benchmarks/validation.py.
SHIFT = np.log(1.2)
OVERNIGHT = 0.8  # share of the move that is there at the open
NARROW, LOUD = 0.12, 8.0  # day's range / move at most; volume / usual volume at most
QUIET_NARROW, QUIET = 0.3, 2.0  # the same on a day without any unusual volume
USUAL = 20  # sessions whose median volume and range are the usual ones
TRADED_SHARE = 0.75  # of the usual days must have had a range and a volume, or there is no usual


def jumps(bars: pd.DataFrame) -> list[Finding]:
    """Absurd moves and half-applied splits (refused), level shifts and large moves (kept).

    Args:
        bars: columns of BAR_COLUMNS, ascending, prices positive.
    """
    moves = log_moves(bars)
    if refused := _impossible(bars, moves):
        return refused
    shifted = _level_shifts(bars, moves)
    large = (np.abs(moves) > NOTABLE) & ~shifted
    ratios = _split_ratios(bars, moves)
    found = []
    for row in np.flatnonzero(shifted | large).tolist():
        text = f"{_told(bars, row)}{_split_words(ratios[row])}"
        if shifted[row]:
            text += ", overnight and before an ordinary day: like a wrong adjustment"
        code = "level_shift" if shifted[row] else "large_move"
        found.append(_finding(bars, row, code, "kept", text))
    return found


def log_moves(bars: pd.DataFrame) -> FloatArray:
    """(n,) natural-log change of Close since the bar before; 0 for the first."""
    logs = np.log(bars["Close"].to_numpy())
    return np.diff(logs, prepend=logs[0])


def _impossible(bars: pd.DataFrame, moves: FloatArray) -> list[Finding]:
    """Moves beyond a factor of ten, else splits that are undone soon after."""
    days, found = bars["Date"], []
    for row in np.flatnonzero(np.abs(moves) > ABSURD).tolist():
        text = (
            f"{_told(bars, row)}, beyond a factor of ten in one day; a split is missing or applied "
            "twice, or the unit changes"
        )
        found.append(_finding(bars, row, "absurd_move", "refused", text))
    if found:
        return found
    ratios = _split_ratios(bars, moves)
    rows = np.flatnonzero(ratios).tolist()
    for row, later in itertools.pairwise(rows):
        if later - row <= UNDONE_WITHIN and np.isclose(ratios[row], -ratios[later]):
            text = (
                f"{_told(bars, row)}, undone on {days[later]:%Y-%m-%d}; a split is applied to some "
                "rows and not to others"
            )
            found.append(_finding(bars, row, "mixed_split", "refused", text))
    return found


def _split_ratios(bars: pd.DataFrame, moves: FloatArray) -> FloatArray:
    """(n,) log of the split a bar looks like, 0 for none.

    A split shows at the open and stays through the close. Where few different prices were
    traded it may be a tick: penny stocks of the 1980s moved between two, a factor of two apart.
    """
    gap = _gaps(bars)
    logs = np.log(np.array([*SPLITS, *(1 / ratio for ratio in SPLITS)]))
    ratios = np.zeros(len(bars))
    rows = np.flatnonzero(np.abs(moves) > np.log(2) - SPLIT_FIT)
    if not len(rows):
        return ratios
    nearest = logs[np.abs(moves[rows, None] - logs).argmin(axis=1)]
    far = np.maximum(np.abs(moves[rows] - nearest), np.abs(gap[rows] - nearest))
    fits = (far < SPLIT_FIT) & _priced_finely(bars, rows)
    ratios[rows[fits]] = nearest[fits]
    return ratios


def _priced_finely(bars: pd.DataFrame, rows: Ints) -> Mask:
    """Whether the 20 closes up to each of `rows` took at least 10 different prices."""
    close = bars["Close"].to_numpy()
    return np.array([len(np.unique(close[max(0, row - 19) : row + 1])) >= 10 for row in rows])


def _level_shifts(bars: pd.DataFrame, moves: FloatArray) -> Mask:
    """(n,) moves that were all there at the open of an ordinary day, in a share that trades."""
    rows = np.flatnonzero(np.abs(moves) > SHIFT)
    shifted = np.zeros(len(bars), dtype=bool)
    if not len(rows):
        return shifted
    high, low, volume = (bars[name].to_numpy(dtype=float) for name in ("High", "Low", "Volume"))
    overnight = _gaps(bars)[rows] / moves[rows]
    narrow = np.log(high[rows] / low[rows]) / np.abs(moves[rows])
    usual = [_usual_volume(high, low, volume, row) for row in rows.tolist()]
    loud = volume[rows] / np.array(usual)
    ordinary = ((narrow <= NARROW) & (loud <= LOUD)) | ((narrow <= QUIET_NARROW) & (loud <= QUIET))
    week = (bars["Date"].diff() <= pd.Timedelta(days=7)).to_numpy()  # a halt explains a shift
    shifted[rows] = (overnight >= OVERNIGHT) & ordinary & week[rows]
    return shifted


def _usual_volume(high: FloatArray, low: FloatArray, volume: FloatArray, row: int) -> float:
    """Median of the USUAL sessions before; NaN where it hardly traded, or had no past."""
    before = slice(max(0, row - USUAL), row)
    traded = (high[before] > low[before]) & (volume[before] > 0)
    if len(traded) < USUAL or traded.mean() < TRADED_SHARE:
        return float("nan")
    return float(np.median(volume[before]))


def _gaps(bars: pd.DataFrame) -> FloatArray:
    """(n,) natural-log change from the close before to Open."""
    close = np.log(bars["Close"].to_numpy())
    return np.asarray(np.log(bars["Open"].to_numpy()) - np.concatenate([close[:1], close[:-1]]))


def _finding(bars: pd.DataFrame, row: int, code: str, action: Action, text: str) -> Finding:
    return Finding(code=code, date=bars["Date"][row].date(), action=action, text=text)


def _split_words(ratio: float) -> str:
    """How a move near a split is told; nothing for any other."""
    if not ratio:
        return ""
    new, old = (1, round(np.exp(ratio))) if ratio > 0 else (round(np.exp(-ratio)), 1)
    return f" (near a split of {new} for {old})"


def _told(bars: pd.DataFrame, row: int) -> str:
    """The closes on both sides of a move."""
    before, after = bars["Close"][row - 1], bars["Close"][row]
    return f"{bars['Date'][row]:%Y-%m-%d} Close {before:.6g} to {after:.6g}"
