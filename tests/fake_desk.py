"""A desk with invented but valid answers, for tests of the HTTP service and of the page.

`uvicorn --app-dir tests fake_desk:app` serves it, which also helps when working on the page.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fake_pages import FakePages
from invented_forecasts import (
    COLD,
    FILE,
    make_champion,
    make_drift,
    make_forecast,
    make_probability,
)

from answers import forecast_answer
from app import create_app
from contracts import (
    Answer,
    Champion,
    DriftVerdict,
    Event,
    Forecast,
    ForecastingError,
    NoChampion,
    NoDriftCheck,
    PerformanceRow,
    Probability,
    Provenance,
    UnknownTicker,
)
from web.metrics import GaugeRow


@dataclass
class FakeDesk:
    """Answers for the tickers it knows; `failures` are raised by ticker."""

    known: tuple[str, ...] = ("AAPL", "GOOGL", "MSFT")
    failures: Mapping[str, Exception] = field(default_factory=dict)
    reasons: Mapping[str, ForecastingError | None] = field(default_factory=lambda: {"AAPL": None})
    source: Provenance = FILE
    checked: bool = True
    cold: bool = False  # no ticker has a model of its own
    asked: list[tuple[str, int, bool]] = field(default_factory=list)
    weighed: list[tuple[str, int, Event, float]] = field(default_factory=list)
    closed: bool = False
    seconds: float = 0.0  # a forecast takes

    def forecast(self, ticker: str, steps: int, smoothing: bool) -> Forecast:
        self.asked.append((ticker, steps, smoothing))
        time.sleep(self.seconds)
        self._look_up(ticker)
        forecast = make_forecast(ticker, steps, smoothing, self.source)
        return replace(forecast, model=COLD) if self.cold else forecast

    def at_hand(self, ticker: str, steps: int, smoothing: bool) -> Answer | None:
        return None

    def answer(self, ticker: str, steps: int, smoothing: bool, request_id: str = "") -> Answer:
        forecast = self.forecast(ticker, steps, smoothing)
        return Answer.of(forecast, json.dumps(forecast_answer(forecast)).encode())

    def answers(
        self, tickers: Sequence[str], steps: int, smoothing: bool, request_id: str = ""
    ) -> dict[str, Answer | ForecastingError]:
        found: dict[str, Answer | ForecastingError] = {}
        for ticker in tickers:
            try:
                found[ticker] = self.answer(ticker, steps, smoothing)
            except ForecastingError as error:
                found[ticker] = error
        return found

    def probability(self, ticker: str, steps: int, event: Event, level: float) -> Probability:
        self.weighed.append((ticker, steps, event, level))
        self._look_up(ticker)
        probability = make_probability(ticker, steps, event, level, self.source)
        return replace(probability, model=COLD) if self.cold else probability

    def champion(self, ticker: str) -> Champion:
        self._look_up(ticker)
        if self.cold:
            raise NoChampion(ticker)
        return make_champion(ticker)

    def tickers(self) -> tuple[str, ...]:
        return self.known

    def readiness(self) -> Mapping[str, ForecastingError | None]:
        return self.reasons

    def refused(self) -> Mapping[str, ForecastingError]:
        return {}

    def drift(self, ticker: str) -> DriftVerdict:
        self._look_up(ticker)
        if not self.checked:
            raise NoDriftCheck(ticker)
        return make_drift(ticker)

    def gauges(self) -> Mapping[str, GaugeRow]:
        return {
            ticker: GaugeRow(
                model_age_days=3.5, data_age_sessions=1.0, drift_alarm=ticker != "MSFT"
            )
            for ticker in self.known
        }

    def cache_counts(self) -> tuple[int, int]:
        return len(self.asked), 2

    def written(self) -> tuple[int, int, int]:
        return 5, 1, 0

    def realised(self) -> Mapping[str, Sequence[PerformanceRow]]:
        return {}

    def close(self) -> None:
        self.closed = True

    def _look_up(self, ticker: str) -> None:
        if failure := self.failures.get(ticker):
            raise failure
        if ticker not in self.known:
            raise UnknownTicker(ticker)


class Inline:
    """Work done at once, on the event loop."""

    async def run(self, key: Hashable, make: Callable[[], Any]) -> Any:
        return make()


def synthetic_desk() -> FakeDesk:
    """Serves invented prices and says so."""
    return FakeDesk(source=replace(FILE, source="synthetic"))


def cold_desk() -> FakeDesk:
    """Has no model of any ticker's own and answers by a base, as it says."""
    return FakeDesk(cold=True)


def stale_desk() -> FakeDesk:
    """Serves old prices and says so."""
    return FakeDesk(source=replace(FILE, stale=True, sessions_behind=4))


def failing_desk(error: ForecastingError) -> FakeDesk:
    """Fails on AAPL and knows the others."""
    return FakeDesk(failures={"AAPL": error})


app = create_app(
    lambda _: FakeDesk(seconds=float(os.environ.get("FAKE_DESK_SECONDS", "0"))),
    lambda _: FakePages(),
)
