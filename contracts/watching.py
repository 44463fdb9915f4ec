"""What watching a served model finds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from contracts.prices import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How far one daily feature has moved from the champion's training sample."""

    feature: str
    method: str
    distance: float
    threshold: float
    drifted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftVerdict:
    """One drift check of one ticker."""

    ticker: str
    checked_at: datetime  # UTC
    as_of: date  # last session in the current sample
    alarm: bool
    summary: str  # one sentence in plain words
    features: tuple[FeatureDrift, ...]
    reference_rows: int
    current_rows: int
    rmse_ratio_reference: float  # one-step RMSE of the champion / last_close, held-out then
    rmse_ratio_current: float  # the same over the current sample
    model_version: str
    data_source: Source
    reports: tuple[str, ...]  # file names below the reports folder
