"""A desk with invented but valid answers, for tests of the HTTP service and of the page.

`uvicorn --app-dir tests fake_desk:app` serves it, which also helps when working on the page.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from answers import forecast_answer
from app import create_app
from contracts import (
    Answer,
    Band,
    BaseIdentity,
    Calibration,
    Champion,
    DriftVerdict,
    Event,
    FeatureDrift,
    Forecast,
    ForecastingError,
    LiveScores,
    ModelCard,
    ModelIdentity,
    NoChampion,
    NoDriftCheck,
    NoScores,
    Performance,
    PerformanceRow,
    Prices,
    Probability,
    Provenance,
    Reliability,
    Skill,
    Span,
    StepScore,
    TrackingUnavailable,
    UnknownReport,
    UnknownRun,
    UnknownTicker,
    WalkForward,
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
    RunOut,
    RunsOut,
    ScoresOut,
    ServiceStateOut,
    TickerInfoOut,
    part_of,
)
from web.metrics import GaugeRow

AS_OF = date(2025, 12, 31)
REPORT = "AAPL_data_drift_20260118.html"
PAGE = b"<!DOCTYPE html><title>Data drift</title><p>1068 reference rows, 60 current ones</p>"
RUN_ID = "9c1185a5c5e9fc54612808977ee8f548"
BUNDLE = "AAPL_lstm_20260117_225254"
TRAINED_AT = datetime(2026, 1, 17, 22, 52, 54, tzinfo=UTC)
SKILL = Skill(
    baseline="last_close",
    rmse_ratio=3.1,
    direction_accuracy=0.53,
    p_value=0.0004,
    verdict="worse than the last price",
    crps_ratio=0.97,
    crps_p_value=0.02,
)
OWN = ModelIdentity(
    version="3",
    bundle=BUNDLE,
    recipe="mlops_64_64_32",
    trained_at=TRAINED_AT,
    trained_through=AS_OF,
)
COLD = ModelIdentity(
    version="2023-12-29",
    bundle="pretrained/2023-12-29",
    recipe="pooled_direct",
    trained_at=TRAINED_AT,
    trained_through=date(2023, 12, 29),
    mode="direct",
    cold_start=True,
)
FILE = Provenance(
    source="file",
    adjustment="split",
    fetched_at=TRAINED_AT,
    first_session=date(2020, 1, 2),
    last_session=AS_OF,
    rows=1509,
    sha256="ab" * 32,
)


def sessions(steps: int) -> tuple[date, ...]:
    """Weekdays after AS_OF without New Year's Day: near enough to an exchange."""
    days = (AS_OF + timedelta(days=n) for n in range(2, 3 * steps + 8))
    return tuple(day for day in days if day.weekday() < 5)[:steps]


def make_forecast(
    ticker: str = "AAPL", steps: int = 30, smoothing: bool = True, data: Provenance = FILE
) -> Forecast:
    """A slowly waving forecast around 272 dollars."""
    prices = tuple(271.0 + 4.0 * math.sin(step / 5) + step / 10 for step in range(steps))
    smooth = tuple(271.0 + 3.0 * math.sin(step / 5 - 0.4) + step / 10 for step in range(steps))
    return Forecast(
        ticker=ticker,
        currency="USD",
        as_of=AS_OF,
        dates=sessions(steps),
        normalised=tuple(price / 300 for price in prices),
        prices=prices,
        smoothed_normalised=tuple(price / 300 for price in smooth) if smoothing else None,
        smoothed_prices=smooth if smoothing else None,
        bands={"80": make_band(prices, 0.015), "95": make_band(prices, 0.027)},
        last_normalised=272.72 / 300,
        last_mid=272.72,
        last_close=271.86,
        provenance=data,
        model=OWN,
        skill=SKILL,
    )


def make_probability(
    ticker: str = "AAPL",
    steps: int = 30,
    event: Event = "above",
    level: float = 300.0,
    data: Provenance = FILE,
) -> Probability:
    """What a random walk from 272 dollars would say, never quite certain."""
    away = (math.log(level) - math.log(272.72)) / (0.02 * math.sqrt(2 * steps))
    chances = {
        "above": 0.5 * math.erfc(away),
        "below": 0.5 * math.erfc(-away),
        "touch": math.erfc(abs(away)),
    }
    return Probability(
        ticker=ticker,
        currency="USD",
        as_of=AS_OF,
        date=sessions(steps)[-1],
        steps=steps,
        event=event,
        level=level,
        probability=min(max(chances[event], 0.0005), 0.9995),
        paths=1000,
        last_mid=272.72,
        last_close=271.86,
        provenance=data,
        model=OWN,
        skill=SKILL,
    )


def make_band(prices: tuple[float, ...], width: float) -> Band:
    """Widening like a random walk."""
    widths = [width * math.sqrt(step) for step in range(1, len(prices) + 1)]
    return Band(
        lower=tuple(p * math.exp(-w) for p, w in zip(prices, widths, strict=True)),
        upper=tuple(p * math.exp(w) for p, w in zip(prices, widths, strict=True)),
    )


def make_champion(ticker: str = "AAPL") -> Champion:
    """A model three times worse than the last close, and one score that is not defined."""
    scores = {
        "lstm": {"mse": 65.8, "mae": 6.32, "rmse": 8.11, "direction_accuracy": 0.53},
        "last_mid": {"mse": 8.5, "mae": 2.15, "rmse": 2.91, "direction_accuracy": None},
        "last_close": {"mse": 6.9, "mae": 1.98, "rmse": 2.62, "direction_accuracy": 0.71},
        "arima": {"mse": 7.5, "mae": 2.04, "rmse": 2.74, "direction_accuracy": math.nan},
    }
    card = ModelCard(
        ticker=ticker,
        recipe={"name": "mlops_64_64_32", "units": [64, 64, 32], "dropout": 0.5},
        seed=42,
        trained_at=TRAINED_AT,
        trained_through=AS_OF,
        start_date=date(2020, 1, 1),
        train=Span(first=date(2020, 1, 2), last=date(2024, 4, 1), rows=1068),
        validation=Span(first=date(2024, 4, 2), last=date(2024, 10, 15), rows=137),
        test=Span(first=date(2024, 10, 16), last=AS_OF, rows=304),
        data=FILE,
        calibration=Calibration(
            origins=120,
            levels=(0.1, 0.5, 0.9),
            quantiles=((-1.3, 0.0, 1.2), (-1.4, 0.1, 1.3), None),
            pooled=0.25,
        ),
        scores=scores,
        skill=SKILL,
        parity=2e-7,
        base=BaseIdentity(
            name="2023-12-29", trained_through=date(2023, 12, 29), tickers=95, shipped=True
        ),
        shrinkage=0.35,
        versions={"tensorflow": "2.21.0"},
        git_revision="0123456",
        run_id=RUN_ID,
        notes=("no dividends in this series",),
    )
    return Champion(version="3", bundle=BUNDLE, card=card)


def make_drift(ticker: str = "AAPL") -> DriftVerdict:
    """One check with an alarm on one of two features."""
    return DriftVerdict(
        ticker=ticker,
        checked_at=datetime(2026, 1, 18, 6, 0, tzinfo=UTC),
        as_of=AS_OF,
        alarm=True,
        summary="The daily range of AAPL has widened since training; the returns have not.",
        features=(
            FeatureDrift(
                feature="return", method="ks", distance=0.08, threshold=0.21, drifted=False
            ),
            FeatureDrift(feature="range", method="ks", distance=0.34, threshold=0.21, drifted=True),
        ),
        reference_rows=1068,
        current_rows=60,
        rmse_ratio_reference=3.1,
        rmse_ratio_current=3.4,
        model_version="3",
        data_source="file",
        reports=(REPORT,),
    )


def make_prices(ticker: str = "AAPL", data: Provenance = FILE, count: int = 300) -> Prices:
    """Weekdays that end with AS_OF, at the forecast's last mid and close; MSFT moves against."""
    days = [AS_OF - timedelta(days=n) for n in range(2 * count)]
    dates = pd.DatetimeIndex(sorted([day for day in days if day.weekday() < 5][:count]))
    side = -1.0 if ticker == "MSFT" else 1.0
    wave = np.array([math.sin((count - 1 - n) / 7 + (n % 5) / 9) for n in range(count)])
    mids = 272.72 * np.exp(0.02 * side * (wave - wave[-1]))
    bars = {
        "Date": dates,
        "Open": mids * 0.999,
        "High": mids * 1.01,
        "Low": mids * 0.99,
        "Close": mids * (271.86 / 272.72),
        "Adj Close": mids,
        "Volume": 1e6 + 1000.0 * np.arange(count),
    }
    return Prices(ticker, pd.DataFrame(bars), data)


def make_score(model: str, step: int, ratio: float, p_value: float) -> StepScore:
    """Scores that are `ratio` times the last close's, with the verdict that follows."""
    size, itself = 2.6 * math.sqrt(step), model == "last_close"
    lost = ratio > 1 and p_value < 0.05
    verdict = "worse than the last price" if lost else "no better than the last price"
    return StepScore(
        model=model,
        step=step,
        rmse=size * ratio,
        mae=0.75 * size * ratio,
        direction_accuracy=None if model == "last_mid" else 0.53,
        crps=0.55 * size * ratio,
        coverage_80=0.79,
        coverage_95=0.94,
        rmse_ratio=ratio,
        p_value=p_value,
        verdict=None if itself else verdict,
        crps_ratio=ratio,
        crps_p_value=p_value,
        crps_verdict=None if itself else verdict,
    )


def make_walk() -> WalkForward:
    """Two steps: the model is level with the last close at one, and worse at thirty."""
    found = {
        1: {"lstm": (1.002, 0.6), "last_mid": (1.1, 0.001), "arima": (1.04, 0.02)},
        30: {"lstm": (1.2, 0.01), "last_mid": (1.01, 0.3), "arima": (1.02, 0.2)},
    }
    return WalkForward(
        baseline="last_close",
        first_origin=date(2024, 10, 16),
        last_origin=date(2025, 11, 17),
        origins=272,
        steps=(1, 30),
        scores=tuple(
            make_score(model, step, *facts)
            for step, rows in found.items()
            for model, facts in {**rows, "last_close": (1.0, 1.0)}.items()
        ),
        reliability=tuple(
            Reliability(step=step, nominal=(0.1, 0.5, 0.9), observed=(0.12, 0.48, 0.89))
            for step in (1, 30)
        ),
    )


def make_info(known: Sequence[str], data: Provenance = FILE) -> InfoOut:
    """What a service would say that has these tickers and no tracking server."""
    card = make_champion().card
    tickers = [
        TickerInfoOut(
            ticker=ticker,
            configured=True,
            currency="USD",
            first_session=data.first_session,
            last_session=data.last_session,
            sessions=data.rows,
            source=data.source,
            adjustment=data.adjustment,
            stale=data.stale,
            sessions_behind=data.sessions_behind,
            version="3",
            recipe="mlops_64_64_32",
            trained_at=card.trained_at,
            trained_through=card.trained_through,
        )
        for ticker in known
    ]
    checked = datetime(2026, 1, 18, 6, 0, tzinfo=UTC)
    return InfoOut(
        name="Stock forecasting",
        version="0.1.0",
        disclaimer="A research tool, not investment advice.",
        mlflow_url="http://127.0.0.1:5000",
        settings={"recipe": "panel", "prediction_steps": 30, "as_of": None, "refresh": True},
        tickers=tickers,
        services={
            "mlflow": ServiceStateOut(
                status="down", detail="tracking unavailable", checked_at=checked
            ),
            "database": ServiceStateOut(status="up", detail="answers", checked_at=checked),
        },
        total=len(known),
        next_offset=None,
    )


def make_performance(ticker: str = "AAPL") -> Performance:
    """Forty settled steps of one version: a little worse than the last close."""
    ours = LiveScores(
        rmse=2.7, mae=2.1, direction=0.55, coverage_80=0.8, coverage_95=0.95, crps=1.5
    )
    close = LiveScores(
        rmse=2.6, mae=2.0, direction=0.56, coverage_80=None, coverage_95=None, crps=2.0
    )
    row = PerformanceRow(
        version="3",
        mode="recursive",
        cold_start=False,
        synthetic=False,
        adjustment="split",
        step=1,
        n=40,
        first=date(2025, 11, 3),
        last=AS_OF,
        model=ours,
        last_close=close,
        rmse_ratio=1.04,
        crps_ratio=0.97,
        p_value=0.4,
    )
    return Performance(
        ticker=ticker,
        currency="USD",
        promises=41,
        settled=80,
        waiting=30,
        unscaled=0,
        revised=1,
        through=AS_OF,
        settled_at=datetime(2026, 1, 1, 6, 0, tzinfo=UTC),
        rows=(row, replace(row, step=None, n=80)),
    )


def make_runs(ticker: str = "AAPL") -> RunsOut:
    """The champion's run and one of another recipe that failed."""
    ours = RunOut(
        run_id=RUN_ID,
        name=f"{ticker}_training",
        status="FINISHED",
        recipe="mlops_64_64_32",
        started_at=TRAINED_AT,
        seconds=163.2,
        parent=None,
        version="3",
        champion=True,
        best=True,
        parameters={"recipe": "mlops_64_64_32", "epochs": "50"},
        metrics={"rmse_ratio": 3.1, "crps_ratio": 0.97},
        url=f"http://127.0.0.1:5000/#/experiments/1/runs/{RUN_ID}",
    )
    lost = {"run_id": "0" * 32, "status": "FAILED", "recipe": "panel", "version": None}
    other = ours.model_copy(
        update={**lost, "champion": False, "best": False, "metrics": {}, "seconds": None}
    )
    return RunsOut(
        ticker=ticker,
        runs=[ours, other],
        next_before=None,
        best_by="rmse_ratio",
        url="http://127.0.0.1:5000/#/experiments/1",
    )


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
