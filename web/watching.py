"""Routes about what watching the served models found, and how their forecasts turned out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from schemas import (
    REPORT_PATTERN,
    CheckAskedOut,
    DriftHistoryOut,
    DriftOut,
    DriftsOut,
    PerformanceOut,
    ReportsOut,
)
from web.dependencies import DeskDep, OffsetQuery, PageQuery, PagesDep, TickerPath
from web.keys import OperatorDep
from web.problems import may_answer

router = APIRouter(tags=["watching"])

ReportPath = Annotated[
    str, Path(pattern=REPORT_PATTERN, description="A name that `/reports` or a check tells")
]
ChecksQuery = Annotated[int, Query(ge=1, le=250, description="Checks at most")]
_PAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The page, with its scripts inside; a browser gives it no origin",
        "content": {"text/html": {"schema": {"type": "string"}, "example": "<!DOCTYPE html>"}},
    }
}


@router.get(
    "/performance/{ticker}",
    summary="How served forecasts turned out",
    responses=may_answer(404, 422, 503),
)
def performance(ticker: TickerPath, pages: PagesDep) -> PerformanceOut:
    """Live errors by model version and step, beside repeating the last close on the same days."""
    return PerformanceOut.of(pages.performance(ticker))


@router.get(
    "/drift", summary="The latest drift check of every ticker", responses=may_answer(422, 503)
)
def drifts(pages: PagesDep, limit: PageQuery = 100, offset: OffsetQuery = 0) -> DriftsOut:
    """What the monitor wrote last; nothing is checked by asking."""
    return pages.drifts(limit, offset)


@router.get(
    "/drift/{ticker}", summary="The latest drift check", responses=may_answer(404, 422, 503)
)
def drift(ticker: TickerPath, desk: DeskDep) -> DriftOut:
    """Whether today's prices still look like those the model learnt from."""
    return DriftOut.of(desk.drift(ticker))


@router.get(
    "/drift/{ticker}/history",
    summary="Past drift checks",
    responses=may_answer(404, 422, 503),
)
def drift_history(ticker: TickerPath, pages: PagesDep, limit: ChecksQuery = 30) -> DriftHistoryOut:
    """The newest first; none where the ticker was never checked."""
    return pages.drift_history(ticker, limit)


@router.post(
    "/drift/{ticker}",
    status_code=202,
    summary="Ask for a drift check",
    responses=may_answer(403, 404, 422, 503),
)
def ask_check(
    ticker: TickerPath, pages: PagesDep, response: Response, _operator: OperatorDep
) -> CheckAskedOut:
    """Queue a check for the monitor; asking again while one waits changes nothing.

    Needs a key of scope operate where keys are on; without keys it is open to this machine only.
    """
    asked = pages.ask_check(ticker)
    response.headers["Location"] = f"/drift/{asked.ticker}"
    return asked


@router.get("/reports", summary="Drift reports there are", responses=may_answer(422, 503))
def reports(pages: PagesDep, limit: PageQuery = 100, offset: OffsetQuery = 0) -> ReportsOut:
    """The pages of the newest checks, with the sizes of the samples they compare."""
    return pages.reports(limit, offset)


@router.get(
    "/reports/{name}",
    summary="A drift report",
    response_class=Response,
    responses=_PAGE | may_answer(404, 422, 503),
)
def report(name: ReportPath, pages: PagesDep) -> Response:
    """One page as the monitor wrote it."""
    return Response(pages.report(name), media_type="text/html")  # in a sandbox: web/headers.py
