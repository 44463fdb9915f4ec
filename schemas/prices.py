"""Bodies about prices: bars, several tickers side by side, correlations of returns."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.config import JsonDict

from contracts import TICKER_PATTERN, Mode, Verdict, parse_ticker
from schemas.common import COLD_HELP, MAX_STEPS, MODE_HELP, STEPS_HELP, Day, Out, Score
from schemas.forecasts import EXAMPLE, BandOut, DataOut, IdentityOut, SkillOut
from schemas.problems import ProblemOut

MAX_BARS = 5000
MAX_COMPARED = 20
LEAST_RETURNS = 20  # fewer say nothing about how two prices go together
_SYMBOL = TICKER_PATTERN.strip("^$")


def _listed(value: object) -> object:
    """Parts between commas, whether the parameter was given once or several times."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        return given
    return [part for item in given for part in item.split(",")]


def _symbols(value: list[str]) -> list[str]:
    """Each once, in the order given."""
    return list(dict.fromkeys(parse_ticker(item) for item in value))


# a query parameter: symbols with commas between them
TickerList = Annotated[
    list[str],
    BeforeValidator(_listed),
    Field(max_length=MAX_COMPARED),
    AfterValidator(_symbols),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": rf"^\s*{_SYMBOL}\s*(,\s*{_SYMBOL}\s*){{0,{MAX_COMPARED - 1}}}$",
            "examples": ["AAPL,MSFT"],
        }
    ),
]


class CompareIn(BaseModel):
    """Which tickers to set side by side, how far back and how far ahead."""

    model_config = ConfigDict(frozen=True)

    tickers: TickerList = Field(description="Symbols as Yahoo writes them, with commas")
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS, description=STEPS_HELP)
    last: int = Field(default=120, ge=1, le=MAX_BARS, description="Exchange sessions at most")
    index: float | None = Field(
        default=None, gt=0, le=1e6, description="Set each first mid-price shown to this"
    )


class BaseDayOut(Out):
    """What prices are told relative to."""

    level: float = Field(description="What the first mid-price shown is set to")
    date: Day = Field(description="The first session shown")
    price: float = Field(description="Its mid-price, in `currency`")


class PricesOut(Out):
    """Daily bars of one ticker, one entry per exchange session, the oldest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "ticker": "AAPL",
                "currency": "USD",
                "unit": "USD",
                "index": None,
                "as_of": "2025-12-31",
                "dates": ["2025-12-30", "2025-12-31"],
                "open": [272.81, 273.06],
                "high": [274.08, 273.68],
                "low": [272.28, 271.75],
                "close": [273.08, 271.86],
                "mid": [273.18, 272.715],
                "volume": [22139600.0, 27293600.0],
                "data": EXAMPLE["data"],
            }
        }
    )

    ticker: str
    currency: str
    unit: str = Field(description="Of every price here: the currency, or `index` with `index`")
    index: BaseDayOut | None = Field(description="Null where prices are in `currency`")
    as_of: date = Field(description="Session of the last bar")
    dates: list[date] = Field(description="Exchange sessions, ascending")
    open: list[float] = Field(description="In `unit`, adjusted as `data.adjustment` says")
    high: list[float] = Field(description="In `unit`")
    low: list[float] = Field(description="In `unit`")
    close: list[float] = Field(description="In `unit`")
    mid: list[float] = Field(description="(high + low) / 2, in `unit`: what forecasts are of")
    volume: list[float] = Field(description="Units traded; 0 where the source counts none")
    data: DataOut


_COMPARED: JsonDict = {
    "ticker": "AAPL",
    "currency": "USD",
    "unit": "index",
    "index": {"level": 100.0, "date": "2025-12-30", "price": 273.18},
    "as_of": "2025-12-31",
    "history_dates": ["2025-12-30", "2025-12-31"],
    "history": [100.0, 99.82978256],
    "last_close": 99.5168,
    "dates": ["2026-01-02"],
    "prices": [99.6],
    "intervals": {"80": {"lower": [98.2], "upper": [101.0]}},
    "mode": "direct",
    "cold_start": False,
    "model": EXAMPLE["model"],
    "skill": EXAMPLE["skill"],
    "data": EXAMPLE["data"],
}


class ComparedOut(Out):
    """One ticker's past mid-prices and its forecast, all in one unit."""

    model_config = ConfigDict(json_schema_extra={"example": _COMPARED})

    ticker: str
    currency: str
    unit: str = Field(description="Of every price here: the currency, or `index` with `index`")
    index: BaseDayOut | None = Field(description="Null where prices are in `currency`")
    as_of: date = Field(description="Last session the model saw")
    history_dates: list[date] = Field(description="Exchange sessions up to `as_of`, ascending")
    history: list[float] = Field(description="Mid-prices, in `unit`, one per history date")
    last_close: float = Field(description="Last known close, in `unit`")
    dates: list[date] = Field(description="Exchange sessions after `as_of`, ascending")
    prices: list[float] = Field(description="Forecast mid-prices, in `unit`, one per date")
    intervals: dict[Literal["80", "95"], BandOut] = Field(
        description="By per cent of outcomes meant to fall inside, in `unit`; a level that could "
        "not be calibrated is absent"
    )
    mode: Mode = Field(description=MODE_HELP)
    cold_start: bool = Field(description=COLD_HELP)
    model: IdentityOut
    skill: SkillOut
    data: DataOut


class RankOut(Out):
    """One ticker's place by how well its model forecasts."""

    rank: int = Field(description="1 is the best; by CRPS ratio, then RMSE ratio")
    ticker: str
    crps_ratio: Score = Field(description="Below 1 is better than repeating the last close")
    rmse_ratio: float = Field(description="Below 1 is better than repeating the last close")
    direction_accuracy: float = Field(description="Share of days on the right side of the last mid")
    verdict: Verdict
    cold_start: bool = Field(description=COLD_HELP)


class CompareOut(Out):
    """Several tickers side by side; every one asked for is in `series` or in `errors`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "steps": 1,
                "series": {"AAPL": _COMPARED},
                "ranking": [
                    {
                        "rank": 1,
                        "ticker": "AAPL",
                        "crps_ratio": 0.99,
                        "rmse_ratio": 1.02,
                        "direction_accuracy": 0.53,
                        "verdict": "no better than the last price",
                        "cold_start": False,
                    }
                ],
                "errors": {},
            }
        }
    )

    steps: int = Field(description="Exchange sessions ahead")
    series: dict[str, ComparedOut]
    ranking: list[RankOut] = Field(description="Tickers of `series`, the best model first")
    errors: dict[str, ProblemOut]


class CorrelationsOut(Out):
    """Pearson correlations of daily log returns of closes over sessions that all tickers share."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "tickers": ["AAPL", "MSFT"],
                "first_session": "2025-01-02",
                "last_session": "2025-12-31",
                "returns": 249,
                "matrix": [[1.0, 0.61], [0.61, 1.0]],
                "sources": {"AAPL": "file", "MSFT": "file"},
            }
        }
    )

    tickers: list[str]
    first_session: date = Field(description="The first return starts from its close")
    last_session: date
    returns: int = Field(description="Daily returns that were counted")
    matrix: list[list[Score]] = Field(
        description="One row and column per ticker, -1 to 1; null where a price never moved"
    )
    sources: dict[str, str] = Field(description="By ticker; `synthetic` prices are invented")
