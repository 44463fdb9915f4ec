"""Routes that a page shows beside forecasts: bars, scores, several tickers, what is in use."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from contracts import VERSION, Forecast, ForecastingError
from schemas import (
    LEAST_RETURNS,
    MAX_BARS,
    MAX_RUNS,
    RECIPE_PATTERN,
    RUN_ID_PATTERN,
    CompareIn,
    CompareOut,
    CorrelationsOut,
    InfoOut,
    PricesOut,
    ProblemOut,
    RunHistoryOut,
    RunsOut,
    ScoresOut,
    TickerList,
)
from web.about import DISCLAIMER, NAME
from web.dependencies import (
    Desk,
    OffsetQuery,
    PageQuery,
    Pages,
    PagesDep,
    PartsDep,
    TickerPath,
)
from web.keys import may_operate
from web.problems import may_answer, problem_of

router = APIRouter(tags=["pages"])

LastQuery = Annotated[int, Query(ge=1, le=MAX_BARS, description="Exchange sessions at most")]
ReturnsQuery = Annotated[
    int, Query(ge=LEAST_RETURNS, le=MAX_BARS, description="Common sessions at most")
]
IndexQuery = Annotated[
    float | None,
    Query(gt=0, le=1e6, description="Set the first mid-price shown to this, such as 100"),
]
RecipeQuery = Annotated[
    str | None, Query(pattern=RECIPE_PATTERN, description="Only runs of this recipe")
]
BeforeQuery = Annotated[
    int | None,
    Query(ge=1, le=2**53, description="Only runs that began before: milliseconds since 1970"),
]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_RUNS, description="Runs at most")]
RunPath = Annotated[str, Path(pattern=RUN_ID_PATTERN, description="As the tracking server says")]
SeveralQuery = Annotated[TickerList, Query(description="Symbols as Yahoo writes them, with commas")]


@router.get(
    "/prices/{ticker}", summary="The last bars of a ticker", responses=may_answer(404, 422, 503)
)
def prices(
    ticker: TickerPath, pages: PagesDep, last: LastQuery = 250, index: IndexQuery = None
) -> PricesOut:
    """Open, high, low, close, mid and volume by session, with where they came from."""
    return pages.prices(ticker, last, index)


@router.get("/compare", summary="Several tickers side by side", responses=may_answer(422, 503))
async def compare(
    asked: Annotated[CompareIn, Query()], parts: PartsDep, pages: PagesDep
) -> CompareOut:
    """Past mid-prices, forecasts and bands from a common session on, and a ranking by skill.

    A ticker that fails has its problem in `errors` and does not stop the rest.
    """
    steps = asked.steps or parts.default_steps
    return await parts.work.run(object(), partial(_compared, asked, steps, parts.desk, pages))


def _compared(asked: CompareIn, steps: int, desk: Desk, pages: Pages) -> CompareOut:
    made: dict[str, Forecast] = {}
    errors: dict[str, ProblemOut] = {}
    for ticker in asked.tickers:
        try:
            made[ticker] = desk.forecast(ticker, steps, False)
        except ForecastingError as error:
            errors[ticker] = problem_of(error)
    return pages.compare(made, asked.last, asked.index).model_copy(update={"errors": errors})


@router.get(
    "/scores/{ticker}",
    summary="How the model did, step by step",
    responses=may_answer(404, 422, 503),
)
def scores(ticker: TickerPath, pages: PagesDep) -> ScoresOut:
    """The champion and the baselines at the same held-out origins, 1 to 30 sessions ahead.

    Where the model is worse than repeating the last close, its `verdict` says so.
    """
    return pages.scores(ticker)


@router.get(
    "/correlations",
    summary="How tickers move together",
    responses=may_answer(404, 422, 503),
)
def correlations(
    tickers: SeveralQuery, pages: PagesDep, last: ReturnsQuery = 250
) -> CorrelationsOut:
    """Correlations of daily log returns of closes over the last sessions that all share."""
    return pages.correlations(tickers, last)


@router.get(
    "/runs/{ticker}", summary="Training runs of a ticker", responses=may_answer(404, 422, 503)
)
def runs(
    ticker: TickerPath,
    pages: PagesDep,
    recipe: RecipeQuery = None,
    before: BeforeQuery = None,
    limit: LimitQuery = 50,
) -> RunsOut:
    """From the tracking server, the newest first, with the champion's and the best one marked.

    503 `tracking_unavailable` while that server is away; everything else goes on without it.
    """
    return pages.runs(ticker, recipe, before, limit)


@router.get(
    "/runs/{ticker}/{run_id}/history",
    summary="Training curves of a run",
    responses=may_answer(404, 422, 503),
)
def run_history(ticker: TickerPath, run_id: RunPath, pages: PagesDep) -> RunHistoryOut:
    """Every metric that was logged by epoch, such as the losses of training and validation."""
    return pages.run_history(ticker, run_id)


@router.get("/info", summary="What is in use", responses=may_answer(422, 503))
def info(
    pages: PagesDep, request: Request, limit: PageQuery = 100, offset: OffsetQuery = 0
) -> InfoOut:
    """Settings without secrets and places, tickers with their data, what answers, versions.

    Only an operator is told which versions of which libraries run here.
    """
    told = pages.info(NAME, VERSION, DISCLAIMER, limit=limit, offset=offset)
    if may_operate(request):
        return told.model_copy(update={"libraries": pages.libraries()})
    return told
