"""What watching a served model found."""

from __future__ import annotations

from datetime import date, datetime
from typing import Self

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from contracts import (
    DriftVerdict,
    Severity,
    Source,
)
from schemas.common import Out, Score


class FeatureDriftOut(Out):
    """How far one daily feature has moved from the champion's training sample."""

    feature: str
    method: str
    distance: Score
    threshold: Score
    drifted: bool = Field(description="Beyond the threshold as of this session")
    consecutive: int = Field(default=0, description="Sessions in a row that it has been so")
    reason: str = Field(default="", description="What moved and by how much, in words")


class CheckedSessionOut(Out):
    """What the check says as of one past session."""

    session: date
    severity: Severity
    strain: Score = Field(description="The largest distance in units of its threshold")
    raised: bool = Field(default=False, description="A new alarm")


DRIFT_EXAMPLE: JsonDict = {
    "ticker": "AAPL",
    "checked_at": "2026-01-18T06:00:00Z",
    "as_of": "2025-12-31",
    "alarm": True,
    "summary": "The daily range of AAPL has widened since training; the returns have not.",
    "features": [
        {
            "feature": "range",
            "method": "ks",
            "distance": 0.34,
            "threshold": 0.21,
            "drifted": True,
            "consecutive": 5,
            "reason": "the daily range is 1.4 times as wide as in training",
        }
    ],
    "reference_rows": 1068,
    "current_rows": 60,
    "rmse_ratio_reference": 1.002,
    "rmse_ratio_current": 1.01,
    "model_version": "3",
    "data_source": "file",
    "reports": ["AAPL_data_drift.html"],
    "severity": "alarm",
    "consecutive": 5,
    "reasons": ["the daily range is 1.4 times as wide as in training"],
    "episode": "2025-12-24",
    "cooled_down": False,
    "false_alarms_per_month": 0.03,
    "history": [
        {"session": "2025-12-31", "severity": "alarm", "strain": 1.62, "raised": False},
    ],
}


class DriftOut(Out):
    """The latest drift check of one ticker."""

    model_config = ConfigDict(json_schema_extra={"example": DRIFT_EXAMPLE})

    ticker: str
    checked_at: datetime = Field(description="UTC")
    as_of: date = Field(description="Last session in the current sample")
    alarm: bool
    summary: str
    features: list[FeatureDriftOut]
    reference_rows: int
    current_rows: int
    rmse_ratio_reference: Score = Field(
        description="One-step RMSE of the model over that of repeating the last close, at training"
    )
    rmse_ratio_current: Score = Field(description="The same over the current sample")
    model_version: str
    data_source: Source
    reports: list[str]
    severity: Severity = Field(
        default="none",
        description="`watch`: moved, not yet for enough sessions; `critical`: the feed is broken",
    )
    consecutive: int = Field(default=0, description="Sessions in a row that something has moved")
    reasons: list[str] = []
    episode: date | None = Field(default=None, description="Session that opened the alarm")
    cooled_down: bool = Field(default=False, description="The alarm was raised before, not now")
    false_alarms_per_month: Score = Field(
        default=None, description="Share of 21-session months with a false alarm, by bootstrap"
    )
    history: list[CheckedSessionOut] = Field(default=[], description="Oldest first")
    alerted: bool = Field(default=False, description="The webhook was told")

    @classmethod
    def of(cls, verdict: DriftVerdict) -> Self:
        """The answer about one check."""
        return cls.model_validate(verdict)
