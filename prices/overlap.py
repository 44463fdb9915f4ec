"""What became of past bars: the end of a cache against the same sessions as a source has them.

Frames in, a word out. Knows neither files nor sources; both frames must be adjusted alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

Change = Literal["none", "late_volume", "split", "dividend", "correction"]

SESSIONS = 10  # of a cache's end that are asked for again: two weeks of corrections
# Relative. Yahoo keeps prices in 32 bits (6e-8); the smallest dividends of large companies move
# Adj Close by 8e-5.
TOLERANCE = 5e-6
PRICES = ["Open", "High", "Low", "Close"]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """How the past differs: `ratio` is new price / cached price, 1 where it is not one number."""

    change: Change
    ratio: float = 1.0
    sessions: int = 0  # sessions compared


def compare(cached: pd.DataFrame, fetched: pd.DataFrame) -> Rewrite:
    """How `fetched` tells the last SESSIONS of `cached`.

    A split divides every price by one number; a dividend scales Adj Close alone; the volume of the
    very newest cached session grows when late trades are counted; all else is a correction.

    Args:
        cached: columns of BAR_COLUMNS, ascending, at least one row.
        fetched: the same columns, ascending.
    """
    old = cached.tail(SESSIONS).reset_index(drop=True)
    both = fetched["Date"].between(old["Date"].iloc[0], old["Date"].iloc[-1])
    new, sessions = fetched[both].reset_index(drop=True), len(old)
    if not old["Date"].equals(new["Date"]):
        return Rewrite("correction", sessions=sessions)
    ratios = new[PRICES].to_numpy() / old[PRICES].to_numpy()
    ratio = float(np.median(ratios))
    if not np.allclose(ratios, ratio, rtol=TOLERANCE, atol=0):
        return Rewrite("correction", sessions=sessions)
    if abs(ratio - 1) > TOLERANCE:
        return Rewrite("split", ratio, sessions)
    adjusted = new["Adj Close"].to_numpy() / old["Adj Close"].to_numpy()
    if not np.allclose(adjusted, 1, rtol=TOLERANCE, atol=0):
        return Rewrite("dividend", float(np.median(adjusted)), sessions)
    counted = (new["Volume"] != old["Volume"]).to_numpy()
    if counted[:-1].any():
        return Rewrite("correction", sessions=sessions)
    return Rewrite("late_volume" if counted[-1] else "none", sessions=sessions)


def is_continued(rewrite: Rewrite) -> bool:
    """Whether newer bars may be put behind the cached ones."""
    return rewrite.change in ("none", "late_volume")
