"""The published model of a ticker and its card."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Self

from pydantic import ConfigDict, Field

from contracts import (
    Champion,
)
from schemas.common import Out, Score
from schemas.forecasts import EXAMPLE, DataOut, SkillOut


class SpanOut(Out):
    """First and last session of a part of the data, both included."""

    first: date
    last: date
    rows: int


class CalibrationOut(Out):
    """Quantiles of past forecast errors per step: what every band is made of.

    An error is log(outcome / forecast) over the size that the model expects of it.
    """

    origins: int = Field(description="Past forecasts whose errors were counted")
    levels: list[float] = Field(description="Ascending, between 0 and 1")
    quantiles: list[list[float] | None] = Field(
        description="One row per step from 1 on, one value per level; null where too few outcomes "
        "are known"
    )
    pooled: float = Field(description="Weight of many tickers' quantiles beside this one's own")


class BaseOut(Out):
    """The network of many tickers that a model started from."""

    name: str
    trained_through: date
    tickers: int = Field(description="How many it learnt from")
    shipped: bool = Field(description="False: trained here, from the tickers there were")


class CardOut(Out):
    """All that is said about a model beside its weights."""

    ticker: str
    recipe: Mapping[str, Any]
    seed: int
    trained_at: datetime = Field(description="UTC")
    trained_through: date
    start_date: date
    train: SpanOut
    validation: SpanOut
    test: SpanOut
    data: DataOut
    calibration: CalibrationOut
    scores: Mapping[str, Mapping[str, Score]] = Field(
        description="One step ahead on held-out sessions, by model and every baseline; prices in "
        "the listing currency; null where a score is not defined"
    )
    skill: SkillOut
    parity: Score = Field(description="Largest |ONNX - Keras| seen at export, MinMax scale")
    base: BaseOut | None = Field(description="Null for a model that started from nothing")
    shrinkage: float = Field(description="Weight of the learnt correction to the last price")
    versions: Mapping[str, str]
    git_revision: str | None
    run_id: str | None = Field(description="MLflow run")
    notes: list[str]


class ModelOut(Out):
    """The published model of a ticker."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "ticker": "AAPL",
                "version": "3",
                "bundle": "AAPL_lstm_20260117_225254",
                "model_path": "models/AAPL_lstm_20260117_225254",
                "card": {
                    "ticker": "AAPL",
                    "recipe": {"name": "panel", "mode": "direct"},
                    "seed": 42,
                    "trained_at": "2026-01-17T22:52:54Z",
                    "trained_through": "2025-12-31",
                    "start_date": "2020-01-01",
                    "train": {"first": "2020-01-02", "last": "2024-04-01", "rows": 1068},
                    "validation": {"first": "2024-04-02", "last": "2024-10-15", "rows": 137},
                    "test": {"first": "2024-10-16", "last": "2025-12-31", "rows": 304},
                    "data": EXAMPLE["data"],
                    "calibration": {
                        "origins": 1000,
                        "levels": [0.1, 0.5, 0.9],
                        "quantiles": [[-1.3, 0.0, 1.2]],
                        "pooled": 0.75,
                    },
                    "scores": {"lstm": {"rmse": 2.63}, "last_close": {"rmse": 2.62}},
                    "skill": EXAMPLE["skill"],
                    "parity": 2e-7,
                    "base": None,
                    "shrinkage": 0.35,
                    "versions": {"model": "1"},
                    "git_revision": "0123456",
                    "run_id": "9c1185a5c5e9fc54612808977ee8f548",
                    "notes": [],
                },
            }
        }
    )

    ticker: str
    version: str = Field(description="Registered version, as MLflow counts")
    bundle: str
    model_path: str = Field(description="`models/<bundle>`")
    card: CardOut

    @classmethod
    def of(cls, champion: Champion) -> Self:
        """The answer about one champion."""
        return cls(
            ticker=champion.card.ticker,
            version=champion.version,
            bundle=champion.bundle,
            model_path=f"models/{champion.bundle}",
            card=CardOut.model_validate(champion.card),
        )
