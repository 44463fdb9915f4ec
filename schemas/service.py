"""What the service says about itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.common import Out


class ServiceOut(Out):
    """What this service is."""

    name: str
    version: str
    disclaimer: str
    links: dict[str, str]


class HealthOut(Out):
    """The process answers; says nothing about models."""

    status: Literal["healthy"] = "healthy"
    version: str


class ReadyOut(Out):
    """By configured ticker, why it cannot answer; null when it can."""

    status: Literal["ready"] = "ready"
    tickers: dict[str, str | None]
    refused: dict[str, str] = Field(
        default_factory=dict,
        description="Tickers whose newest version was refused and whose former one answers: why",
    )


class TickersOut(Out):
    """Tickers that are configured or have a model."""

    tickers: list[str]
