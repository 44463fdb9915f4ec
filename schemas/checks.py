"""Bodies about many drift checks, what asks for one, and the reports they left."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import ConfigDict, Field

from schemas.common import NEXT_HELP, TOTAL_HELP, Out
from schemas.watching import DRIFT_EXAMPLE, DriftOut

# a file name, never a path: a symbol, what it is about, `.html`
REPORT_PATTERN = r"^\^?[A-Za-z0-9.=\-]{1,30}_[a-z0-9_]{1,60}\.html$"


class DriftsOut(Out):
    """The newest check of every ticker, a page at a time."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "checks": [DRIFT_EXAMPLE],
                "unchecked": ["MSFT"],
                "total": 1,
                "next_offset": None,
            }
        }
    )

    checks: list[DriftOut] = Field(description="Alarms first, then in the order of the tickers")
    unchecked: list[str] = Field(description="Tickers that no check has been made of yet")
    total: int = Field(description=f"{TOTAL_HELP}: checks")
    next_offset: int | None = Field(description=NEXT_HELP)


class DriftHistoryOut(Out):
    """Past checks of one ticker, the newest first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"ticker": "AAPL", "checks": [DRIFT_EXAMPLE]}}
    )

    ticker: str
    checks: list[DriftOut]


class CheckAskedOut(Out):
    """A check that waits for the monitor to make it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "ticker": "AAPL",
                "status": "queued",
                "request": 12,
                "detail": "the monitor makes it when it is next awake; /drift/AAPL shows it then",
            }
        }
    )

    ticker: str
    status: Literal["queued"] = "queued"
    request: int = Field(description="The same number while the same wish is still waiting")
    detail: str


class ReportOut(Out):
    """One page of a drift check."""

    name: str
    url: str = Field(description="Path of the page at this service")
    ticker: str
    checked_at: datetime = Field(description="UTC")
    as_of: date = Field(description="Last session in the current sample")
    alarm: bool
    reference_rows: int = Field(description="Sessions of the champion's training sample")
    current_rows: int = Field(description="Sessions that were compared with them")
    bytes: int


class ReportsOut(Out):
    """The pages that the newest checks left."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "reports": [
                    {
                        "name": "AAPL_data_drift.html",
                        "url": "/reports/AAPL_data_drift.html",
                        "ticker": "AAPL",
                        "checked_at": "2026-01-18T06:00:00Z",
                        "as_of": "2025-12-31",
                        "alarm": True,
                        "reference_rows": 1068,
                        "current_rows": 60,
                        "bytes": 4012345,
                    }
                ],
                "total": 1,
                "next_offset": None,
            }
        }
    )

    reports: list[ReportOut]
    total: int = Field(description=TOTAL_HELP)
    next_offset: int | None = Field(description=NEXT_HELP)
