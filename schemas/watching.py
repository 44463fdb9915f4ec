"""What watching a served model found."""

from __future__ import annotations

from datetime import date, datetime
from typing import Self

from pydantic import (
    Field,
)

from contracts import (
    DriftVerdict,
    Source,
)
from schemas.common import Out, Score


class FeatureDriftOut(Out):
    """How far one daily feature has moved from the champion's training sample."""

    feature: str
    method: str
    distance: Score
    threshold: Score
    drifted: bool


class DriftOut(Out):
    """The latest drift check of one ticker."""

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

    @classmethod
    def of(cls, verdict: DriftVerdict) -> Self:
        """The answer about one check."""
        return cls.model_validate(verdict)
