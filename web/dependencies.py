"""What routes need: the desk, by what it can do, and parameters that several share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol

from fastapi import Depends, Path, Query, Request

from contracts import Champion, DriftVerdict, Event, Forecast, ForecastingError, Probability
from schemas import (
    MAX_STEPS,
    STEPS_HELP,
    CompareOut,
    CorrelationsOut,
    InfoOut,
    PricesOut,
    RunHistoryOut,
    RunsOut,
    ScoresOut,
    Ticker,
)


class Desk(Protocol):
    """What the routes need; `predict.ForecastDesk` is the real one."""

    def forecast(self, ticker: str, steps: int, smoothing: bool) -> Forecast: ...
    def probability(self, ticker: str, steps: int, event: Event, level: float) -> Probability: ...
    def champion(self, ticker: str) -> Champion: ...
    def tickers(self) -> tuple[str, ...]: ...
    def readiness(self) -> Mapping[str, ForecastingError | None]: ...
    def drift(self, ticker: str) -> DriftVerdict: ...
    def close(self) -> None: ...


class Pages(Protocol):
    """What a page shows beside forecasts; `pages.Pages` is the real one."""

    def prices(self, ticker: str, last: int, index: float | None) -> PricesOut: ...
    def compare(
        self, forecasts: Mapping[str, Forecast], last: int, index: float | None
    ) -> CompareOut: ...
    def correlations(self, tickers: Sequence[str], last: int) -> CorrelationsOut: ...
    def scores(self, ticker: str) -> ScoresOut: ...
    def runs(self, ticker: str, recipe: str | None, before: int | None, limit: int) -> RunsOut: ...
    def run_history(self, ticker: str, run_id: str) -> RunHistoryOut: ...
    def info(self, name: str, version: str, disclaimer: str) -> InfoOut: ...
    def close(self) -> None: ...


def get_pages(request: Request) -> Pages:
    """The pages opened at startup."""
    pages: Pages = request.app.state.pages
    return pages


def get_desk(request: Request) -> Desk:
    """The desk opened at startup."""
    desk: Desk = request.app.state.desk
    return desk


def get_default_steps(request: Request) -> int:
    """The configured horizon, in exchange sessions."""
    steps: int = request.app.state.default_steps
    return steps


DeskDep = Annotated[Desk, Depends(get_desk)]
PagesDep = Annotated[Pages, Depends(get_pages)]
DefaultSteps = Annotated[int, Depends(get_default_steps)]
TickerQuery = Annotated[Ticker, Query(description="Symbol as Yahoo writes it")]
TickerPath = Annotated[Ticker, Path(description="Symbol as Yahoo writes it")]
StepsQuery = Annotated[int | None, Query(ge=1, le=MAX_STEPS, description=STEPS_HELP)]
SmoothingQuery = Annotated[bool, Query(description="Add an exponential moving average")]
