"""What Prometheus is told: times by route, answers, problems, ages; never a client's own words."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from fake_desk import FakeDesk
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app import create_app
from config import Settings
from contracts import LiveScores, PerformanceRow
from web.guard import Crowd
from web.metrics import Metrics
from web.visits import Visit

LATENCY = "stock_http_request_duration_seconds"


def scraped(client) -> dict[tuple[str, ...], float]:
    """Sample name and label values, by label name -> value."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status(service):
    client = service()
    for path in ("/predict?ticker=AAPL", "/predict?ticker=ZZZZ", "/models/AAPL", "/models/MSFT"):
        client.get(path)
    seen = scraped(client)
    assert seen["stock_http_requests_total", "GET", "/predict", "2xx"] == 1
    assert seen["stock_http_requests_total", "GET", "/predict", "4xx"] == 1
    assert seen["stock_http_requests_total", "GET", "/models/{ticker}", "2xx"] == 2
    assert seen["stock_problems_total", "unknown_ticker"] == 1


def test_the_time_of_a_request_falls_into_its_bucket(service):
    client = service(FakeDesk(seconds=0.06))
    client.get("/predict?ticker=AAPL")
    seen = scraped(client)
    at = [(f"{LATENCY}_bucket", le, "GET", "/predict") for le in ("0.05", "10.0", "+Inf")]
    assert [seen[key] for key in at] == [0, 1, 1]
    assert seen[f"{LATENCY}_count", "GET", "/predict"] == 1
    assert 0.06 <= seen[f"{LATENCY}_sum", "GET", "/predict"] < 30


def test_what_is_unknown_is_one_row(service):
    client = service()
    for n in range(20):
        client.get(f"/nowhere/{n}")
        client.request(f"VERB{n}", "/tickers")
        client.get(f"/models/T{n}")
    routes = {key[1:3] for key in scraped(client) if key[0] == "stock_http_requests_total"}
    assert routes == {("GET", "(none)"), ("OTHER", "/tickers"), ("GET", "/models/{ticker}")}


@settings(max_examples=40)
@given(path=st.text(min_size=1, max_size=30), method=st.text(min_size=1, max_size=8))
def test_nothing_a_client_types_becomes_a_label(path, method):
    metrics = Metrics(Crowd(Settings()))
    visit = Visit({"path": path, "method": method}, {}, "id")
    visit.status = 404
    metrics.count(visit, 0.01)
    (labels,) = metrics._answers
    assert labels[1:] == ("(none)", "4xx")
    assert labels[0] in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "OTHER"}


def test_refusals_at_the_door_are_counted_too(service):
    client = service(max_body_bytes=2000)
    client.get("/tickers", headers={"Host": "evil.example.com"})
    client.post("/predict/batch", content=b"x" * 3000)
    seen = scraped(client)
    assert seen["stock_problems_total", "untrusted_host"] == 1
    assert seen["stock_problems_total", "body_too_large"] == 1


def test_a_bug_is_counted(service):
    client = service(FakeDesk(failures={"AAPL": RuntimeError("a bug")}))
    client.get("/predict?ticker=AAPL")
    seen = scraped(client)
    assert seen["stock_http_requests_total", "GET", "/predict", "5xx"] == 1
    assert seen["stock_problems_total", "internal_error"] == 1


def test_ages_and_alarms_are_told_by_ticker(service):
    seen = scraped(service(FakeDesk(known=("AAPL", "MSFT"))))
    assert seen["stock_model_age_days", "AAPL"] == 3.5
    assert seen["stock_data_age_sessions", "MSFT"] == 1
    assert (seen["stock_drift_alarm", "AAPL"], seen["stock_drift_alarm", "MSFT"]) == (1, 0)
    assert seen["stock_forecast_cache_total", "miss"] == 2
    assert seen[("stock_forecasts_written_total",)] == 5
    assert (seen[("stock_forecasts_pending",)], seen[("stock_forecasts_lost_total",)]) == (1, 0)


def test_the_scrape_sees_itself_in_flight(service):
    seen = scraped(service())
    assert seen["stock_http_requests_in_flight", "request"] == 1
    assert seen["stock_http_requests_in_flight", "stream"] == 0


def test_a_scrape_asks_the_desk_for_no_forecast(service):
    desk = FakeDesk()
    scraped(service(desk))
    assert (desk.asked, desk.weighed) == ([], [])


def a_row(step: int | None, **changes: object) -> PerformanceRow:
    scores = LiveScores(
        rmse=1.9, mae=1.5, direction=0.5, coverage_80=0.75, coverage_95=None, crps=1.1
    )
    row = PerformanceRow(
        version="3",
        mode="direct",
        cold_start=False,
        synthetic=False,
        adjustment="split",
        step=step,
        n=40,
        first=date(2025, 6, 2),
        last=date(2025, 7, 28),
        model=scores,
        last_close=scores,
        rmse_ratio=0.98,
        crps_ratio=None,
        p_value=0.4,
    )
    return replace(row, **changes)


class WatchedDesk(FakeDesk):
    def realised(self):
        return {"AAPL": (a_row(1), a_row(5), a_row(None, n=80))}


def test_how_served_forecasts_turned_out_is_told(service):
    seen = scraped(service(WatchedDesk()))
    assert seen["stock_live_settled_steps", "direct", "1", "AAPL", "3"] == 40
    assert seen["stock_live_settled_steps", "direct", "all", "AAPL", "3"] == 80
    assert seen["stock_live_rmse_ratio", "direct", "1", "AAPL", "3"] == 0.98
    assert seen["stock_live_coverage", "80", "direct", "1", "AAPL", "3"] == 0.75
    assert not [key for key in seen if key[0] == "stock_live_coverage" and key[1] == "95"]
    assert not [key for key in seen if key[0].startswith("stock_live") and "5" in key[1:]]


class BrokenDesk(FakeDesk):
    def gauges(self):
        raise RuntimeError("a bug")


def test_a_desk_that_fails_costs_its_own_rows_only(service):
    client = service(BrokenDesk())
    client.get("/tickers")
    seen = scraped(client)
    assert seen["stock_http_requests_total", "GET", "/tickers", "2xx"] == 1
    assert not [key for key in seen if key[0] == "stock_model_age_days"]


def test_two_services_in_one_process_count_apart(service):
    first, second = service(), service()
    first.get("/tickers")
    key = ("stock_http_requests_total", "GET", "/tickers", "2xx")
    assert key in scraped(first) and key not in scraped(second)


@pytest.mark.parametrize("name", ["process_resident_memory_bytes", "process_open_fds"])
def test_the_process_tells_its_size(service, name):
    assert scraped(service())[(name,)] > 0


def test_the_real_desk_tells_what_was_written_and_cached(settings):
    with TestClient(create_app(), "http://test") as client:
        seen = scraped(client)
    assert seen[("stock_forecasts_written_total",)] == 0
    assert seen["stock_forecast_cache_total", "hit"] == 0
