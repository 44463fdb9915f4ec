"""What one check compares: sessions as the champion's bundle keeps them, and the newest ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from contracts import NotEnoughHistory, Span
from watching.calibration import WARM_UP, References
from watching.measures import ALL, GAP, INPUTS, LONGEST, MODEL, VOLUME, measures
from watching.reasons import reason
from watching.replays import Replay

OPTIONAL = (GAP, VOLUME)  # bundles of the first version keep neither


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Measured sessions in time order, each with the columns of its raw day beside it."""

    training: pd.DataFrame  # the champion's own training sessions
    held_out: pd.DataFrame  # its test sessions
    days: pd.DataFrame  # those checked, and LONGEST - 1 before the first of them

    @property
    def recent(self) -> pd.DataFrame:
        """The newest window, the longest of them."""
        return self.days.tail(LONGEST)

    @property
    def former(self) -> pd.DataFrame:
        """Held-out sessions to draw recent ones against: those that are not recent themselves,
        unless hardly any are left."""
        before = self.held_out[self.held_out["date"] < self.recent["date"].iloc[0]]
        return before if len(before) >= LONGEST else self.held_out

    @property
    def references(self) -> References:
        """What thresholds come from; it stays the same from day to day."""
        return References(self.training, self.held_out)


def samples_of(kept: pd.DataFrame, now: pd.DataFrame, spans: tuple[Span, Span]) -> Samples:
    """Cut the samples of one check.

    Args:
        kept: the bundle's raw sessions, see `inference.one_step_table`.
        now: the same as today's prices and the champion give them.
        spans: the champion's training and test sessions. Every session after training is checked,
            so that an alarm has the same first day whenever it is looked at.

    Raises:
        NotEnoughHistory: no session after training, or fewer than the longest window.
    """
    train, test = spans
    now = now.drop(columns=[name for name in OPTIONAL if name not in kept])
    then, days = _measured(kept), _measured(now)
    first = max(int((days["date"] <= pd.Timestamp(train.last)).sum()), LONGEST - 1)
    if first >= len(days):
        raise NotEnoughHistory(have=len(days), need=LONGEST, what="sessions of forecasts")
    training = _within(then, train)
    return Samples(
        training=training[min(WARM_UP, len(training) // 5) :].reset_index(drop=True),
        held_out=_within(then, test),
        days=days[first - LONGEST + 1 :].reset_index(drop=True),
    )


def page_of(samples: Samples) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reference and recent rows for a picture: of each feature its own window, NaN before it."""
    names = [name for name in INPUTS if name in samples.training]
    recent = samples.recent[names].reset_index(drop=True)
    for name in names:
        recent.loc[: LONGEST - ALL[name].window - 1, name] = np.nan
    return samples.training[names], recent


def reasons_of(samples: Samples, replay: Replay) -> dict[str, str]:
    """A sentence for every feature that is beyond its threshold now."""
    found = {}
    for name, sessions in replay.consecutive.items():
        then = samples.held_out if name in MODEL else samples.training
        if sessions:
            now = float(replay.distances[name][-1])
            found[name] = reason(name, (then, samples.recent), now, sessions)
    return found


def _measured(days: pd.DataFrame) -> pd.DataFrame:
    raw = days[["range", "last_mid", "last_close", "actual", "prediction"]].add_prefix("raw_")
    return measures(days).join(raw.reset_index(drop=True))


def _within(rows: pd.DataFrame, span: Span) -> pd.DataFrame:
    inside = rows["date"].between(pd.Timestamp(span.first), pd.Timestamp(span.last))
    return rows[inside].reset_index(drop=True)
