"""Turns a forecast or a probability into the answer that HTTP, command line and Python share.

Pure: a contract in, plain dicts, lists, strings and numbers out, or a table as people read it.
Knows no HTTP and no schema.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import chain, islice
from typing import Any

import numpy as np

from contracts import Caution, Forecast, ModelIdentity, Probability, Provenance, Skill

DIGITS = 10  # significant ones: beyond any price's precision, short of binary noise
POWERS = np.array([float(10**k) for k in range(2 * DIGITS)])  # each of them exact
MODELS = 1024  # whose facts are kept as they are told, some hundred bytes each


def forecast_answer(forecast: Forecast) -> dict[str, Any]:
    """Every field of `/predict`, in the order the documentation shows them.

    Lists hold one entry per date. Prices are mid-prices in `currency`, rounded to 10 significant
    digits, which keeps lower <= price <= upper; `smoothed_*` are None without smoothing; a level
    that has no band has no key in `intervals`.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot carry.
    """
    return forecast_answers([forecast])[0]


def forecast_answers(forecasts: Sequence[Forecast]) -> list[dict[str, Any]]:
    """The same for many, whose numbers are rounded together.

    Raises:
        ValueError: as `forecast_answer`.
    """
    numbers = iter(_numbers([series for one in forecasts for series in _series(one)]))
    return [
        _forecast_fields(forecast, list(islice(numbers, 5 + 2 * len(forecast.bands))))
        for forecast in forecasts
    ]


def _series(forecast: Forecast) -> Iterator[Sequence[float] | None]:
    """Every number of an answer that is rounded, in the order `_forecast_fields` takes them."""
    yield (forecast.last_normalised, forecast.last_mid, forecast.last_close)
    yield from (forecast.normalised, forecast.smoothed_normalised)
    yield from (forecast.prices, forecast.smoothed_prices)
    for band in forecast.bands.values():
        yield from (band.lower, band.upper)


def _forecast_fields(forecast: Forecast, numbers: Sequence[list[float] | None]) -> dict[str, Any]:
    last, raw, smooth, prices, smooth_prices, *sides = numbers
    assert last is not None
    return {
        "ticker": forecast.ticker,
        "prediction_steps": len(forecast.dates),
        "raw_predictions": raw,
        "smoothed_predictions": smooth,
        "last_actual_value": last[0],
        "model_path": _model_path(forecast.model),
        "last_actual_price": last[1],
        "last_close": last[2],
        "currency": forecast.currency,
        "as_of": forecast.as_of.isoformat(),
        "mode": forecast.model.mode,
        "cold_start": forecast.model.cold_start,
        "dates": list(_day_texts(forecast.dates)),
        "prices": prices,
        "smoothed_prices": smooth_prices,
        "intervals": {
            level: {"lower": lower, "upper": upper}
            for level, lower, upper in zip(forecast.bands, sides[::2], sides[1::2], strict=True)
        },
        "data": _data(forecast.provenance),
        "model": _model(forecast.model),
        "skill": _skill(forecast.skill),
        "warnings": _warnings(forecast.warnings),
    }


@lru_cache(maxsize=64)
def _day_texts(days: tuple[date, ...]) -> tuple[str, ...]:
    """Most tickers are told of the same sessions."""
    return tuple(day.isoformat() for day in days)


def probability_answer(probability: Probability) -> dict[str, Any]:
    """Every field of `/probability`, in the order the documentation shows them.

    Prices are in `currency`, rounded as in `forecast_answer`, but for `level`, which is the very
    number that was asked about. `probability` is between 0 and 1.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot carry.
    """
    return {
        "ticker": probability.ticker,
        "currency": probability.currency,
        "as_of": probability.as_of.isoformat(),
        "date": probability.date.isoformat(),
        "steps": probability.steps,
        "event": probability.event,
        "level": _finite(probability.level),  # rounding could carry the largest float to infinity
        "probability": _number(probability.probability),
        "paths": probability.paths,
        "last_actual_price": _number(probability.last_mid),
        "last_close": _number(probability.last_close),
        "mode": probability.model.mode,
        "cold_start": probability.model.cold_start,
        "data": _data(probability.provenance),
        "model": _model(probability.model),
        "skill": _skill(probability.skill),
        "warnings": _warnings(probability.warnings),
    }


def forecast_table(forecast: Forecast) -> str:
    """The forecast as people read it: a line of facts, a row per session, the verdict."""
    skill = forecast.skill
    p_value = "p < 0.001" if skill.p_value < 0.001 else f"p = {skill.p_value:.3f}"
    levels = list(forecast.bands)
    columns = "".join(f"{level + ' % band':>24}" for level in levels)
    smoothed = forecast.smoothed_prices or [math.nan] * len(forecast.dates)
    head = [*_facts(forecast), "", f"{'date':10} {'price':>10} {'smoothed':>10}{columns}"]
    rows = [
        f"{day} {price:10.2f} {smooth:10.2f}"
        + "".join(
            f"{forecast.bands[level].lower[i]:13.2f} .. {forecast.bands[level].upper[i]:.2f}".rjust(
                24
            )
            for level in levels
        )
        for i, (day, price, smooth) in enumerate(
            zip(forecast.dates, forecast.prices, smoothed, strict=True)
        )
    ]
    tail = [
        "",
        *(f"WARNING {warning.code}: {warning.detail}" for warning in forecast.warnings),
        f"held-out one-step error {skill.rmse_ratio:.2f} times that of repeating the last close "
        f"({p_value}): {skill.verdict}",
    ]
    return "\n".join([*head, *rows, *tail])


def _facts(forecast: Forecast) -> list[str]:
    """What the table rests on, a line each; a model that is not the ticker's own is said."""
    data, model, ticker = forecast.provenance, forecast.model, forecast.ticker
    lines = [
        f"{ticker}  mid-price forecast in {forecast.currency}, sessions after {forecast.as_of}",
        f"last mid {forecast.last_mid:.2f}, last close {forecast.last_close:.2f}; prices: "
        f"{data.source}{f', STALE by {data.sessions_behind} sessions' if data.stale else ''}",
        f"model version {model.version} ({model.recipe}), trained through {model.trained_through}",
    ]
    if model.cold_start:
        lines.append(
            f"cold start: {ticker} has no model of its own yet, a network of many tickers answers; "
            f"run: python train.py {ticker}"
        )
    return lines


def utc_text(moment: datetime) -> str:
    """`2026-01-17T22:52:54Z`; a moment without a time zone is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _model_path(model: ModelIdentity) -> str:
    """A base of many tickers lies beside the models folder and names its own place."""
    return model.bundle if model.cold_start else f"models/{model.bundle}"


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"a forecast must be finite, not {value}")
    return float(value)


def _number(value: float) -> float:
    return float(f"{_finite(value):.{DIGITS}g}")


def _numbers(series: Sequence[Sequence[float] | None]) -> list[list[float] | None]:
    """`_number` of each value of several series, the same to the last bit, in one go.

    value * 10**k is rounded to an integer of at most DIGITS digits and divided again: both are
    exact in binary, so the division gives the float nearest to the decimal, as reading the text
    would. Where the product lies next to a half, or k is out of range, the text decides.
    """
    flat = list(chain.from_iterable(values for values in series if values is not None))
    given = np.fromiter(flat, float, len(flat))  # in half of the time of np.array
    if not np.isfinite(given).all():
        raise ValueError("a forecast must be finite")
    size = np.abs(given)
    within = (size > 1e-9) & (size < 9e9)  # whose powers lie in the table
    held = np.where(within, given, 1.0)
    # from a table: raising ten to each number's power would take half of the time of all this
    power = POWERS[DIGITS - 1 - np.floor(np.log10(np.abs(held))).astype(int)]
    scaled = held * power
    whole = np.rint(scaled)
    rounded: list[float] = (whole / power).tolist()
    unsure = ~within | (np.abs(np.abs(scaled - whole) - 0.5) < 1e-4)
    for place in np.flatnonzero(unsure).tolist():
        rounded[place] = _number(flat[place])
    left = iter(rounded)
    return [None if values is None else list(islice(left, len(values))) for values in series]


def _data(provenance: Provenance) -> dict[str, Any]:
    return {
        "source": provenance.source,
        "last_session": provenance.last_session.isoformat(),
        "stale": provenance.stale,
        "sessions_behind": provenance.sessions_behind,
        "adjustment": provenance.adjustment,
        "sha256": provenance.sha256,
        "findings": dict(provenance.findings),
        # that it is so, not why: the reason may name files
        "quarantined": provenance.quarantined is not None,
        "fetched_at": utc_text(provenance.fetched_at),
        "state": provenance.state,
    }


def _model(model: ModelIdentity) -> dict[str, str]:
    return dict(_model_facts(model))


@lru_cache(maxsize=MODELS)
def _model_facts(model: ModelIdentity) -> tuple[tuple[str, str], ...]:
    """A base answers for many tickers, and a champion again and again."""
    return (
        ("version", model.version),
        ("recipe", model.recipe),
        ("trained_at", utc_text(model.trained_at)),
        ("trained_through", model.trained_through.isoformat()),
    )


def _warnings(warnings: Iterable[Caution]) -> list[dict[str, str]]:
    return [{"code": warning.code, "detail": warning.detail} for warning in warnings]


def _skill(skill: Skill) -> dict[str, Any]:
    return dict(_skill_facts(skill))


@lru_cache(maxsize=MODELS)
def _skill_facts(skill: Skill) -> tuple[tuple[str, Any], ...]:
    return (
        ("baseline", skill.baseline),
        ("rmse_ratio", _number(skill.rmse_ratio)),
        ("direction_accuracy", _number(skill.direction_accuracy)),
        ("p_value", _number(skill.p_value)),
        ("verdict", skill.verdict),
        ("crps_ratio", None if skill.crps_ratio is None else _number(skill.crps_ratio)),
        ("crps_p_value", None if skill.crps_p_value is None else _number(skill.crps_p_value)),
    )
