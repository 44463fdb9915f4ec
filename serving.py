"""What one model says of the last of some prices: forecasts and probabilities. Knows no store.

A model here is a ticker's own, or a base of many tickers that answers until it has one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np

from bands import Outlook, bands_of, sample_paths, share
from bases import Base, read_templates
from calendars import listing_of, sessions_after
from contracts import (
    BadBundle,
    Calibration,
    Event,
    FloatArray,
    Forecast,
    ModelCard,
    ModelFromTheFuture,
    ModelIdentity,
    NoChampion,
    NotEnoughHistory,
    Prices,
    Probability,
    Skill,
    SourceUnavailable,
)
from data_pipeline import training_bars
from features import denormalise, exponential_average, mid_price, normalise, trailing_extremes
from inference import TrainedModel
from model_store import Published

EARLIEST = date.min


@dataclass(slots=True, eq=False, kw_only=True)
class Served:
    """A loaded model with all that an answer says about it; safe to share by threads."""

    identity: ModelIdentity
    model: TrainedModel
    calibration: Calibration
    skill: Skill
    folder: Path
    start_date: date = EARLIEST  # earlier bars take no part
    _templates: FloatArray | None = field(default=None, repr=False)

    @classmethod
    def of_card(cls, folder: Path, version: str, card: ModelCard, model: TrainedModel) -> Served:
        """A ticker's own model."""
        return cls(
            identity=identify(folder.name, version, card),
            model=model,
            calibration=card.calibration,
            skill=card.skill,
            folder=folder,
            start_date=card.start_date,
        )

    @classmethod
    def of_base(cls, base: Base) -> Served:
        """A base, for a ticker without a model of its own."""
        card = base.card
        identity = ModelIdentity(
            version=f"base {card.name}",
            bundle=base.bundle,
            recipe=str(card.recipe["name"]),
            trained_at=card.trained_at,
            trained_through=card.trained_through,
            mode="direct",
            cold_start=True,
        )
        return cls(
            identity=identity,
            model=base.model(),
            calibration=card.calibration,
            skill=card.skill,
            folder=base.path,
        )

    def templates(self) -> FloatArray:
        """Joint errors, read from disk when first asked for: (n, 90).

        Raises:
            NotEnoughHistory: the model had too short a past to keep any.
            BadBundle: they cannot be read.
        """
        if self._templates is None:
            self._templates = read_templates(self.folder)
        if not len(self._templates):
            raise NotEnoughHistory(have=0, need=1, what="past forecasts with every outcome known")
        return self._templates


def identify(bundle: str, version: str, card: ModelCard) -> ModelIdentity:
    """The few facts about a ticker's own model that every answer carries."""
    return ModelIdentity(
        version=version,
        bundle=bundle,
        recipe=str(card.recipe["name"]),
        trained_at=card.trained_at,
        trained_through=card.trained_through,
        mode="direct" if card.recipe.get("mode") == "direct" else "recursive",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Origin:
    """The last of some prices, and what the model says from there."""

    mids: FloatArray
    last_close: float
    outlook: Outlook


def make_forecast(served: Served, prices: Prices, steps: int, ema_span: int | None) -> Forecast:
    """The forecast of one model from the last of `prices`, with bands and dates.

    Args:
        served: the model.
        prices: bars of its ticker; those before its start date take no part.
        steps: sessions ahead, 1 to 90.
        ema_span: span of the smoothed line; None for no smoothing.

    Raises:
        ModelFromTheFuture: the model has seen sessions later than the last of `prices`.
        NotEnoughHistory: fewer bars than the network sees.
        BadBundle: the network answers a price that is not positive.
    """
    origin = _look(served, prices, steps)
    path = origin.outlook.point[0]
    window = served.model.window_size
    lo, hi = (float(side[-1]) for side in trailing_extremes(origin.mids[-window:], window))
    raw = normalise(path, lo, hi)
    smoothed = None if ema_span is None else exponential_average(raw, ema_span)
    as_of = prices.provenance.last_session
    return Forecast(
        ticker=prices.ticker,
        currency=listing_of(prices.ticker).currency,
        as_of=as_of,
        dates=sessions_after(prices.ticker, as_of, steps),
        normalised=_floats(raw),
        prices=_floats(path),
        smoothed_normalised=None if smoothed is None else _floats(smoothed),
        smoothed_prices=None if smoothed is None else _floats(denormalise(smoothed, lo, hi)),
        bands=bands_of(served.calibration, origin.outlook),
        last_normalised=float(normalise(origin.mids[-1:], lo, hi)[0]),
        last_mid=float(origin.mids[-1]),
        last_close=origin.last_close,
        provenance=prices.provenance,
        model=served.identity,
        skill=served.skill,
    )


def make_probability(
    served: Served, prices: Prices, steps: int, asked: tuple[Event, float]
) -> Probability:
    """The share of joint sample paths on which something happens.

    Args:
        served: the model.
        prices: bars of its ticker.
        steps: sessions ahead, 1 to 90.
        asked: the event and its level, in the currency of the prices.

    Raises:
        NotEnoughHistory: fewer bars than the network sees, or a model without joint errors.
        ForecastingError: as `make_forecast`.
    """
    event, level = asked
    origin = _look(served, prices, steps)
    paths = sample_paths(origin.outlook, served.templates())
    last_mid, as_of = float(origin.mids[-1]), prices.provenance.last_session
    return Probability(
        ticker=prices.ticker,
        currency=listing_of(prices.ticker).currency,
        as_of=as_of,
        date=sessions_after(prices.ticker, as_of, steps)[-1],
        steps=steps,
        event=event,
        level=level,
        probability=share(_met(paths, event, level, last_mid)),
        paths=len(paths),
        last_mid=last_mid,
        last_close=origin.last_close,
        provenance=prices.provenance,
        model=served.identity,
        skill=served.skill,
    )


def _met(paths: FloatArray, event: Event, level: float, last_mid: float) -> np.ndarray:
    if event == "above":
        return np.asarray(paths[:, -1] > level)
    if event == "below":
        return np.asarray(paths[:, -1] <= level)  # the two share no path and leave none out
    return np.asarray(
        paths.max(axis=1) >= level if level >= last_mid else paths.min(axis=1) <= level
    )


def _look(served: Served, prices: Prices, steps: int) -> _Origin:
    identity, as_of = served.identity, prices.provenance.last_session
    if identity.trained_through > as_of:
        raise ModelFromTheFuture(prices.ticker, identity.trained_through, as_of)
    bars = training_bars(prices, max(served.start_date, date(1900, 1, 1)))
    outlook = served.model.outlook(bars, np.array([len(bars) - 1]), steps)
    if not (np.isfinite(outlook.point) & (outlook.point > 0)).all():
        raise BadBundle(f"{identity.bundle}: it forecasts a price that is not positive")
    mids = mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy())
    return _Origin(mids, float(bars["Close"].iloc[-1]), outlook)


def _floats(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def check_match(champion: Published, prices: Prices) -> None:
    """Refuse to run a model on prices of another kind than it was trained on.

    Raises:
        NoChampion: it knows only synthetic prices and real ones exist, or prices that are
            adjusted differently; training replaces it.
        SourceUnavailable: it knows real prices and there are only synthetic ones.
        ModelFromTheFuture: it has seen sessions later than the last of `prices`.
    """
    taught, given = champion.card.data, prices.provenance
    if taught.source == "synthetic" and given.source != "synthetic":
        raise NoChampion(prices.ticker, "has only a model of synthetic prices")
    if given.source == "synthetic" and taught.source != "synthetic":
        raise SourceUnavailable(
            f"{prices.ticker} has a model of real prices but no real prices now; bring a file: "
            f"python data_pipeline.py import {prices.ticker} FILE.csv"
        )
    if taught.adjustment != given.adjustment:
        raise NoChampion(
            prices.ticker,
            f"has a model of {taught.adjustment}-adjusted prices, these are {given.adjustment}",
        )
    if champion.card.trained_through > given.last_session:
        raise ModelFromTheFuture(prices.ticker, champion.card.trained_through, given.last_session)
