"""When a ticker is to be trained again, and why, in words. Facts in, a reason out.

Reads no clock and keeps no state: a reason says what it is about (an alarm's first session, a
version, a month), and a reason that a training has already answered is not given twice.
Knows neither where facts come from nor who trains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from contracts import DriftVerdict, ModelCard, Performance, PerformanceRow

SIGNIFICANCE = 0.01  # of the live comparison, which is made every session: 5 % would come by chance
REST_DAYS = 30  # a younger champion has learnt what there was: an alarm outlives the training
NO_CHAMPION = "no champion for these prices"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What calls for a training."""

    after_days: int  # of age of the newest session the champion has seen; 0 for never
    least_settled: int  # one-step forecasts that must have come due before they are judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of one ticker after a session."""

    as_of: date
    version: str | None  # of the champion; None where none fits the prices
    card: ModelCard | None
    verdict: DriftVerdict | None
    performance: Performance
    answered: tuple[str, ...]  # reasons of trainings that have been finished


def reason_to_train(standing: Standing, policy: Policy) -> str | None:
    """The first reason that no training has answered yet; None where there is none.

    The lack of a champion is a reason for as long as it lasts.
    """
    if standing.version is None or standing.card is None:
        return NO_CHAMPION
    found = _reasons(standing, standing.version, standing.card, policy)
    return next((reason for reason in found if reason not in standing.answered), None)


def _reasons(standing: Standing, version: str, card: ModelCard, policy: Policy) -> Iterator[str]:
    age = (standing.as_of - card.trained_through).days
    verdict = standing.verdict
    if age >= REST_DAYS and verdict and verdict.alarm and verdict.model_version == version:
        yield f"drift alarm of {verdict.episode or verdict.as_of}"
    if age >= REST_DAYS and (behind := _behind(standing, version, policy.least_settled)):
        month = f"{standing.as_of:%Y-%m}"
        yield f"version {version} is significantly behind the last close, seen in {month}: {behind}"
    if policy.after_days and age >= policy.after_days:
        limit = age // policy.after_days * policy.after_days
        yield f"version {version} has seen nothing for {limit} days, after {card.trained_through}"


def _behind(standing: Standing, version: str, least: int) -> str | None:
    """Where the champion's live one-step errors are significantly larger than the last close's."""
    rows = [row for row in standing.performance.rows if _judged(row, version)]
    for row in rows:
        worse = row.rmse_ratio is not None and row.rmse_ratio > 1
        if row.n >= least and worse and row.p_value < SIGNIFICANCE:
            return f"one step ahead, {row.mode}"
    return None


def _judged(row: PerformanceRow, version: str) -> bool:
    return row.version == version and row.step == 1 and not row.synthetic and not row.cold_start
