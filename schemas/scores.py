"""The body of `/scores`: how a model and its baselines did at past origins."""

from __future__ import annotations

from datetime import date
from typing import Self

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from contracts import Verdict, WalkForward
from schemas.common import Out, Score
from schemas.forecasts import EXAMPLE, DataOut


class StepScoreOut(Out):
    """One model's scores at one number of sessions ahead."""

    model: str = Field(description="`lstm` is the champion; the others are baselines")
    step: int = Field(description="Exchange sessions ahead")
    rmse: float = Field(description="In the listing currency")
    mae: float = Field(description="In the listing currency")
    direction_accuracy: Score = Field(
        description="Share of moves on the right side of the last known mid; null where the model "
        "never names a side"
    )
    crps: float = Field(description="Mean over origins, in the listing currency")
    coverage_80: float = Field(description="Share of outcomes inside the 80 % band")
    coverage_95: float = Field(description="Share of outcomes inside the 95 % band")
    rmse_ratio: float = Field(description="Over the baseline's; below 1 is better")
    p_value: float = Field(description="Two-sided Diebold-Mariano test on squared errors")
    verdict: Verdict | None = Field(description="Of the points; null for the baseline itself")
    crps_ratio: float = Field(description="Over the baseline's, relative to the price")
    crps_p_value: float = Field(description="Two-sided, of that ratio")
    crps_verdict: Verdict | None = Field(description="Of the bands; null for the baseline itself")


class ReliabilityOut(Out):
    """How often outcomes lay below the champion's quantiles at one step; equal is perfect."""

    step: int = Field(description="Exchange sessions ahead")
    nominal: list[float] = Field(description="Levels of the quantiles, ascending, 0 to 1")
    observed: list[float] = Field(description="Share of outcomes at or below each")


_STEP: JsonDict = {
    "model": "lstm",
    "step": 1,
    "rmse": 2.63,
    "mae": 1.99,
    "direction_accuracy": 0.71,
    "crps": 1.44,
    "coverage_80": 0.79,
    "coverage_95": 0.94,
    "rmse_ratio": 1.002,
    "p_value": 0.61,
    "verdict": "no better than the last price",
    "crps_ratio": 0.978,
    "crps_p_value": 0.03,
    "crps_verdict": "better than the last price",
}


class ScoresOut(Out):
    """The walk-forward table of a ticker's champion: every model at the same held-out origins."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "ticker": "AAPL",
                "currency": "USD",
                "version": "3",
                "recipe": "panel",
                "baseline": "last_close",
                "first_origin": "2024-10-16",
                "last_origin": "2025-11-17",
                "origins": 272,
                "steps": [1],
                "scores": [_STEP],
                "reliability": [{"step": 1, "nominal": [0.1, 0.9], "observed": [0.11, 0.9]}],
                "data": EXAMPLE["data"],
            }
        }
    )

    ticker: str
    currency: str
    version: str = Field(description="Of the champion")
    recipe: str
    baseline: str = Field(description="That ratios, p-values and verdicts are against")
    first_origin: date = Field(description="First session forecasts were made at the end of")
    last_origin: date
    origins: int = Field(description="Every figure is over all of them, at every step")
    steps: list[int] = Field(description="Exchange sessions ahead")
    scores: list[StepScoreOut] = Field(description="By step, then model")
    reliability: list[ReliabilityOut] = Field(description="Of the champion, by step")
    data: DataOut

    @classmethod
    def of(cls, walk: WalkForward, facts: dict[str, object]) -> Self:
        """The table with what it is about: ticker, currency, version, recipe, data."""
        own = {name: getattr(walk, name) for name in walk.__dataclass_fields__}
        return cls.model_validate({**facts, **own})
