"""What has moved, in words: numbers of then and now beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from contracts import FeatureDrift, FloatArray
from watching.measures import (
    ALL,
    ERROR_RATIO,
    FEED,
    JUMP,
    RANGE,
    REPEATED,
    UNCHANGED,
    UNIT_FLOOR,
    VOLUME,
)

Samples = tuple[pd.DataFrame, pd.DataFrame]  # measured sessions with `raw_range`, then and now


def reason(name: str, samples: Samples, distance: float, sessions: int) -> str:
    """One sentence without its full stop.

    Args:
        name: of a feature that is beyond its threshold.
        samples: the reference and the newest sessions, at least its window.
        distance: of the newest window.
        sessions: for how many in a row.
    """
    if name in FEED:
        return FEED_SENTENCES[name](distance)
    return f"{_sentence(name, samples, distance)} for {counted(sessions)}"


def counted(sessions: int) -> str:
    """`1 session`, `7 sessions`."""
    return f"{sessions} session{'' if sessions == 1 else 's'}"


FEED_SENTENCES: Mapping[str, Callable[[float], str]] = {
    UNCHANGED: lambda run: f"the feed stands still: no movement for {counted(int(run))}",
    REPEATED: lambda run: f"the feed is stuck: {counted(int(run))} repeat the bar before",
    JUMP: lambda move: (
        f"the price changed {np.exp(move):.0f}-fold between two sessions: a wrong unit, or a split "
        "that was not applied"
    ),
}


def _sentence(name: str, samples: Samples, distance: float) -> str:
    then, now = (rows.tail(ALL[name].window) if rows is samples[1] else rows for rows in samples)
    if name == ERROR_RATIO:
        return f"the error against the last close is {distance:.1f} times what it was held out"
    if name == RANGE:
        level, year = _range_ratios(then, now)
        return (
            f"daily ranges are {level:.1f} times those of training and {year:.1f} times those of "
            "the year before"
        )
    if name == VOLUME:
        usual = [float(np.exp(rows[name].mean())) for rows in (now, then)]
        return f"volume is {usual[0]:.1f} times the quarter's, where it was {usual[1]:.1f} times"
    return _moves(ALL[name].words, then[name].to_numpy(), now[name].to_numpy())


def _range_ratios(then: pd.DataFrame, now: pd.DataFrame) -> tuple[float, float]:
    """Mean range over that of training; and over the year before, where training had 1."""
    level = now["raw_range"].mean() / then["raw_range"].mean()
    logs = [np.log(np.maximum(rows["raw_range"], UNIT_FLOOR)) for rows in (then, now)]
    # the measure is the log less half that of the year: see `measures`
    years = [
        (log - 2 * (log - rows[RANGE])).mean() for log, rows in zip(logs, (then, now), strict=True)
    ]
    return float(level), float(np.exp(years[1] - years[0]))


def _moves(words: str, then: FloatArray, now: FloatArray) -> str:
    unit = max(float(np.std(then)), UNIT_FLOOR)
    shift = (float(np.mean(now)) - float(np.mean(then))) / unit
    size = max(float(np.std(now)), UNIT_FLOOR) / unit
    if abs(shift) >= abs(np.log(size)):
        side = "higher" if shift > 0 else "lower"
        return f"{words} are {abs(shift):.1f} of their usual size {side} than in the reference"
    return f"{words} are {size:.1f} times as large, for the volatility before them, as they were"


def summarise(
    severity: str, drift: Sequence[FeatureDrift], false_alarms: float, quarantined: str | None
) -> str:
    """What moved, if anything, and what an alarm is worth; before that, why newer bars were
    refused, if they were."""
    worth = f"Chance alone raises an alarm in {false_alarms:.1%} of months."
    heads = {
        "none": "No drift: the newest sessions look like those of training",
        "watch": "Watch, not yet an alarm: ",
        "alarm": "Drift: ",
        "critical": "Broken feed: ",
    }
    text = "; ".join(row.reason for row in drift if row.drifted)
    told = f"{heads[severity]}{text}. {worth}"
    if quarantined is None:
        return told
    return f"Feed quarantined: newer bars were refused ({quarantined}), these are old ones. {told}"
