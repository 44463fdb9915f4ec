"""What the page says of an answer: sentences, rows and the file to download.

Pure: answers in, text and rows out. Knows no Streamlit, no Plotly and no service.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple

from schemas import DataOut, ForecastOut, SkillOut, StepScoreOut

Colour = Literal["blue", "gray", "orange", "red"]
SOURCES = {
    "yfinance": "Yahoo Finance",
    "alphavantage": "Alpha Vantage",
    "file": "imported file",
    "synthetic": "SYNTHETIC",
}
ADJUSTMENTS = {
    "split": "Adjusted for splits",
    "split+dividend": "Adjusted for splits and dividends",
}
STATES: dict[str, tuple[Colour, str]] = {
    "live": ("blue", ":material/bolt:"),
    "cached": ("blue", ":material/database:"),
    "stale": ("orange", ":material/history:"),
    "synthetic": ("red", ":material/warning:"),
}

MODELS = {
    "lstm": "This model (LSTM)",
    "last_close": "Repeat the last close",
    "last_mid": "Repeat the last mid-price",
    "arima": "ARIMA(5,1,0)",
}
SCORES = {
    "rmse": "RMSE",
    "mae": "MAE",
    "rmse_ratio": "RMSE / last close",
    "direction_accuracy": "Right direction",
    "direction_accuracy_spec": "Direction, successive",
    "mse": "MSE",
    "normalised_rmse": "RMSE, MinMax",
    "normalised_mae": "MAE, MinMax",
    "normalised_mse": "MSE, MinMax",
}


def verdict_sentence(skill: SkillOut) -> str:
    """The model's held-out skill as one would say it aloud."""
    times = f"{skill.rmse_ratio:.1f}" if skill.rmse_ratio >= 2 else f"{skill.rmse_ratio:.2f}"
    p_text = "p < 0.001" if skill.p_value < 0.001 else f"p = {skill.p_value:.2g}"
    size = f"its error is {times} times as large"
    said = {
        "worse than the last price": "is **worse** than simply repeating the last close: "
        f"{size}. Treat it as illustration.",
        "no better than the last price": "is **no better** than simply repeating the last close: "
        f"{size}, which may be chance.",
        "better than the last price": "is **better** than simply repeating the last close: "
        f"{size}.",
    }
    return (
        f"Over the held-out sessions this model {said[skill.verdict]} (One session ahead, RMSE; "
        f"Diebold-Mariano {p_text}. The tab Scores has every step and baseline.)"
    )


VERDICTS = {
    "worse than the last price": "**worse** than",
    "no better than the last price": "**no better** than",
    "better than the last price": "**better** than",
}


def steps_sentences(rows: Sequence[StepScoreOut]) -> list[tuple[str, str]]:
    """By verdict, the worst first, at which steps it is that of the points and of the bands."""
    told = []
    for verdict, said in VERDICTS.items():
        points = listed([row.step for row in rows if row.verdict == verdict])
        bands = listed([row.step for row in rows if row.crps_verdict == verdict])
        parts = [
            f"{what} {said} repeating the last close at {steps} ahead"
            for what, steps in (("its points are", points), ("its bands are", bands))
            if steps
        ]
        if parts:
            told.append((verdict, f"At past origins {'; '.join(parts)}."))
    return told


def listed(steps: Sequence[int]) -> str:
    """1, 5 and 30 sessions."""
    if not steps:
        return ""
    *most, last = (str(step) for step in steps)
    numbers = f"{', '.join(most)} and {last}" if most else last
    return f"{numbers} session{'' if list(steps) == [1] else 's'}"


class Badge(NamedTuple):
    """A few words that stand out, beside others."""

    said: str
    colour: Colour
    icon: str | None = None


def provenance_badges(forecast: ForecastOut) -> list[Badge]:
    """Where the prices came from, how old they are, and what is odd about the answer."""
    data = forecast.data
    badges = [freshness_badge(data), Badge(f"Last session {long_date(data.last_session)}", "blue")]
    if data.quarantined:
        badges.append(Badge("Newer bars refused", "red", ":material/gpp_maybe:"))
    if forecast.cold_start:
        said = "Cold start: no model of its own yet, a network of many tickers answers"
        badges.append(Badge(said, "orange", ":material/ac_unit:"))
    return [*badges, Badge(ADJUSTMENTS[data.adjustment], "gray")]


def freshness_badge(data: DataOut) -> Badge:
    """Live, cached for how long, stale by how much, or invented: never to be overlooked."""
    source, behind = SOURCES[data.source], sessions_of(data.sessions_behind)
    said = {
        "live": f"Live: {source}, fetched {age_of(data.fetched_at)}",
        "cached": f"Cached {days_of(data.fetched_at)}: {source}",
        "stale": f"Stale: {source}, {behind} behind, fetched {age_of(data.fetched_at)}",
        "synthetic": f"Prices: {source}",
    }
    return Badge(said[data.state], *STATES[data.state])


def sessions_of(count: int) -> str:
    """1 session, 4 sessions."""
    return f"{count} session{'' if count == 1 else 's'}"


def age_of(made: datetime) -> str:
    """Today, yesterday, 12 days ago."""
    days = _days_since(made)
    return {0: "today", 1: "yesterday"}.get(days, f"{days:,} days ago")


def days_of(since: datetime) -> str:
    """Under a day, 1 day, 12 days."""
    days = _days_since(since)
    return {0: "under a day", 1: "1 day"}.get(days, f"{days:,} days")


def _days_since(moment: datetime) -> int:
    return (datetime.now(UTC) - moment).days


def when(moment: datetime) -> str:
    """2 Jan 2026, 06:00 UTC."""
    return f"{long_date(moment)}, {moment:%H:%M} UTC"


def chance(probability: float) -> str:
    """A probability as a whole percentage; what is never certain is not shown as 0 or 100 %."""
    if probability < 0.01:
        return "under 1 %"
    return "over 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def band_at(forecast: ForecastOut, n: int) -> str:
    """The 80 % band of the n-th session."""
    if "80" not in forecast.intervals:
        return "80 % band not known yet"
    band = forecast.intervals["80"]
    return f"80 % band {band.lower[n]:,.2f} to {band.upper[n]:,.2f}"


def table_of(forecast: ForecastOut) -> list[dict[str, Any]]:
    """One row per session; prices in the listing currency, `raw_prediction` on the MinMax scale."""
    rows: list[dict[str, Any]] = []
    for n, day in enumerate(forecast.dates):
        row: dict[str, Any] = {"date": day.isoformat(), "price": forecast.prices[n]}
        if forecast.smoothed_prices is not None:
            row["smoothed_price"] = forecast.smoothed_prices[n]
        for level, band in forecast.intervals.items():
            row |= {f"lower_{level}": band.lower[n], f"upper_{level}": band.upper[n]}
        rows.append({**row, "raw_prediction": forecast.raw_predictions[n]})
    return rows


def csv_of(forecast: ForecastOut) -> str:
    """The table with, in every row, what the figures rest on."""
    origin = {
        "ticker": forecast.ticker,
        "currency": forecast.currency,
        "as_of": forecast.as_of.isoformat(),
        "source": forecast.data.source,
        "model_version": forecast.model.version,
    }
    rows = [{**row, **origin} for row in table_of(forecast)]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def scores_table(scores: Mapping[str, Mapping[str, float | None]]) -> list[dict[str, Any]]:
    """One row per model or baseline, in the card's order; the telling scores come first."""
    return [
        {"Model": MODELS.get(name, name)}
        | {score: row[score] for score in SCORES if score in row}
        | {score: value for score, value in row.items() if score not in SCORES}
        for name, row in scores.items()
    ]


def ratio(value: float | None) -> str:
    """A ratio that may not be defined."""
    return "unknown" if value is None else f"{value:.2f}"


def long_date(day: date) -> str:
    """2 Jan 2026."""
    return f"{day.day} {day:%b %Y}"


def short_date(day: date) -> str:
    """2 Jan."""
    return f"{day.day} {day:%b}"
