"""What watching a served model finds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from contracts.prices import Source

# `watch`: beyond a threshold, not yet for enough sessions. `critical`: the feed itself is broken.
Severity = Literal["none", "watch", "alarm", "critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How far one daily feature has moved from the champion's training sample."""

    feature: str
    method: str
    distance: float
    threshold: float
    drifted: bool  # beyond the threshold as of this session, whatever the sessions before say
    consecutive: int = 0  # sessions in a row that it has been so, this one included
    reason: str = ""  # where it moved, what moved and by how much, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSession:
    """What the check says as of one past session, all later bars left out."""

    session: date
    severity: Severity
    strain: float  # the largest distance in units of its threshold; above 1 something has moved
    raised: bool = False  # a new alarm, which opens an episode


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftVerdict:
    """One drift check of one ticker.

    What has a default was not known to the first version, whose verdicts are still read.
    """

    ticker: str
    checked_at: datetime  # UTC
    as_of: date  # last session in the current sample
    alarm: bool  # severity is `alarm` or `critical`
    summary: str  # in plain words
    features: tuple[FeatureDrift, ...]
    reference_rows: int
    current_rows: int
    rmse_ratio_reference: float  # one-step RMSE of the champion / last_close, held-out then
    rmse_ratio_current: float  # the same over the current sample
    model_version: str
    data_source: Source
    reports: tuple[str, ...]  # file names below the reports folder
    severity: Severity = "none"
    consecutive: int = 0  # sessions in a row that some feature has moved, the longest of them
    reasons: tuple[str, ...] = ()  # a sentence for whatever moved
    episode: date | None = None  # the session that opened the alarm which stands
    cooled_down: bool = False  # that session is past: the alarm was raised before, not now
    false_alarms_per_month: float | None = None  # share of 21-session months, by the bootstrap
    history: tuple[CheckedSession, ...] = ()  # the newest sessions replayed, oldest first
    alerted: bool = False  # the webhook took it: an episode is told once per severity

    def __post_init__(self) -> None:
        if self.alarm and self.severity in ("none", "watch"):  # of the first version
            object.__setattr__(self, "severity", "alarm")


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeRow:
    """What a dashboard of the service's own health shows of one ticker."""

    model_age_days: int  # since the last session the model has seen
    data_age_sessions: int  # ended since the last bar
    drift_alarm: bool | None  # of the newest check; None where there was none
