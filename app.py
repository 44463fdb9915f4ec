"""The HTTP service: requests in, contracts out, every error one problem document.

Knows the forecast desk by what it can do; no model, no price file, no MLflow, no pandas.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config import Settings, get_settings
from contracts import Champion, DriftVerdict, Event, Forecast, ForecastingError, Probability
from schemas import (
    MAX_STEPS,
    STEPS_HELP,
    BatchIn,
    BatchOut,
    DriftOut,
    FieldProblem,
    ForecastOut,
    HealthOut,
    ModelOut,
    ProbabilityIn,
    ProbabilityOut,
    ProblemOut,
    ReadyOut,
    ServiceOut,
    Ticker,
    TickersOut,
)

logger = logging.getLogger(__name__)

NAME = "Stock forecasting"
VERSION = "0.1.0"
DISCLAIMER = "A research tool, not investment advice."
PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER = "30"  # seconds; a champion or a price source rarely comes back sooner

# One row per failure we can explain; test_app.py fails when a new error has no row.
STATUS_OF = {
    "unknown_ticker": 404,
    "no_drift_check": 404,
    "invalid_ticker": 422,
    "unknown_recipe": 422,
    "no_champion": 503,
    "no_base": 503,
    "not_enough_history": 503,
    "model_from_the_future": 503,
    "source_unavailable": 503,
    "bad_prices": 503,
    "bad_bundle": 503,
    "tracking_unavailable": 503,
    "log_unavailable": 503,
    "service_unavailable": 503,
    "export_mismatch": 503,
    "bad_settings": 503,
}

# Their own text may name files, addresses or passwords; it goes to the log instead.
FIXED_DETAIL = {
    "source_unavailable": "No source of prices can answer for this ticker now; try again later.",
    "bad_prices": "The stored prices of this ticker cannot be trusted; the service's log says why.",
    "bad_bundle": "The model of this ticker is incomplete or altered and was not loaded; train it "
    "again. The service's log says more.",
    "tracking_unavailable": "The tracking server does not answer; try again later.",
    "log_unavailable": "The database of served forecasts does not answer; try again later.",
    "service_unavailable": "A service that this one needs does not answer; try again later.",
    "export_mismatch": "The model of this ticker could not be exported faithfully; train it again.",
    "bad_settings": "The service is not configured correctly; its log says which setting.",
}


class Desk(Protocol):
    """What the routes need; `predict.ForecastDesk` is the real one."""

    def forecast(self, ticker: str, steps: int, smoothing: bool) -> Forecast: ...
    def probability(self, ticker: str, steps: int, event: Event, level: float) -> Probability: ...
    def champion(self, ticker: str) -> Champion: ...
    def tickers(self) -> tuple[str, ...]: ...
    def readiness(self) -> Mapping[str, ForecastingError | None]: ...
    def drift(self, ticker: str) -> DriftVerdict: ...
    def close(self) -> None: ...


def open_desk(settings: Settings) -> Desk:
    """The real desk. Imported here so that routes and schema can be had without ONNX Runtime."""
    from predict import ForecastDesk

    return ForecastDesk(settings)


def get_desk(request: Request) -> Desk:
    """The desk opened at startup."""
    desk: Desk = request.app.state.desk
    return desk


def get_default_steps(request: Request) -> int:
    """The configured horizon, in exchange sessions."""
    steps: int = request.app.state.default_steps
    return steps


def problem_of(error: ForecastingError) -> ProblemOut:
    """What a client may know about an error; the rest is logged."""
    if error.code in FIXED_DETAIL:
        logger.warning("problem=%s text=%s", error.code, error)
    detail = FIXED_DETAIL.get(error.code, str(error))
    return problem(STATUS_OF[error.code], error.code, detail)


def problem(status: int, code: str, detail: str) -> ProblemOut:
    """A problem document without extensions."""
    title = code.replace("_", " ").capitalize()
    return ProblemOut(type=f"/problems/{code}", title=title, status=status, detail=detail)


def respond(document: ProblemOut, headers: Mapping[str, str] | None = None) -> Response:
    """The document as an HTTP answer; every 503 says when to come back."""
    retry = {"Retry-After": RETRY_AFTER} if document.status == 503 else {}
    return Response(
        document.model_dump_json(),
        status_code=document.status,
        media_type=PROBLEM_TYPE,
        headers={**(headers or {}), **retry},
    )


DeskDep = Annotated[Desk, Depends(get_desk)]
DefaultSteps = Annotated[int, Depends(get_default_steps)]
TickerQuery = Annotated[Ticker, Query(description="Symbol as Yahoo writes it")]
TickerPath = Annotated[Ticker, Path(description="Symbol as Yahoo writes it")]
StepsQuery = Annotated[int | None, Query(ge=1, le=MAX_STEPS, description=STEPS_HELP)]
SmoothingQuery = Annotated[bool, Query(description="Add an exponential moving average")]

_PROBLEM_CONTENT = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}


def may_answer(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI rows for problems. `content` only: `model=` would also promise application/json."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": _PROBLEM_CONTENT}
        for status in (*statuses, 500)
    }


router = APIRouter()


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
    return ReadyOut(tickers=reasons)


@router.get("/tickers", summary="Tickers one can ask for", responses=may_answer(503))
def tickers(desk: DeskDep) -> TickersOut:
    """The configured ones first, then any other that has a model."""
    return TickersOut(tickers=list(desk.tickers()))


@router.get(
    "/models/{ticker}", summary="The model behind a ticker", responses=may_answer(404, 422, 503)
)
def model(ticker: TickerPath, desk: DeskDep) -> ModelOut:
    """Version, bundle and card: recipe, training range, provenance, scores of every baseline."""
    return ModelOut.of(desk.champion(ticker))


@router.get("/predict", summary="Forecast one ticker", responses=may_answer(404, 422, 503))
def predict(
    ticker: TickerQuery,
    desk: DeskDep,
    default_steps: DefaultSteps,
    steps: StepsQuery = None,
    smoothing: SmoothingQuery = True,
) -> ForecastOut:
    """The next mid-prices of one ticker, with a band around each and the model's honest skill."""
    return ForecastOut.of(desk.forecast(ticker, steps or default_steps, smoothing))


@router.post("/predict/batch", summary="Forecast many tickers", responses=may_answer(400, 422, 503))
def predict_batch(body: BatchIn, desk: DeskDep, default_steps: DefaultSteps) -> BatchOut:
    """Forecasts of 1 to 100 tickers; one that fails has its problem and does not stop the rest."""
    predictions: dict[str, ForecastOut] = {}
    errors: dict[str, ProblemOut] = {}
    for ticker in body.tickers:
        try:
            forecast = desk.forecast(ticker, body.steps or default_steps, body.smoothing)
            predictions[ticker] = ForecastOut.of(forecast)
        except ForecastingError as error:
            errors[ticker] = problem_of(error)
    return BatchOut(predictions=predictions, errors=errors)


@router.get("/probability", summary="How likely is a price", responses=may_answer(404, 422, 503))
def probability(
    asked: Annotated[ProbabilityIn, Query()], desk: DeskDep, default_steps: DefaultSteps
) -> ProbabilityOut:
    """The chance that the mid-price ends `above` or `below` a price, or comes to `touch` it.

    Give exactly one of the three. `above` and `below` concern the mid-price of the last session
    only; `touch` is met when that of any session up to it reaches the level.
    """
    event, level = asked.question()
    steps = asked.steps or default_steps
    return ProbabilityOut.of(desk.probability(asked.ticker, steps, event, level))


@router.get(
    "/drift/{ticker}", summary="The latest drift check", responses=may_answer(404, 422, 503)
)
def drift(ticker: TickerPath, desk: DeskDep) -> DriftOut:
    """Whether today's prices still look like those the model learnt from."""
    return DriftOut.of(desk.drift(ticker))


def explain(_: Request, error: ForecastingError) -> Response:
    """A failure we can explain."""
    return respond(problem_of(error))


def explain_request(_: Request, error: RequestValidationError) -> Response:
    """A request that does not fit the schema; what was sent is not repeated."""
    errors = [FieldProblem(loc=list(row["loc"]), msg=row["msg"]) for row in error.errors()]
    detail = "; ".join(f"{_name(row.loc)}: {row.msg}" for row in errors)
    document = problem(422, "invalid_request", detail)
    return respond(document.model_copy(update={"errors": errors}))


def _name(loc: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in loc[1:]) or str(loc[0])


def explain_http(_: Request, error: HTTPException) -> Response:
    """An unknown route, a wrong method."""
    status = HTTPStatus(error.status_code)
    code = status.name.lower()
    document = problem(status, code, f"{status.phrase}: {status.description or error.detail}")
    return respond(document, error.headers)


def explain_crash(_: Request, _error: Exception) -> Response:
    """A bug: fixed text out; the server logs the traceback."""
    detail = "The service failed unexpectedly; its log says why."
    return respond(problem(500, "internal_error", detail))


class PlainStartupError:
    """Middleware: a startup failure that we can explain is one line, not a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def shorten(message: Message) -> None:
            reason = getattr(scope["app"].state, "startup_error", None)
            if message["type"] == "lifespan.startup.failed" and reason:
                message = {**message, "message": reason}
            await send(message)

        await self.app(scope, receive, shorten if scope["type"] == "lifespan" else send)


def create_app(desk_factory: Callable[[Settings], Desk] = open_desk) -> FastAPI:
    """Build the routes; settings are read and the desk is opened when the server starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        """Open the desk before the first request, close it after the last."""
        try:
            settings = get_settings()
            logging.basicConfig(level=settings.log_level)  # nothing happens where it is set up
            app.state.default_steps = settings.prediction_steps
            app.state.desk = desk_factory(settings)
        except ForecastingError as error:
            app.state.startup_error = f"{error.code}: {error}"
            raise
        try:
            yield
        finally:
            app.state.desk.close()

    app = FastAPI(title=NAME, version=VERSION, summary=DISCLAIMER, lifespan=lifespan)
    app.include_router(router)
    app.add_middleware(PlainStartupError)
    app.exception_handler(ForecastingError)(explain)
    app.exception_handler(RequestValidationError)(explain_request)
    app.exception_handler(HTTPException)(explain_http)
    app.exception_handler(Exception)(explain_crash)
    return app


app = create_app()
