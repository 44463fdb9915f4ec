"""Bars that say the same as others: flat runs, sessions without volume, blocks copied elsewhere.

Frames in, findings and masks out. Knows no calendar and no source.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from contracts import Finding
from prices.findings import Ints, Mask, of_table, on_days

RUN = 5  # sessions with one and the same bar before it is worth a word
BLOCK = 3  # bars in a row that repeat earlier ones, volume included, before it is a copy


def copied(bars: pd.DataFrame) -> Mask:
    """(n,) bars of a block that repeats an earlier one price by price and share by share.

    Bars without volume, or with High equal to Low, are no evidence: quiet sessions look alike.

    Args:
        bars: columns of BAR_COLUMNS, ascending.
    """
    columns = ["Open", "High", "Low", "Close", "Volume"]
    twice = bars.duplicated(columns, keep=False).to_numpy()
    busy = twice & ((bars["Volume"] > 0) & (bars["High"] > bars["Low"])).to_numpy()
    if busy.sum() < 2 * BLOCK:
        return np.zeros(len(bars), dtype=bool)
    codes = bars.groupby(columns, sort=False).ngroup()
    rows = np.arange(len(bars))
    distance = pd.Series(rows).groupby(codes).diff().fillna(0).to_numpy().astype(np.int64)
    distance = np.where(busy, distance, 0)
    begins = np.diff(distance, prepend=-1) != 0
    lengths = _run_lengths(begins)
    return np.asarray((distance > 1) & (lengths >= BLOCK))


def quiet_sessions(bars: pd.DataFrame) -> list[Finding]:
    """Flat runs, bars without volume and tables that hardly know a High and a Low.

    Args:
        bars: columns of BAR_COLUMNS, ascending.
    """
    return [*_flat_runs(bars), *_flat_bars(bars), *_without_volume(bars)]


def _flat_runs(bars: pd.DataFrame) -> list[Finding]:
    same = [bars[name].diff().eq(0).to_numpy() for name in ("Open", "High", "Low", "Close")]
    begins = ~np.logical_and.reduce(same)
    lengths = _run_lengths(begins)
    days, found = bars["Date"].to_numpy().astype("datetime64[D]"), []
    for row in np.flatnonzero(begins & (lengths >= RUN)):
        text = f"the same bar on {lengths[row]} sessions, through {days[row + lengths[row] - 1]}"
        found.append(Finding(code="flat_run", date=days[row].item(), action="kept", text=text))
    return found


def _flat_bars(bars: pd.DataFrame) -> list[Finding]:
    flat = int((bars["High"] == bars["Low"]).sum())
    if flat <= len(bars) / 2:
        return []
    text = f"{flat} of {len(bars)} bars have High equal to Low: the mid-price is the close there"
    return [of_table("no_range", "kept", text)]


def _without_volume(bars: pd.DataFrame) -> list[Finding]:
    silent = (bars["Volume"] == 0).to_numpy()
    if silent.all():
        return [of_table("no_volume", "kept", "no bar has a volume")]
    return on_days(bars["Date"], silent, "zero_volume", "kept", "nothing was traded")


def _run_lengths(begins: Mask) -> Ints:
    """(n,) length of the run each row belongs to, from where runs begin."""
    run = np.cumsum(begins) - 1
    return np.asarray(np.bincount(run)[run], dtype=np.int64)
