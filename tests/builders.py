"""Small contract objects for tests; every field can be replaced by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from statistics import NormalDist
from typing import Any

from bands import LEVELS
from contracts import Calibration, ModelCard, Provenance, Skill, Span
from recipes import find_recipe


def provenance(**changes: Any) -> Provenance:
    plain = Provenance(
        source="file",
        adjustment="split",
        fetched_at=datetime(2026, 1, 1, tzinfo=UTC),
        first_session=date(2020, 1, 2),
        last_session=date(2025, 12, 31),
        rows=1508,
        sha256="0" * 64,
    )
    return replace(plain, **changes)


def calibration(daily: float = 0.02) -> Calibration:
    """Quantiles of a normal error of `daily` at every one of 90 steps."""
    row = tuple(daily * NormalDist().inv_cdf(level) for level in LEVELS)
    return Calibration(origins=292, levels=LEVELS, quantiles=(row,) * 90)


def card(**changes: Any) -> ModelCard:
    plain = ModelCard(
        ticker="AAPL",
        recipe=find_recipe("mlops_64_64_32").as_dict(),
        seed=42,
        trained_at=datetime(2026, 1, 17, 22, 52, 54, tzinfo=UTC),
        trained_through=date(2025, 12, 31),
        start_date=date(2020, 1, 1),
        train=Span(first=date(2020, 3, 16), last=date(2024, 4, 29), rows=1038),
        validation=Span(first=date(2024, 4, 30), last=date(2024, 10, 30), rows=128),
        test=Span(first=date(2024, 10, 31), last=date(2025, 12, 31), rows=292),
        data=provenance(),
        calibration=calibration(),
        scores={"lstm": {"rmse": 5.0, "direction_accuracy": None}},
        skill=Skill(
            baseline="last_close",
            rmse_ratio=2.5,
            direction_accuracy=0.52,
            p_value=0.001,
            verdict="worse than the last price",
        ),
        parity=1e-7,
        versions={"keras": "3.15.1"},
    )
    return replace(plain, **changes)
