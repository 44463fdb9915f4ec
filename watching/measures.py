"""Sessions as they are watched: moves in units of the volatility known before them, never prices.

Volatility clusters, so raw moves of a wild month differ from those of a calm year without anything
being wrong. Everything here is causal: nothing after a session touches its row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from contracts import FloatArray

RETURN, RANGE, GAP, VOLUME, TARGET = "return", "range", "gap", "volume", "target"
PREDICTION, ERROR_RATIO = "prediction", "rmse_ratio"
UNCHANGED, REPEATED, JUMP = "unchanged", "repeated", "jump"
OWN, BASELINE = "own_square", "baseline_square"

UNIT_SPAN, YEAR = 22, 250  # sessions of the volatility that is the unit, and of a year's
UNIT_FLOOR = 1e-4  # a price that never moves still has a unit: one basis point a day
ERROR_FLOOR = 1e-6  # of the price; a feed that stands still gives a huge ratio, not an infinite one
CLIP, VOLUME_CLIP = 6.0, 4.0  # one freak day must not decide about a month
JUMP_SESSIONS = 5  # how long a jump is remembered
PARKINSON = 4 * np.log(2)  # log(high/low)^2 over this is a day's variance (Parkinson 1980)


@dataclass(frozen=True, slots=True)
class Watched:
    """One thing that is watched, and how."""

    words: str
    window: int  # newest sessions compared with the reference
    weight: float = 1.0  # of the false alarms that all may raise together


# Ranges answer to volatility and get most of the false alarms; what moves in location, not in
# scale, needs a longer window. Chosen on the panel: benchmarks/drift.py, docs/DRIFT.md.
INPUTS = {
    RETURN: Watched("daily returns", 60),
    RANGE: Watched("daily ranges", 20, 3.0),
    GAP: Watched("overnight moves", 20),
    VOLUME: Watched("volume", 20),
    TARGET: Watched("moves from the last close", 60),
    PREDICTION: Watched("predicted moves", 60, 0.5),
}
MODEL = {
    ERROR_RATIO: Watched("error against the last close", 60),
}
FEED = {
    UNCHANGED: Watched("sessions without movement", 1),
    REPEATED: Watched("repeated bars", 1),
    JUMP: Watched("largest move", JUMP_SESSIONS),
}
ALL = INPUTS | MODEL | FEED
LONGEST = max(entry.window for entry in ALL.values())


def measures(days: pd.DataFrame) -> pd.DataFrame:
    """One row per session, from one of raw sessions.

    Args:
        days: `date return range last_close prediction actual`, and `gap volume` unless the bundle
            is too old to keep them; see `inference.one_step_table`. In time order.

    Returns:
        `date`; the columns of INPUTS that can be had; the two squared errors of the ratio of
        MODEL; the columns of FEED. The first rows lack a history behind their units.
    """
    spread = np.maximum(_column(days, "range"), UNIT_FLOOR)
    gap = _column(days, GAP) if GAP in days else np.zeros(len(days))
    unit = _known_before(spread**2 / PARKINSON + gap**2, UNIT_SPAN)
    year = _known_before(spread**2, YEAR)
    target, prediction = (
        np.log(_column(days, name) / _column(days, "last_close")) for name in ("actual", PREDICTION)
    )
    table = {
        "date": days["date"].to_numpy(),
        RETURN: _clipped(_column(days, "return") / unit),
        # half the level of the year before: neither a slow change of regime alone alarms, as it
        # would on the level, nor does a lasting one fade within months, as it would on the year's
        RANGE: np.log(spread) - 0.5 * np.log(year),
        TARGET: _clipped(target / unit),
        # without its mean of the year before: a network leans to one side for months on end
        PREDICTION: _clipped(prediction / unit - _mean_before(prediction / unit, YEAR)),
        OWN: (np.maximum(np.abs(prediction - target), ERROR_FLOOR) / unit) ** 2,
        BASELINE: (np.maximum(np.abs(target), ERROR_FLOOR) / unit) ** 2,
        **_feed(_column(days, "return"), _column(days, "range")),
    }
    if GAP in days:
        table[GAP] = _clipped(gap / unit)
    if VOLUME in days:
        table[VOLUME] = np.clip(_column(days, VOLUME), -VOLUME_CLIP, VOLUME_CLIP)
    return pd.DataFrame(table)


def _feed(moves: FloatArray, spread: FloatArray) -> dict[str, FloatArray]:
    """What only a broken feed does: runs of sessions that repeat the one before, and leaps."""
    still = moves == 0
    same = still & (np.diff(spread, prepend=np.nan) == 0)
    jump = pd.Series(np.abs(moves)).rolling(JUMP_SESSIONS, min_periods=1).max()
    return {UNCHANGED: run_lengths(still), REPEATED: run_lengths(same), JUMP: jump.to_numpy()}


def run_lengths(flags: np.ndarray) -> FloatArray:
    """How many in a row are true up to each position, along the last axis."""
    count = np.cumsum(flags, axis=-1)
    at_the_last_false = np.maximum.accumulate(np.where(flags, 0, count), axis=-1)
    return np.asarray(count - at_the_last_false, dtype=float)


def _column(days: pd.DataFrame, name: str) -> FloatArray:
    return days[name].to_numpy(dtype=float)


def _known_before(variance: FloatArray, span: int) -> FloatArray:
    """Volatility as of the session before each; the first row has to take its own."""
    return np.asarray(np.maximum(np.sqrt(_mean_before(variance, span)), UNIT_FLOOR))


def _mean_before(values: FloatArray, span: int) -> FloatArray:
    mean = pd.Series(values).ewm(span=span).mean().to_numpy()
    return np.concatenate([mean[:1], mean[:-1]])


def _clipped(values: FloatArray) -> FloatArray:
    return np.asarray(np.clip(values, -CLIP, CLIP))
