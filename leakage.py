"""Whether a model could have known what had not happened yet: tables compared bit by bit.

Whoever calls gives what was seen with the whole history and what was seen with it cut off; every
row carries the day it is known from. Knows neither prices nor how a table is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A table in time order."""

    known: np.ndarray  # (n,) datetime64: the day whose evening the row may be known from
    values: np.ndarray  # (n, ...) numbers of any shape

    def by(self, day: date) -> Rows:
        """The rows known on the evening of `day`."""
        early = self.known <= np.datetime64(day)
        return Rows(self.known[early], self.values[early])


Seen = Mapping[str, Rows]  # everything a model is shown, by a name for people


def first_leak(whole: Seen, cut: Seen, day: date) -> str | None:
    """The first table that is another once nothing after `day` exists, in words; None if none is.

    Args:
        whole: seen with the whole history.
        cut: seen with every bar after `day` taken away.
        day: the last day of `cut`.
    """
    for name in whole:
        before, after = whole[name].by(day), cut[name]
        if before.values.shape != after.values.shape or (before.known != after.known).any():
            return (
                f"{name}: {len(before.known)} rows are known by {day} with the later bars, "
                f"{len(after.known)} without them"
            )
        other = _differing(before.values, after.values)
        if other.any():
            row = np.datetime64(before.known[int(np.argmax(other))], "D")
            return f"{name} of {row}: {other.sum()} rows change once the bars after {day} are gone"
    return None


def _differing(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n,) whether two rows differ in any bit: NaN equals itself, 0.0 does not equal -0.0."""
    if not len(one) or one.dtype != other.dtype:
        return np.full(len(one), one.dtype != other.dtype)
    left, right = (
        np.ascontiguousarray(side).reshape(len(side), -1).view(np.uint8) for side in (one, other)
    )
    return np.asarray((left != right).any(axis=1))
