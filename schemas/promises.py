"""How served forecasts turned out."""

from __future__ import annotations

from datetime import date, datetime
from typing import Self

from pydantic import ConfigDict, Field

from contracts import Adjustment, Mode, Performance
from schemas.common import Out, Score


class LiveScoresOut(Out):
    """Errors over settled steps, in the currency of the ticker; null where nothing tells."""

    rmse: float = Field(description="In the currency of the ticker")
    mae: float = Field(description="In the currency of the ticker")
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

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "ticker": "AAPL",
                "currency": "USD",
                "promises": 41,
                "settled": 40,
                "waiting": 11,
                "unscaled": 0,
                "revised": 0,
                "through": "2025-12-31",
                "settled_at": "2026-01-01T06:00:00Z",
                "rows": [
                    {
                        "version": "3",
                        "mode": "direct",
                        "cold_start": False,
                        "synthetic": False,
                        "adjustment": "split",
                        "step": 1,
                        "n": 40,
                        "first": "2025-11-03",
                        "last": "2025-12-30",
                        "model": {
                            "rmse": 2.64,
                            "mae": 2.01,
                            "direction": 0.6,
                            "coverage_80": 0.8,
                            "coverage_95": 0.95,
                            "crps": 1.41,
                        },
                        "last_close": {
                            "rmse": 2.62,
                            "mae": 1.99,
                            "direction": 0.6,
                            "coverage_80": None,
                            "coverage_95": None,
                            "crps": 1.99,
                        },
                        "rmse_ratio": 1.008,
                        "crps_ratio": 0.71,
                        "p_value": 0.6,
                    }
                ],
            }
        }
    )

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
