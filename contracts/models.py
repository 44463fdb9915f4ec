"""What a bundle says about itself beside its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from contracts.forecasts import Skill
from contracts.prices import Provenance


def experiment_name(ticker: str) -> str:
    """What a ticker's runs go by: one experiment per ticker."""
    return f"lstm_stock_prediction_{ticker}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """First and last session of a part of the data, both included, and how many rows it has."""

    first: date
    last: date
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Quantiles of past forecast errors per step: what every band is made of.

    An error is log(outcome / forecast) / scale, where the scale is the model's own expected
    size of it (1 for a model without one), so the quantile at a level is the price
    forecast * exp(scale * quantile).
    """

    origins: int  # past forecasts whose errors were counted
    levels: tuple[float, ...]  # ascending, between 0 and 1
    # one row per step from 1 on, one value per level; None where too few outcomes are known
    quantiles: tuple[tuple[float, ...] | None, ...]
    pooled: float = 0.0  # weight of many tickers' quantiles beside this one's own


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseIdentity:
    """The network of many tickers that a model started from."""

    name: str
    trained_through: date
    tickers: int
    shipped: bool  # False: trained here, from the tickers there were


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseCard:
    """All that is said about a base, beside its weights: `card.json`."""

    name: str
    recipe: Mapping[str, Any]
    seed: int
    trained_at: datetime
    trained_through: date
    first_session: date
    tickers: tuple[str, ...]  # that its weights were fitted to
    held_out: tuple[str, ...]  # that its errors were measured on; not fitted to, if there were many
    shrinkage: float  # weight of the correction, from the year before `trained_through`
    calibration: Calibration  # of the held-out tickers' errors
    skill: Skill  # one step ahead over that year, held-out tickers, from the sessions before it
    parity: float  # largest |ONNX - Keras| seen at export
    data_sha256: str  # of every price it was made from
    versions: Mapping[str, str]
    git_revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """All that is said about a bundle, beside its weights: `card.json`."""

    ticker: str
    recipe: Mapping[str, Any]  # every field of the recipe really used
    seed: int
    trained_at: datetime
    trained_through: date
    start_date: date  # earlier bars took no part
    train: Span
    validation: Span
    test: Span
    data: Provenance
    calibration: Calibration
    # by model, `lstm` and every baseline, then metric; one step ahead; None where undefined
    scores: Mapping[str, Mapping[str, float | None]]
    skill: Skill
    parity: float  # largest |ONNX - Keras| seen at export
    base: BaseIdentity | None = None
    shrinkage: float = 1.0  # weight of the learnt correction to the last price
    versions: Mapping[str, str]
    git_revision: str | None = None
    run_id: str | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The published model of a ticker."""

    version: str
    bundle: str
    card: ModelCard
