"""What one model says of the last of some prices: forecasts and probabilities. Knows no store.

A model here is a ticker's own, or a base of many tickers that answers until it has one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat

import numpy as np

from bands import Outlook, bands_by, sample_paths, share
from calendars import listing_of, sessions_after
from contracts import (
    BadBundle,
    Band,
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

log = logging.getLogger(__name__)

AT_ONCE = 32  # rows of one run: more are no faster each, and fewer leave work for other threads

Asked = tuple[Served, View]
_Said = Sequence[FloatArray | ForecastingError]
Spread = Callable[[Callable[[list[int]], _Said], list[list[int]]], Iterable[_Said]]


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
        BadBundle: the network fails, or answers a price that is not positive.
    """
    (found,) = forecasts_from([(served, seen)], steps, ema_span)
    if isinstance(found, ForecastingError):
        raise found
    return found


def forecasts_from(
    asked: Sequence[Asked], steps: int, ema_span: int | None, spread: Spread = map
) -> list[Forecast | ForecastingError]:
    """The same for many tickers, in their order; what fails is in its place and costs no other.

    Those that share a network are one run of it per step, AT_ONCE at a time. Networks of different
    weights cannot be: each has its own run, which is also faster than one product of all their
    weights stacked. All that follows is done for everybody together.

    Args:
        asked: models and what they see.
        steps: sessions ahead, 1 to 90.
        ema_span: span of the smoothed line; None for no smoothing.
        spread: what has the runs made, in their order; by default one after the other.
    """
    runs = _runs(asked)
    said = spread(lambda places: _said([asked[place] for place in places], steps), runs)
    found: dict[int, Forecast | ForecastingError] = {}
    well: dict[int, FloatArray] = {}
    for places, rows in zip(runs, said, strict=True):
        for place, row in zip(places, rows, strict=True):
            if isinstance(row, ForecastingError):
                found[place] = row
            else:
                well[place] = row
    if well:
        those = [asked[place] for place in well]
        outlook = _outlook(those, list(well.values()), steps)
        found |= zip(well, _told(those, outlook, ema_span), strict=True)
    return [found[place] for place in range(len(asked))]


def _runs(asked: Sequence[Asked]) -> list[list[int]]:
    """The places of those who share a network, AT_ONCE of them at most."""
    sharing: dict[int, list[int]] = {}
    for place, (served, _) in enumerate(asked):
        sharing.setdefault(id(served), []).append(place)
    return [
        places[first : first + AT_ONCE]
        for places in sharing.values()
        for first in range(0, len(places), AT_ONCE)
    ]


def _said(asked: Sequence[Asked], steps: int) -> _Said:
    """What one network says to each of several views, or why it says nothing."""
    served = asked[0][0]
    try:
        return list(served.model.said([seen.feed for _, seen in asked], steps))
    except Exception:  # ONNX Runtime raises a class per fault, none of them public
        if len(asked) > 1:  # one input that cannot be run is no reason for the others
            return [_said([one], steps)[0] for one in asked]
        log.exception("network_failed bundle=%s", served.identity.bundle)
        return [BadBundle(f"{served.identity.bundle}: its network fails; train it again")]


def _outlook(asked: Sequence[Asked], said: Sequence[FloatArray], steps: int) -> Outlook:
    """What the networks said, in prices: a row each, models of one kind together."""
    kinds: dict[tuple[object, ...], list[int]] = {}
    for row, (served, _) in enumerate(asked):
        kinds.setdefault(served.model.kind, []).append(row)
    point, scale = np.empty((2, len(asked), steps))
    for rows in kinds.values():
        feeds = [asked[row][1].feed for row in rows]
        model = asked[rows[0]][0].model
        found = model.outlook_from(feeds, np.stack([said[row] for row in rows]), steps)
        point[rows], scale[rows] = found.point, found.scale
    return Outlook(point, scale)


def _told(
    asked: Sequence[Asked], outlook: Outlook, ema_span: int | None
) -> Iterator[Forecast | ForecastingError]:
    """A forecast for each row of what the networks said, with bands and dates.

    The same to the last bit however many rows there are: every operation is of one number.
    """
    positive = _positive(outlook).tolist()
    lo, hi, mids = np.array([(seen.lo, seen.hi, seen.last_mid) for _, seen in asked]).T[..., None]
    raw = normalise(outlook.point, lo, hi)
    smoothed = None if ema_span is None else exponential_average(raw, ema_span)
    series = _rows(raw, outlook.point, smoothed, _prices(smoothed, lo, hi))
    last = normalise(mids, lo, hi)[:, 0].tolist()
    bands = bands_by([served.edges() for served, _ in asked], outlook)
    for place, ((served, seen), numbers) in enumerate(zip(asked, series, strict=True)):
        if positive[place]:
            yield _forecast(served, seen, numbers, bands[place], last[place])
        else:
            yield _not_positive(served)


def _forecast(
    served: Served,
    seen: View,
    numbers: Sequence[tuple[float, ...]],
    bands: Mapping[str, Band],
    last_normalised: float,
) -> Forecast:
    """`numbers`: normalised, prices, and both smoothed or empty."""
    as_of = seen.provenance.last_session
    return Forecast(
        ticker=seen.ticker,
        currency=listing_of(seen.ticker).currency,
        as_of=as_of,
        dates=sessions_after(seen.ticker, as_of, len(numbers[1])),
        normalised=numbers[0],
        prices=numbers[1],
        smoothed_normalised=numbers[2] or None,
        smoothed_prices=numbers[3] or None,
        bands=bands,
        last_normalised=last_normalised,
        last_mid=seen.last_mid,
        last_close=seen.last_close,
        provenance=seen.provenance,
        model=served.identity,
        skill=served.skill,
        warnings=seen.warnings,
    )


def _rows(*tables: FloatArray | None) -> Iterator[tuple[tuple[float, ...], ...]]:
    """Row by row the plain numbers of several tables; an empty tuple for a table there is not."""
    lists = [repeat(()) if table is None else map(tuple, table.tolist()) for table in tables]
    return zip(*lists, strict=False)


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
        BadBundle: the network fails, or answers a price that is not positive.
    """
    event, level = asked
    (said,) = _said([(served, seen)], steps)
    if isinstance(said, ForecastingError):
        raise said
    outlook = _outlook([(served, seen)], [said], steps)
    if not _positive(outlook).all():
        raise _not_positive(served)
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


def _positive(outlook: Outlook) -> np.ndarray:
    """Which rows hold prices and nothing else: (n,)."""
    return np.asarray((np.isfinite(outlook.point) & (outlook.point > 0)).all(axis=1))


def _not_positive(served: Served) -> BadBundle:
    return BadBundle(f"{served.identity.bundle}: it forecasts a price that is not positive")


def _prices(normalised: FloatArray | None, lo: FloatArray, hi: FloatArray) -> FloatArray | None:
    return None if normalised is None else denormalise(normalised, lo, hi)


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
