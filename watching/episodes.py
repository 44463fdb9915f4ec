"""When a feature that has moved is an alarm: enough sessions in a row, then a cool-down.

One rule for the sessions of a ticker and for thousands of drawn paths, so that the false-alarm
rate that is measured is that of the rule that is used.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from contracts import Severity
from watching.measures import FEED, run_lengths

CONSECUTIVE = 3  # sessions in a row beyond the threshold; a broken feed does not wait
COOL_DOWN = 21  # sessions, a month, before an alarm that stands is raised again
RANKS: tuple[Severity, ...] = ("none", "watch", "alarm", "critical")
ALARM, CRITICAL = RANKS.index("alarm"), RANKS.index("critical")

Ranks = npt.NDArray[np.integer]
Flags = npt.NDArray[np.bool_]


def ranks(moved: Mapping[str, Flags]) -> Ranks:
    """Severity of each session: from per feature (..., T) flags to (..., T) positions in RANKS."""
    shape = next(iter(moved.values())).shape
    rank = np.zeros(shape, dtype=int)
    for name, flags in moved.items():
        if name in FEED:
            rank = np.maximum(rank, CRITICAL * flags)
            continue
        enough = run_lengths(flags) >= CONSECUTIVE
        rank = np.maximum(rank, np.where(enough, ALARM, flags.astype(int)))
    return rank


def raised(rank: Ranks) -> Flags:
    """Which sessions raise a new alarm, (..., T) -> the same.

    An alarm is raised where none was within COOL_DOWN sessions, or only a lesser one.
    """
    new = np.zeros(rank.shape, dtype=bool)
    last_rank = np.zeros(rank.shape[:-1], dtype=int)
    since = np.zeros(rank.shape[:-1], dtype=int)
    for session in range(rank.shape[-1]):
        now = rank[..., session]
        since = since + 1
        last_rank = np.where(since >= COOL_DOWN, 0, last_rank)
        starts = (now >= ALARM) & (now > last_rank)
        new[..., session] = starts
        last_rank, since = np.where(starts, now, last_rank), np.where(starts, 0, since)
    return new
