"""How served forecasts turned out."""

from __future__ import annotations

from datetime import date, datetime
from typing import Self

from pydantic import Field

from contracts import Adjustment, Mode, Performance
from schemas.common import Out, Score


class LiveScoresOut(Out):
    """Errors over settled steps, in the currency of the ticker; null where nothing tells."""

    rmse: float
    mae: float
    direction: Score = Field(description="Share of moves on the right side of the last known mid")
    coverage_80: Score = Field(description="Share of outcomes inside the 80 % band")
    coverage_95: Score = Field(description="Share of outcomes inside the 95 % band")
    crps: Score = Field(
        description="Weighted interval score of the point and both bands, the CRPS of five "
        "quantiles; without bands the mean absolute error"
    )


class PerformanceRowOut(Out):
    """One model's settled forecasts of one step, beside repeating the last close."""

    version: str
    mode: Mode
    cold_start: bool
    synthetic: bool = Field(description="Made of invented prices; says nothing of a market")
    adjustment: Adjustment
    step: int | None = Field(description="Exchange sessions ahead; null for all together")
    n: int = Field(description="Settled steps")
    first: date = Field(description="Earliest origin")
    last: date = Field(description="Latest origin")
    model: LiveScoresOut
    last_close: LiveScoresOut
    rmse_ratio: Score = Field(description="Model over last close; below 1 is better")
    crps_ratio: Score = Field(description="The same of crps; the last close has no bands")
    p_value: float = Field(description="Two-sided Diebold-Mariano test on squared errors")


class PerformanceOut(Out):
    """How the served forecasts of one ticker turned out, on the present scale of its prices."""

    ticker: str
    currency: str | None
    promises: int = Field(description="Distinct forecasts served")
    settled: int = Field(description="Promised steps whose outcome is known")
    waiting: int = Field(description="Promised steps without one")
    unscaled: int = Field(description="Settled steps whose origin's prices have changed too much")
    revised: int = Field(description="Sessions whose price changed after it was first known")
    through: date | None = Field(description="Last session with a known outcome")
    settled_at: datetime | None = Field(description="UTC")
    rows: list[PerformanceRowOut]

    @classmethod
    def of(cls, performance: Performance) -> Self:
        """The answer about one ticker."""
        return cls.model_validate(performance)
