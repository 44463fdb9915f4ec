"""What the service says about itself."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from contracts import VERSION
from schemas.common import NEXT_HELP, TOTAL_HELP, Out


class ServiceOut(Out):
    """What this service is."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "Stock forecasting",
                "version": VERSION,
                "disclaimer": "A research tool, not investment advice.",
                "links": {"documentation": "/docs"},
            }
        }
    )

    name: str
    version: str
    disclaimer: str
    links: dict[str, str]


class HealthOut(Out):
    """The process answers; says nothing about models."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"status": "healthy", "version": VERSION}}
    )

    status: Literal["healthy"] = "healthy"
    version: str


class ReadyOut(Out):
    """By configured ticker, why it cannot answer; null when it can."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"status": "ready", "tickers": {"AAPL": None}, "refused": {}}}
    )

    status: Literal["ready"] = "ready"
    tickers: dict[str, str | None]
    refused: dict[str, str] = Field(
        default_factory=dict,
        description="Tickers whose newest version was refused and whose former one answers: why",
    )


class TickersOut(Out):
    """Tickers that are configured or have a model, all of them or a page."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"tickers": ["AAPL", "MSFT"], "total": 2, "next_offset": None}
        }
    )

    tickers: list[str]
    total: int = Field(description=f"{TOTAL_HELP} that fit the search")
    next_offset: int | None = Field(description=NEXT_HELP)
