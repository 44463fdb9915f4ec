"""What routes need: the desk, by what it can do, and parameters that several share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Path, Query, Request

from contracts import (
    Answer,
    Champion,
    DriftVerdict,
    Event,
    Forecast,
    ForecastingError,
    Performance,
    Probability,
)
from schemas import (
    MAX_OFFSET,
    MAX_PAGE,
    MAX_STEPS,
    STEPS_HELP,
    CheckAskedOut,
    CompareOut,
    CorrelationsOut,
    DriftHistoryOut,
    DriftsOut,
    InfoOut,
    PricesOut,
    ReportsOut,
    RunHistoryOut,
    RunsOut,
    ScoresOut,
    Ticker,
)

Made = TypeVar("Made")


class Desk(Protocol):
    """What the routes need; `desk.ForecastDesk` is the real one."""

    def at_hand(self, ticker: str, steps: int, smoothing: bool) -> Answer | None: ...
    def answer(self, ticker: str, steps: int, smoothing: bool, request_id: str) -> Answer: ...
    def answers(
        self, tickers: Sequence[str], steps: int, smoothing: bool, request_id: str
    ) -> Mapping[str, Answer | ForecastingError]: ...
    def forecast(self, ticker: str, steps: int, smoothing: bool) -> Forecast: ...
    def probability(self, ticker: str, steps: int, event: Event, level: float) -> Probability: ...
    def champion(self, ticker: str) -> Champion: ...
    def tickers(self) -> tuple[str, ...]: ...
    def readiness(self) -> Mapping[str, ForecastingError | None]: ...
    def refused(self) -> Mapping[str, ForecastingError]: ...
    def drift(self, ticker: str) -> DriftVerdict: ...
    def close(self) -> None: ...


class Pages(Protocol):
    """What a page shows beside forecasts; `exhibits.Pages` is the real one."""

    def prices(self, ticker: str, last: int, index: float | None) -> PricesOut: ...
    def compare(
        self, forecasts: Mapping[str, Forecast], last: int, index: float | None
    ) -> CompareOut: ...
    def correlations(self, tickers: Sequence[str], last: int) -> CorrelationsOut: ...
    def scores(self, ticker: str) -> ScoresOut: ...
    def runs(self, ticker: str, recipe: str | None, before: int | None, limit: int) -> RunsOut: ...
    def run_history(self, ticker: str, run_id: str) -> RunHistoryOut: ...
    def performance(self, ticker: str) -> Performance: ...
    def drifts(self, limit: int, offset: int) -> DriftsOut: ...
    def drift_history(self, ticker: str, limit: int) -> DriftHistoryOut: ...
    def ask_check(self, ticker: str) -> CheckAskedOut: ...
    def reports(self, limit: int, offset: int) -> ReportsOut: ...
    def report(self, name: str) -> bytes: ...
    def info(
        self, name: str, version: str, disclaimer: str, *, limit: int, offset: int
    ) -> InfoOut: ...
    def libraries(self) -> dict[str, str]: ...
    def close(self) -> None: ...


async def get_pages(request: Request) -> Pages:
    """The pages opened at startup."""
    pages: Pages = request.app.state.pages
    return pages


class Work(Protocol):
    """Where what blocks is done; `work_queue.WorkQueue` is the real one."""

    async def run(self, key: Hashable, make: Callable[[], Made]) -> Made: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a forecast takes."""

    desk: Desk
    work: Work
    default_steps: int  # exchange sessions


async def get_desk(request: Request) -> Desk:
    """The desk opened at startup. Asynchronous, or each request would wait for a thread."""
    desk: Desk = request.app.state.desk
    return desk


async def get_default_steps(request: Request) -> int:
    """The configured horizon, in exchange sessions."""
    steps: int = request.app.state.default_steps
    return steps


async def get_parts(request: Request) -> Parts:
    """Everything opened at startup; one dependency costs less than three."""
    state = request.app.state
    return Parts(state.desk, state.work, state.default_steps)


DeskDep = Annotated[Desk, Depends(get_desk)]
PagesDep = Annotated[Pages, Depends(get_pages)]
PartsDep = Annotated[Parts, Depends(get_parts)]
DefaultSteps = Annotated[int, Depends(get_default_steps)]
TickerPath = Annotated[Ticker, Path(description="Symbol as Yahoo writes it")]
StepsQuery = Annotated[int | None, Query(ge=1, le=MAX_STEPS, description=STEPS_HELP)]
PageQuery = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Rows at most")]
OffsetQuery = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Rows passed over")]
SmoothingQuery = Annotated[bool, Query(description="Add an exponential moving average")]
