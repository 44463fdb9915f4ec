"""The procedure over a ticker's own sessions: what it says as of each, all later bars left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from contracts import CheckedSession, FeatureDrift, FloatArray, Severity
from watching.calibration import References
from watching.distances import distances, ratios
from watching.episodes import ALARM, RANKS, Flags, Ranks, raised, ranks
from watching.measures import (
    ALL,
    BASELINE,
    ERROR_RATIO,
    FEED,
    LONGEST,
    MODEL,
    OWN,
    REPEATED,
    UNCHANGED,
    run_lengths,
)

METHOD = "wasserstein"  # Evidently's name for `distances.distance`
METHODS = {
    ERROR_RATIO: "RMSE over the last close's, now over then",
    UNCHANGED: "longest run of equal mid-prices",
    REPEATED: "longest run of equal bars",
}


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """T sessions, oldest first; every array has one entry per session."""

    dates: tuple[date, ...]
    distances: Mapping[str, FloatArray]
    limits: Mapping[str, float]
    rank: Ranks
    raised: Flags

    @property
    def severity(self) -> Severity:
        """Of the newest session."""
        return RANKS[int(self.rank[-1])]

    @property
    def episode(self) -> date | None:
        """The session that raised the alarm which stands, None where none does."""
        if self.rank[-1] < ALARM:
            return None
        return self.dates[int(np.flatnonzero(self.raised)[-1])]

    @property
    def told_before(self) -> bool:
        """An alarm stands that an earlier session raised."""
        return self.episode not in (None, self.dates[-1])

    @property
    def consecutive(self) -> Mapping[str, int]:
        """Sessions in a row, up to the newest, that each feature has been beyond its limit."""
        return {
            name: int(run_lengths(values > self.limits[name])[-1])
            for name, values in self.distances.items()
        }

    def features(self, reasons: Mapping[str, str]) -> tuple[FeatureDrift, ...]:
        """The newest session, feature by feature; `reasons` has sentences for what moved."""
        runs = self.consecutive
        return tuple(
            FeatureDrift(
                feature=name,
                method=METHODS.get(name, METHOD if name not in FEED else "largest |log change|"),
                distance=float(values[-1]),
                threshold=self.limits[name],
                drifted=runs[name] > 0,
                consecutive=runs[name],
                reason=reasons.get(name, ""),
            )
            for name, values in self.distances.items()
        )

    def history(self, sessions: int) -> tuple[CheckedSession, ...]:
        """The newest of them, oldest first."""
        strain = np.max([self._strain(name) for name in self.distances], axis=0)
        return tuple(
            CheckedSession(
                session=self.dates[at],
                severity=RANKS[int(self.rank[at])],
                strain=float(strain[at]),
                raised=bool(self.raised[at]),
            )
            for at in range(max(0, len(self.dates) - sessions), len(self.dates))
        )

    def _strain(self, name: str) -> FloatArray:
        """The distance in units of its limit; a ratio of errors starts at one, not at zero."""
        start = 1.0 if name == ERROR_RATIO else 0.0
        room = max(self.limits[name] - start, 1e-6)
        return np.asarray(np.maximum(self.distances[name] - start, 0.0) / room)


def replay(references: References, days: pd.DataFrame, limits: Mapping[str, float]) -> Replay:
    """Run the procedure over the sessions from the LONGEST-th of `days` on.

    Args:
        references: what the windows are compared with.
        days: measured sessions in time order, LONGEST of them at least.
        limits: thresholds by feature; a feature without one is not watched.
    """
    found = {name: _distances(name, references, days) for name in ALL if name in limits}
    rank = ranks({name: values > limits[name] for name, values in found.items()})
    dates = tuple(pd.Timestamp(day).date() for day in days["date"][LONGEST - 1 :])
    return Replay(dates, found, limits, rank, raised(rank))


def _distances(name: str, references: References, days: pd.DataFrame) -> FloatArray:
    if name in FEED:
        return days[name].to_numpy()[LONGEST - 1 :]
    window = ALL[name].window
    recent = days[LONGEST - window :]
    if name == ERROR_RATIO:
        then = np.sqrt(references.unseen[OWN].sum() / references.unseen[BASELINE].sum())
        return ratios(recent[OWN].to_numpy(), recent[BASELINE].to_numpy(), float(then), window)
    return distances(recent[name].to_numpy(), reference_of(name, references), window)


def reference_of(name: str, references: References) -> FloatArray:
    """The sample that a feature's window is compared with."""
    rows = references.unseen if name in MODEL else references.training
    return rows[name].to_numpy()
