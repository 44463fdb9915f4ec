"""What one model says of the last of some prices: forecasts and probabilities. Knows no store.

A model here is a ticker's own, or a base of many tickers that answers until it has one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bands import Outlook, bands_by, sample_paths, share
from calendars import listing_of, sessions_after
from contracts import (
    BadBundle,
    Event,
    FloatArray,
    Forecast,
    ForecastingError,
    ModelCard,
    ModelFromTheFuture,
    NoChampion,
    Prices,
    Probability,
    Provenance,
    SourceUnavailable,
)
from features import denormalise, exponential_average, normalise
from model_store import Published
from served import Served, View, view


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
    return forecast_from(served, view(served, prices), steps, ema_span)


def forecast_from(served: Served, seen: View, steps: int, ema_span: int | None) -> Forecast:
    """The same from what the model saw of the prices.

    Raises:
        BadBundle: the network answers a price that is not positive.
    """
    outlook = served.model.outlook_of([seen.feed], steps)
    return told(served, seen, outlook, ema_span)


def forecasts_from(
    asked: Sequence[tuple[Served, View]], steps: int, ema_span: int | None
) -> list[Forecast | ForecastingError]:
    """The same for many tickers, in their order; what fails is in its place.

    Those that share a network are one run of it per step. Networks of different weights cannot
    be: each has its own run, which is also faster than one product of all their weights stacked.
    """
    rows: dict[int, list[int]] = {}
    for place, (served, _) in enumerate(asked):
        rows.setdefault(id(served.model), []).append(place)
    found: dict[int, Forecast | ForecastingError] = {}
    for places in rows.values():
        model = asked[places[0]][0].model
        outlook = model.outlook_of([asked[place][1].feed for place in places], steps)
        for row, place in enumerate(places):
            try:
                found[place] = told(*asked[place], outlook.at(slice(row, row + 1)), ema_span)
            except ForecastingError as error:
                found[place] = error
    return [found[place] for place in range(len(asked))]


def told(served: Served, seen: View, outlook: Outlook, ema_span: int | None) -> Forecast:
    """A forecast of what a network said, one origin's outlook, with bands and dates.

    Raises:
        BadBundle: the network answers a price that is not positive.
    """
    _check_prices(served, outlook)
    path = outlook.point[0]
    raw = normalise(path, seen.lo, seen.hi)
    smoothed = None if ema_span is None else exponential_average(raw, ema_span)
    as_of = seen.provenance.last_session
    return Forecast(
        ticker=seen.ticker,
        currency=listing_of(seen.ticker).currency,
        as_of=as_of,
        dates=sessions_after(seen.ticker, as_of, len(path)),
        normalised=_floats(raw),
        prices=_floats(path),
        smoothed_normalised=None if smoothed is None else _floats(smoothed),
        smoothed_prices=None if smoothed is None else _floats(_prices(smoothed, seen)),
        bands=bands_by(served.edges(), outlook),
        last_normalised=float(normalise(np.array([seen.last_mid]), seen.lo, seen.hi)[0]),
        last_mid=seen.last_mid,
        last_close=seen.last_close,
        provenance=seen.provenance,
        model=served.identity,
        skill=served.skill,
        warnings=seen.warnings,
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
    return probability_from(served, view(served, prices), steps, asked)


def probability_from(
    served: Served, seen: View, steps: int, asked: tuple[Event, float]
) -> Probability:
    """The same from what the model saw of the prices.

    Raises:
        NotEnoughHistory: a model without joint errors.
        BadBundle: the network answers a price that is not positive.
    """
    event, level = asked
    outlook = served.model.outlook_of([seen.feed], steps)
    _check_prices(served, outlook)
    paths = sample_paths(outlook, served.templates())
    as_of = seen.provenance.last_session
    return Probability(
        ticker=seen.ticker,
        currency=listing_of(seen.ticker).currency,
        as_of=as_of,
        date=sessions_after(seen.ticker, as_of, steps)[-1],
        steps=steps,
        event=event,
        level=level,
        probability=share(_met(paths, event, level, seen.last_mid)),
        paths=len(paths),
        last_mid=seen.last_mid,
        last_close=seen.last_close,
        provenance=seen.provenance,
        model=served.identity,
        skill=served.skill,
        warnings=seen.warnings,
    )


def _met(paths: FloatArray, event: Event, level: float, last_mid: float) -> np.ndarray:
    if event == "above":
        return np.asarray(paths[:, -1] > level)
    if event == "below":
        return np.asarray(paths[:, -1] <= level)  # the two share no path and leave none out
    return np.asarray(
        paths.max(axis=1) >= level if level >= last_mid else paths.min(axis=1) <= level
    )


def _check_prices(served: Served, outlook: Outlook) -> None:
    if not (np.isfinite(outlook.point) & (outlook.point > 0)).all():
        raise BadBundle(f"{served.identity.bundle}: it forecasts a price that is not positive")


def _prices(normalised: FloatArray, seen: View) -> FloatArray:
    return denormalise(normalised, seen.lo, seen.hi)


def _floats(values: FloatArray) -> tuple[float, ...]:
    plain: list[float] = values.tolist()
    return tuple(plain)


def check_match(champion: Published, prices: Prices) -> None:
    """Refuse to run a model on prices of another kind than it was trained on.

    Raises:
        NoChampion: it knows only synthetic prices and real ones exist, or prices that are
            adjusted differently; training replaces it.
        SourceUnavailable: it knows real prices and there are only synthetic ones.
        ModelFromTheFuture: it has seen sessions later than the last of `prices`.
    """
    check_kind(champion.card, prices.provenance)


def check_kind(card: ModelCard, given: Provenance) -> None:
    """The same for prices of which only the provenance is at hand.

    Raises:
        ForecastingError: as `check_match`.
    """
    ticker, taught = card.ticker, card.data
    if taught.source == "synthetic" and given.source != "synthetic":
        raise NoChampion(ticker, "has only a model of synthetic prices")
    if given.source == "synthetic" and taught.source != "synthetic":
        raise SourceUnavailable(
            f"{ticker} has a model of real prices but no real prices now; bring a file: "
            f"python data_pipeline.py import {ticker} FILE.csv"
        )
    if taught.adjustment != given.adjustment:
        raise NoChampion(
            ticker,
            f"has a model of {taught.adjustment}-adjusted prices, these are {given.adjustment}",
        )
    if card.trained_through > given.last_session:
        raise ModelFromTheFuture(ticker, card.trained_through, given.last_session)
