"""Bodies of forecasts, one or many."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)
from pydantic.config import JsonDict

from answers import forecast_answer
from contracts import (
    Adjustment,
    CautionCode,
    Forecast,
    Freshness,
    Mode,
    Source,
    Verdict,
)
from schemas.common import (
    COLD_HELP,
    MAX_STEPS,
    MODE_HELP,
    STEPS_HELP,
    Out,
    Score,
    Ticker,
)


class BandOut(Out):
    """Mid-prices between which a share of outcomes is meant to fall, one pair per date."""

    lower: list[float]
    upper: list[float]


class DataOut(Out):
    """Where the prices behind a forecast came from."""

    source: Source = Field(description="`synthetic` prices are invented, not market data")
    last_session: date
    stale: bool = Field(description="A later session had already ended when the prices were read")
    sessions_behind: int = Field(description="Sessions that have ended since the last one used")
    adjustment: Adjustment
    sha256: str
    findings: dict[str, int] = Field(
        description="What validation repaired, dropped or found odd in the bars, counted by kind"
    )
    # a card keeps the reason, which may name files; what leaves here is that there is one
    quarantined: Annotated[bool, BeforeValidator(bool)] = Field(
        description="The source's newer bars were refused; these are the last good ones"
    )
    fetched_at: datetime = Field(
        description="When the source gave the bars, UTC; of a file, when it was imported or "
        "last changed by hand"
    )
    state: Freshness = Field(
        description="`live`: from a feed, fetched since the last session ended; `cached`: a file "
        "that reaches the last session, which nothing brings on; `stale`: later sessions have "
        "ended; `synthetic`: invented"
    )


class IdentityOut(Out):
    """Which model made a forecast."""

    version: str
    recipe: str
    trained_at: datetime = Field(description="UTC")
    trained_through: date = Field(description="Last session that touched the model in any way")


class SkillOut(Out):
    """One-step skill on held-out sessions, against repeating the last close."""

    baseline: str
    rmse_ratio: float = Field(description="Model / baseline; below 1 is better than the baseline")
    direction_accuracy: float = Field(description="Share of days on the right side of the last mid")
    p_value: float = Field(description="Two-sided Diebold-Mariano test on squared errors")
    verdict: Verdict
    crps_ratio: Score = Field(
        description="Mean CRPS of steps 1 to 30, model / baseline; below 1 is better; null when "
        "too few held-out sessions are there to say"
    )
    crps_p_value: Score = Field(description="Two-sided, of that ratio; null when it is unknown")


class WarningOut(Out):
    """One reason not to rely on an answer."""

    code: CautionCode
    detail: str = Field(description="What was measured and what is allowed")


WARNINGS_HELP = (
    "Why this answer should not be relied on: the model or the prices are too old, the newest "
    "session is unlike those in training, or the prices are invented. `strict=true` is refused "
    "with 409 where there is any; empty otherwise"
)

EXAMPLE: JsonDict = {
    "ticker": "AAPL",
    "prediction_steps": 1,
    "raw_predictions": [0.9407],
    "smoothed_predictions": [0.9407],
    "last_actual_value": 0.9436,
    "model_path": "models/AAPL_lstm_20260117_225254",
    "last_actual_price": 272.72,
    "last_close": 271.86,
    "currency": "USD",
    "as_of": "2025-12-31",
    "mode": "direct",
    "cold_start": False,
    "dates": ["2026-01-02"],
    "prices": [272.1],
    "smoothed_prices": [272.1],
    "intervals": {"80": {"lower": [268.4], "upper": [275.8]}},
    "data": {
        "source": "file",
        "last_session": "2025-12-31",
        "stale": False,
        "sessions_behind": 0,
        "adjustment": "split",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "findings": {"large_move": 1},
        "quarantined": False,
        "fetched_at": "2025-12-31T21:20:04Z",
        "state": "cached",
    },
    "model": {
        "version": "3",
        "recipe": "mlops_64_64_32",
        "trained_at": "2026-01-17T22:52:54Z",
        "trained_through": "2025-12-31",
    },
    "skill": {
        "baseline": "last_close",
        "rmse_ratio": 1.02,
        "direction_accuracy": 0.53,
        "p_value": 0.4,
        "verdict": "no better than the last price",
        "crps_ratio": 0.99,
        "crps_p_value": 0.3,
    },
    "warnings": [],
}


class ForecastIn(BaseModel):
    """What a forecast is asked for."""

    model_config = ConfigDict(frozen=True)

    ticker: Ticker = Field(description="Symbol as Yahoo writes it")
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS, description=STEPS_HELP)
    smoothing: bool = Field(default=True, description="Add an exponential moving average")
    strict: bool = Field(
        default=False, description="409 instead of an answer that carries warnings"
    )


class ForecastOut(Out):
    """The next mid-prices, (high + low) / 2, of one ticker, one entry per exchange session."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    ticker: str
    prediction_steps: int = Field(description="Exchange sessions ahead")
    raw_predictions: list[float] = Field(description="MinMax scale of the window ending at `as_of`")
    smoothed_predictions: list[float] | None = Field(
        description="`raw_predictions` after the exponential moving average; null without smoothing"
    )
    last_actual_value: float = Field(description="Last known mid-price on the MinMax scale")
    model_path: str = Field(description="`models/<bundle>`; `pretrained/<name>` for a cold start")
    last_actual_price: float = Field(description="Last known mid-price, in `currency`")
    last_close: float = Field(description="Last known close, in `currency`")
    currency: str
    as_of: date = Field(description="Last session the model saw")
    mode: Mode = Field(description=MODE_HELP)
    cold_start: bool = Field(description=COLD_HELP)
    dates: list[date] = Field(description="Exchange sessions, ascending, all after `as_of`")
    prices: list[float] = Field(description="Mid-prices, in `currency`, one per date")
    smoothed_prices: list[float] | None = Field(description="In `currency`; null without smoothing")
    intervals: dict[Literal["80", "95"], BandOut] = Field(
        description="By per cent of outcomes meant to fall inside; a level is absent when too few "
        "held-out sessions were there to calibrate it"
    )
    data: DataOut
    model: IdentityOut
    skill: SkillOut
    warnings: list[WarningOut] = Field(description=WARNINGS_HELP)

    @classmethod
    def of(cls, forecast: Forecast) -> Self:
        """The answer to one forecast."""
        return cls.model_validate(forecast_answer(forecast))
