"""A loaded model with all that an answer says about it, and what it sees of the last prices.

A model here is a ticker's own, or a base of many tickers that answers until it has one. Knows no
store and makes no forecast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from bands import edges_of
from bases import Base, read_templates
from contracts import (
    Calibration,
    Caution,
    FloatArray,
    ModelCard,
    ModelFromTheFuture,
    ModelIdentity,
    NotEnoughHistory,
    Prices,
    Provenance,
    Skill,
    Span,
)
from data_pipeline import training_bars
from features import mid_price
from inference import Feed, TrainedModel
from novelty import Distance, distance

EARLIEST = date.min
UNUSUAL = 0.997


@dataclass(slots=True, eq=False, kw_only=True)
class Served:
    """A loaded model with all that an answer says about it; safe to share by threads."""

    identity: ModelIdentity
    model: TrainedModel
    calibration: Calibration
    skill: Skill
    folder: Path
    start_date: date = EARLIEST  # earlier bars take no part
    taught: Span | None = None  # the sessions it was fitted on; None where they were others'
    _edges: FloatArray | None = field(default=None, repr=False)
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
            taught=Span(first=card.train.first, last=card.validation.last, rows=card.train.rows),
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

    def edges(self) -> FloatArray:
        """Of its bands, as an array: made when first asked for."""
        if self._edges is None:
            self._edges = edges_of(self.calibration)
        return self._edges

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
class View:
    """The last of a ticker's prices as one model sees them: all that any forecast needs of them.

    Some kilobytes, whatever the length of the history, so that hundreds can be kept.
    """

    ticker: str
    provenance: Provenance
    feed: Feed
    lo: float  # of the MinMax scale that normalised values are on
    hi: float
    last_mid: float
    last_close: float
    novelty: Distance | None  # of the newest session from those in training; None where unknown
    warnings: tuple[Caution, ...] = ()


def view(served: Served, prices: Prices, quantile: float = UNUSUAL) -> View:
    """What a model sees of some prices.

    Args:
        served: the model.
        prices: bars of its ticker; those before its start date take no part.
        quantile: of the distances seen in training, beyond which an input is outside them.

    Raises:
        ModelFromTheFuture: the model has seen sessions later than the last of `prices`.
        NotEnoughHistory: fewer bars than the network sees.
    """
    identity, as_of = served.identity, prices.provenance.last_session
    if identity.trained_through > as_of:
        raise ModelFromTheFuture(prices.ticker, identity.trained_through, as_of)
    bars = training_bars(prices, max(served.start_date, date(1900, 1, 1)))
    feed, sessions = served.model.feed(bars)
    newest = bars.iloc[-served.model.window_size :]
    mids = mid_price(newest["High"].to_numpy(), newest["Low"].to_numpy())
    return View(
        ticker=prices.ticker,
        provenance=prices.provenance,
        feed=feed,
        lo=float(mids.min()),
        hi=float(mids.max()),
        last_mid=float(mids[-1]),
        last_close=float(newest["Close"].iloc[-1]),
        novelty=_novelty(served, bars, sessions, quantile),
    )


def _novelty(
    served: Served, bars: pd.DataFrame, sessions: FloatArray, quantile: float
) -> Distance | None:
    if served.taught is None:
        return None
    days = bars["Date"].to_numpy()[-len(sessions) :]
    first, last = np.datetime64(served.taught.first), np.datetime64(served.taught.last)
    return distance(sessions[(days >= first) & (days <= last)], sessions[-1], quantile)
