"""The body of `/info`: what is in use, for whom there are prices, and what answers."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import ConfigDict, Field

from contracts import VERSION, Adjustment, Source
from schemas.common import NEXT_HELP, TOTAL_HELP, Out

Setting = str | int | float | bool | None


class TickerInfoOut(Out):
    """One ticker: its prices and its model."""

    ticker: str
    configured: bool = Field(description="Among the tickers this service was set up for")
    currency: str
    first_session: date | None = Field(description="Of the prices; null where there are none")
    last_session: date | None
    sessions: int = Field(description="Bars that are stored")
    source: Source | None = Field(description="`synthetic` prices are invented, not market data")
    adjustment: Adjustment | None
    stale: bool = Field(description="A later session has already ended")
    sessions_behind: int = Field(description="Sessions that have ended since the last bar")
    version: str | None = Field(description="Of the champion; null where there is none")
    recipe: str | None
    trained_at: datetime | None = Field(description="UTC")
    trained_through: date | None


class ServiceStateOut(Out):
    """Whether something that this service asks answers."""

    status: Literal["up", "down"]
    detail: str
    checked_at: datetime = Field(description="UTC; looked at again after some seconds")


class JobOut(Out):
    """What works beside this service, as the database knows it."""

    at_work: bool = Field(description="Holds its lease now: one of its processes lives")
    last_done: datetime | None = Field(description="UTC, of what it finished last; null: nothing")
    last_deed: str | None = Field(description="What that was, such as `drift check of AAPL`")
    waiting: int = Field(description="Requests that wait for it or are in its hands")
    next_round: datetime | None = Field(
        description="UTC, when the monitor's loop is due after the next close of an exchange; "
        "null for the trainer, which looks every few seconds, and while nobody is at work"
    )


class InfoOut(Out):
    """Configuration in use, tickers, and the state of what this service asks."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "Stock forecasting",
                "version": VERSION,
                "disclaimer": "A research tool, not investment advice.",
                "mlflow_url": "http://127.0.0.1:5000",
                "settings": {"recipe": "panel", "prediction_steps": 30, "as_of": None},
                "tickers": [
                    {
                        "ticker": "AAPL",
                        "configured": True,
                        "currency": "USD",
                        "first_session": "2020-01-02",
                        "last_session": "2025-12-31",
                        "sessions": 1508,
                        "source": "file",
                        "adjustment": "split",
                        "stale": False,
                        "sessions_behind": 0,
                        "version": "3",
                        "recipe": "panel",
                        "trained_at": "2026-01-17T22:52:54Z",
                        "trained_through": "2025-12-31",
                    }
                ],
                "services": {
                    "mlflow": {
                        "status": "up",
                        "detail": "answers",
                        "checked_at": "2026-01-18T06:00:00Z",
                    }
                },
                "jobs": {
                    "monitor": {
                        "at_work": True,
                        "last_done": "2026-01-16T21:31:40Z",
                        "last_deed": "drift check of AAPL",
                        "waiting": 0,
                        "next_round": "2026-01-20T21:30:00Z",
                    }
                },
                "total": 1,
                "next_offset": None,
                "libraries": {},
            }
        }
    )

    name: str
    version: str = Field(description="Of this API")
    disclaimer: str
    mlflow_url: str = Field(description="Where a browser finds the tracking server's pages")
    settings: dict[str, Setting] = Field(
        description="What is learnt and served; no secret, no path, no address"
    )
    tickers: list[TickerInfoOut]
    services: dict[str, ServiceStateOut] = Field(
        description="`mlflow`, `database`, `monitor`, `trainer`, and every source of prices"
    )
    jobs: dict[str, JobOut] = Field(
        default={}, description="`trainer` and `monitor`; empty while the database is away"
    )
    total: int = Field(description=f"{TOTAL_HELP}: tickers")
    next_offset: int | None = Field(description=NEXT_HELP)
    libraries: dict[str, str] = Field(
        default={},
        description="Versions this service computes with; told to keys of the scope operate only",
    )
