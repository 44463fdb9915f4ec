"""How a model and its baselines did at past origins, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from contracts.forecasts import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScore:
    """One model's scores at one number of sessions ahead; prices in the listing currency."""

    model: str  # `lstm`, `last_close`, `last_mid`, `arima`
    step: int  # exchange sessions ahead
    rmse: float
    mae: float
    direction_accuracy: float | None  # from the last known mid; None where it names no side
    crps: float
    coverage_80: float  # share of outcomes inside the 80 % band
    coverage_95: float
    rmse_ratio: float  # own / last_close's; below 1 is better
    p_value: float  # two-sided Diebold-Mariano on squared errors, overlapping steps allowed for
    verdict: Verdict | None  # None for the baseline itself
    crps_ratio: float
    crps_p_value: float
    crps_verdict: Verdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How often outcomes really lay below the quantiles of the model at one step."""

    step: int
    nominal: tuple[float, ...]  # levels of the quantiles, ascending, between 0 and 1
    observed: tuple[float, ...]  # share of outcomes at or below each


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkForward:
    """Every model at the same held-out origins, bands made of what was known at each."""

    baseline: str
    first_origin: date
    last_origin: date
    origins: int
    steps: tuple[int, ...]
    scores: tuple[StepScore, ...]  # by step, then model
    reliability: tuple[Reliability, ...]  # of the model `lstm`, one per step

    def __post_init__(self) -> None:
        if {row.step for row in self.scores} != set(self.steps):
            raise ValueError("a walk needs scores at each of its steps and no other")
