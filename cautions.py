"""When an answer should not be relied on: the model's age, the prices' age, an unusual input.

Facts and limits in, reasons out. Knows no clock, no model and no price.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from contracts import Caution, ModelIdentity, Provenance
from novelty import Distance


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is still taken as it is."""

    model_days: int  # since the last session that touched the model
    sessions_behind: int  # ended since the last bar


def cautions(
    model: ModelIdentity, data: Provenance, today: date, novelty: Distance | None, limits: Limits
) -> tuple[Caution, ...]:
    """Every reason there is, in a fixed order; none for an answer as it should be.

    Args:
        model: which answers.
        data: where its prices come from.
        today: the last session that has ended.
        novelty: how far its newest input lies from those in training; None where unknown.
        limits: what is still taken.
    """
    age = (today - model.trained_through).days
    found: list[Caution | None] = [
        _too_old(age, model, limits) if age > limits.model_days else None,
        _stale(data, limits) if data.sessions_behind > limits.sessions_behind else None,
        _outside(novelty) if novelty and novelty.outside else None,
        _synthetic() if data.source == "synthetic" else None,
    ]
    return tuple(caution for caution in found if caution)


def _too_old(age: int, model: ModelIdentity, limits: Limits) -> Caution:
    text = (
        f"the model has seen nothing since {model.trained_through}, {age} days ago; "
        f"{limits.model_days} are allowed"
    )
    return Caution(code="model_too_old", detail=text)


def _stale(data: Provenance, limits: Limits) -> Caution:
    text = (
        f"{data.sessions_behind} sessions have ended since the last price, {data.last_session}; "
        f"{limits.sessions_behind} are allowed"
    )
    return Caution(code="prices_stale", detail=text)


def _outside(novelty: Distance) -> Caution:
    text = (
        f"the newest session lies {novelty.value:.1f} from those the model was fitted on "
        f"(Mahalanobis distance); it knows next to nothing beyond {novelty.threshold:.1f}"
    )
    return Caution(code="outside_training", detail=text)


def _synthetic() -> Caution:
    return Caution(code="synthetic_prices", detail="the prices are invented, not market data")
