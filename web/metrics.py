"""What Prometheus may ask: how fast, how many, how old. One registry per service.

A request writes into plain counters (about a microsecond); forms are made when somebody scrapes.
Labels come from our own routes, problem codes and tickers, never from what a client typed.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol, runtime_checkable

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from contracts import LEVELS, PerformanceRow
from web.guard import Crowd
from web.visits import Visit

logger = logging.getLogger(__name__)

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class GaugeRow:
    """How old what answers for one ticker is."""

    model_age_days: float | None
    data_age_sessions: float | None
    drift_alarm: bool | None  # None: never checked


class GaugeLike(Protocol):
    """A row as whoever fills it writes it."""

    @property
    def model_age_days(self) -> float | None: ...
    @property
    def data_age_sessions(self) -> float | None: ...
    @property
    def drift_alarm(self) -> bool | None: ...


@runtime_checkable
class Gauges(Protocol):
    """What a desk can tell without any work: nothing here reads a file or asks a database."""

    def gauges(self) -> Mapping[str, GaugeLike]: ...
    def cache_counts(self) -> tuple[int, int]: ...
    def written(self) -> tuple[int, int, int]: ...
    def realised(self) -> Mapping[str, Sequence[PerformanceRow]]: ...


class Metrics(Collector):
    """Counts requests where they end; only the event loop writes, so nothing needs a lock."""

    def __init__(self, crowd: Crowd) -> None:
        self.registry = CollectorRegistry()
        self.desk: object = None  # told once it is open
        self._crowd = crowd
        self._times: dict[tuple[str, str], list[float]] = {}
        self._answers: dict[tuple[str, str, str], int] = {}
        self._problems: dict[str, int] = {}
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def count(self, visit: Visit, seconds: float) -> None:
        """Count one answered request."""
        method = visit.scope["method"]
        route = (method if method in _METHODS else "OTHER", visit.route)
        times = self._times.get(route)
        if times is None:  # a counter per bucket, the one beyond the last, and the sum
            times = self._times[route] = [0.0] * (len(BUCKETS) + 2)
        times[bisect_left(BUCKETS, seconds)] += 1
        times[-1] += seconds
        answer = (*route, _CLASSES.get(visit.status // 100, "aborted"))
        self._answers[answer] = self._answers.get(answer, 0) + 1
        if visit.problem:
            self._problems[visit.problem] = self._problems.get(visit.problem, 0) + 1

    def describe(self) -> list[Metric]:
        """Nothing beforehand: registering must not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything, as it stands now."""
        yield self._latency()
        answers = CounterMetricFamily(
            "stock_http_requests",
            "Requests answered, by route and class of status",
            labels=["method", "route", "status"],
        )
        for labels, count in list(self._answers.items()):
            answers.add_metric(list(labels), count)
        yield answers
        yield self._in_flight()
        yield _by("stock_problems", "Problem documents answered, by type", "type", self._problems)
        yield from _of_desk(self.desk)

    def _latency(self) -> Metric:
        latency = HistogramMetricFamily(
            "stock_http_request_duration_seconds",
            "From the last byte of a request's headers to the last of its answer",
            labels=["method", "route"],
        )
        names = [*map(str, BUCKETS), "+Inf"]
        for labels, times in list(self._times.items()):
            buckets = list(zip(names, accumulate(times[:-1]), strict=True))
            latency.add_metric(list(labels), buckets=buckets, sum_value=times[-1])
        return latency

    def _in_flight(self) -> Metric:
        inside = GaugeMetricFamily(
            "stock_http_requests_in_flight", "Being answered now", labels=["kind"]
        )
        for kind, count in zip(("request", "stream"), self._crowd.inside, strict=True):
            inside.add_metric([kind], count)
        return inside


_CLASSES = {1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}


def _by(name: str, told: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, told, labels=[label])
    for key, count in list(counts.items()):
        family.add_metric([key], count)
    return family


def _of_desk(desk: object) -> Iterator[Metric]:
    """Ages and counts. A desk that fails costs its own rows, never the scrape."""
    if not isinstance(desk, Gauges):
        return
    try:
        rows, (hits, misses) = desk.gauges(), desk.cache_counts()
        written, realised = desk.written(), desk.realised()
    except Exception:
        logger.exception("metrics=desk_failed")
        return
    yield from _ages(rows)
    counts = {"hit": hits, "miss": misses}
    yield _by("stock_forecast_cache", "Forecasts looked up in the cache", "outcome", counts)
    yield from _of_log(*written)
    yield from _live(realised)


def _ages(rows: Mapping[str, GaugeLike]) -> Iterator[Metric]:
    told = {
        "stock_model_age_days": ("Days since the serving model was trained", "model_age_days"),
        "stock_data_age_sessions": (
            "Exchange sessions that have ended since the newest price",
            "data_age_sessions",
        ),
        "stock_drift_alarm": ("1 where the latest drift check alarms, 0 where not", "drift_alarm"),
    }
    for name, (text, field) in told.items():
        family = GaugeMetricFamily(name, text, labels=["ticker"])
        for ticker, row in rows.items():
            if (value := getattr(row, field)) is not None:
                family.add_metric([ticker], float(value))
        yield family


LIVE = {
    "stock_live_settled_steps": ("Promised steps whose outcome is known", "n"),
    "stock_live_rmse_ratio": ("RMSE of served forecasts over that of the last close", "rmse_ratio"),
    "stock_live_rmse_p_value": ("That the two err alike, Diebold-Mariano", "p_value"),
}


def _live(realised: Mapping[str, Sequence[PerformanceRow]]) -> Iterator[Metric]:
    """Served forecasts beside what came, a step ahead and over all steps together."""
    rows = [
        ([ticker, row.version, row.mode, "all" if row.step is None else str(row.step)], row)
        for ticker, own in realised.items()
        for row in own
        if row.step in (None, 1)
    ]
    labels = ["ticker", "version", "mode", "step"]
    for name, (text, field) in LIVE.items():
        family = GaugeMetricFamily(name, text, labels=labels)
        for names, row in rows:
            if (value := getattr(row, field)) is not None:
                family.add_metric(names, float(value))
        yield family
    inside = GaugeMetricFamily(
        "stock_live_coverage", "Share of outcomes inside a band", labels=[*labels, "level"]
    )
    for names, row in rows:
        for level in LEVELS:
            if (share := getattr(row.model, f"coverage_{level}")) is not None:
                inside.add_metric([*names, level], share)
    yield inside


def _of_log(written: int, pending: int, lost: int) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "stock_forecasts_written", "Served forecasts written to the database", value=written
    )
    yield CounterMetricFamily(
        "stock_forecasts_lost", "Served forecasts that could not be written", value=lost
    )
    yield GaugeMetricFamily(
        "stock_forecasts_pending", "Served forecasts not yet written", value=pending
    )


router = APIRouter()


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request) -> Response:
    """Prometheus' text form."""
    metrics: Metrics = request.app.state.metrics
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
