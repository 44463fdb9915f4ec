"""Routes that forecast: one ticker, many, and how likely a price is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from contracts import ForecastingError
from schemas import BatchIn, BatchOut, ForecastOut, ProbabilityIn, ProbabilityOut, ProblemOut
from web.dependencies import DefaultSteps, DeskDep, SmoothingQuery, StepsQuery, TickerQuery
from web.problems import may_answer, problem_of

router = APIRouter()


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
