"""Routes about the service itself: what it is, whether it can answer, for whom."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from contracts import VERSION
from schemas import MAX_PAGE, HealthOut, ModelOut, ReadyOut, ServiceOut, TickersOut, part_of
from web.dependencies import DeskDep, OffsetQuery, TickerPath
from web.keys import may_operate
from web.problems import may_answer, problem, problem_of, respond

NAME = "Stock forecasting"
DISCLAIMER = "A research tool, not investment advice."

router = APIRouter(tags=["service"])

SearchQuery = Annotated[
    str, Query(max_length=32, description="Only symbols with this in them, in any case")
]
PageOrAllQuery = Annotated[int | None, Query(ge=1, le=MAX_PAGE, description="Tickers at most")]


@router.get("/", summary="What this service is", responses=may_answer())
def root() -> ServiceOut:
    """Name, version and where to go next."""
    links = {
        "documentation": "/docs",
        "schema": "/openapi.json",
        "health": "/health",
        "ready": "/ready",
        "tickers": "/tickers",
        "example": "/predict?ticker=AAPL&steps=30&smoothing=true",
        "probability": "/probability?ticker=AAPL&steps=30&above=300",
    }
    return ServiceOut(name=NAME, version=VERSION, disclaimer=DISCLAIMER, links=links)


@router.get("/health", summary="Is the process alive", responses=may_answer())
def health() -> HealthOut:
    """Says nothing about models; ask `/ready` for that."""
    return HealthOut(version=VERSION)


@router.get(
    "/ready",
    summary="Can every configured ticker answer",
    response_model=ReadyOut,
    responses=may_answer(503),
)
def ready(desk: DeskDep) -> Response | ReadyOut:
    """200 once every configured ticker has a usable champion; else 503 with a reason for each."""
    reasons = {
        ticker: problem_of(error).detail if error else None
        for ticker, error in desk.readiness().items()
    }
    if waiting := [ticker for ticker, reason in reasons.items() if reason]:
        detail = f"not ready: {', '.join(waiting)}; see `tickers` for the reasons"
        document = problem(503, "not_ready", detail)
        return respond(document.model_copy(update={"tickers": reasons}))
    refused = {ticker: problem_of(error).detail for ticker, error in desk.refused().items()}
    return ReadyOut(tickers=reasons, refused=refused)


@router.get("/tickers", summary="Tickers one can ask for", responses=may_answer(422, 503))
def tickers(
    desk: DeskDep,
    search: SearchQuery = "",
    limit: PageOrAllQuery = None,
    offset: OffsetQuery = 0,
) -> TickersOut:
    """The configured ones first, then any other that has a model; all of them without `limit`."""
    known, wanted = desk.tickers(), search.strip().upper()
    found = [ticker for ticker in known if wanted in ticker]
    part, more = part_of(found, limit, offset)
    return TickersOut(tickers=part, total=len(found), next_offset=more)


@router.get(
    "/models/{ticker}", summary="The model behind a ticker", responses=may_answer(404, 422, 503)
)
def model(ticker: TickerPath, desk: DeskDep, request: Request) -> ModelOut:
    """Version, bundle and card: recipe, training range, provenance, scores of every baseline.

    Only an operator is told which versions of which libraries made it.
    """
    shown = ModelOut.of(desk.champion(ticker))
    if may_operate(request):
        return shown
    return shown.model_copy(update={"card": shown.card.model_copy(update={"versions": {}})})
