"""Pages over invented bars, for tests of the HTTP service and of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from invented_exhibits import make_info, make_performance, make_runs, make_walk
from invented_forecasts import FILE, REPORT, RUN_ID, make_drift, make_prices

from contracts import (
    Forecast,
    NoScores,
    Performance,
    Prices,
    Provenance,
    TrackingUnavailable,
    UnknownReport,
    UnknownRun,
    UnknownTicker,
)
from exhibits.history import correlations, last_bars, side_by_side
from schemas import (
    CheckAskedOut,
    CompareOut,
    CorrelationsOut,
    CurveOut,
    DataOut,
    DriftHistoryOut,
    DriftOut,
    DriftsOut,
    InfoOut,
    PricesOut,
    ReportOut,
    ReportsOut,
    RunHistoryOut,
    RunsOut,
    ScoresOut,
    part_of,
)

PAGE = b"<!DOCTYPE html><title>Data drift</title><p>1068 reference rows, 60 current ones</p>"


@dataclass
class FakePages:
    """Pages of the tickers it knows, over invented bars; `failures` are raised by ticker."""

    known: tuple[str, ...] = ("AAPL", "GOOGL", "MSFT")
    failures: Mapping[str, Exception] = field(default_factory=dict)
    source: Provenance = FILE
    scored: bool = True
    tracked: bool = True
    checked_tickers: int = 1  # of the known ones, from the first on
    asked_checks: list[str] = field(default_factory=list)
    closed: bool = False

    def prices(self, ticker: str, last: int, index: float | None) -> PricesOut:
        return last_bars(self._bars(ticker), last, index)

    def compare(
        self, forecasts: Mapping[str, Forecast], last: int, index: float | None
    ) -> CompareOut:
        pairs = {ticker: (self._bars(ticker), made) for ticker, made in forecasts.items()}
        return side_by_side(pairs, last, index)

    def correlations(self, tickers: Sequence[str], last: int) -> CorrelationsOut:
        return correlations({ticker: self._bars(ticker) for ticker in tickers}, last)

    def scores(self, ticker: str) -> ScoresOut:
        self._look_up(ticker)
        if not self.scored:
            raise NoScores(ticker)
        facts: dict[str, object] = {
            "ticker": ticker,
            "currency": "USD",
            "version": "3",
            "recipe": "mlops_64_64_32",
            "data": DataOut.model_validate(self.source),
        }
        return ScoresOut.of(make_walk(), facts)

    def runs(self, ticker: str, recipe: str | None, before: int | None, limit: int) -> RunsOut:
        self._look_up(ticker)
        if not self.tracked:
            raise TrackingUnavailable("http://user:hunter2@mlflow:5000 does not answer")
        runs = [run for run in make_runs(ticker).runs if recipe in (None, run.recipe)]
        return make_runs(ticker).model_copy(update={"runs": runs[:limit]})

    def run_history(self, ticker: str, run_id: str) -> RunHistoryOut:
        self._look_up(ticker)
        if run_id != RUN_ID:
            raise UnknownRun(ticker, run_id)
        losses = CurveOut(epochs=[0, 1, 2], values=[0.031, 0.027, 0.026])
        return RunHistoryOut(ticker=ticker, run_id=run_id, curves={"val_loss": losses})

    def performance(self, ticker: str) -> Performance:
        self._look_up(ticker)
        return make_performance(ticker)

    def drifts(self, limit: int = 100, offset: int = 0) -> DriftsOut:
        made = self.known[: self.checked_tickers]
        part, more = part_of(made, limit, offset)
        checks = [DriftOut.of(make_drift(ticker)) for ticker in part]
        rest = list(self.known[self.checked_tickers :])
        return DriftsOut(checks=checks, unchecked=rest, total=len(made), next_offset=more)

    def drift_history(self, ticker: str, limit: int) -> DriftHistoryOut:
        self._look_up(ticker)
        checks = [DriftOut.of(make_drift(ticker)) for _ in range(min(limit, 3))]
        return DriftHistoryOut(ticker=ticker, checks=checks)

    def ask_check(self, ticker: str) -> CheckAskedOut:
        self._look_up(ticker)
        self.asked_checks.append(ticker)
        return CheckAskedOut(ticker=ticker, request=12, detail="it waits for the monitor")

    def reports(self, limit: int = 100, offset: int = 0) -> ReportsOut:
        verdict = make_drift(self.known[0])
        report = ReportOut(
            name=REPORT,
            url=f"/reports/{REPORT}",
            ticker=verdict.ticker,
            checked_at=verdict.checked_at,
            as_of=verdict.as_of,
            alarm=verdict.alarm,
            reference_rows=verdict.reference_rows,
            current_rows=verdict.current_rows,
            bytes=len(PAGE),
        )
        part, more = part_of([report], limit, offset)
        return ReportsOut(reports=part, total=1, next_offset=more)

    def report(self, name: str) -> bytes:
        if name != REPORT:
            raise UnknownReport
        return PAGE

    def info(self, name: str, version: str, disclaimer: str, *, limit: int, offset: int) -> InfoOut:
        part, more = part_of(self.known, limit, offset)
        told = make_info(part, self.source)
        return told.model_copy(update={"total": len(self.known), "next_offset": more})

    def libraries(self) -> dict[str, str]:
        return {"python": "3.11.7", "numpy": "2.4.6"}

    def close(self) -> None:
        self.closed = True

    def _bars(self, ticker: str) -> Prices:
        self._look_up(ticker)
        return make_prices(ticker, self.source)

    def _look_up(self, ticker: str) -> None:
        if failure := self.failures.get(ticker):
            raise failure
        if ticker not in self.known:
            raise UnknownTicker(ticker)
