"""The dashboard's door: what it asks, what it understands, and how it says that it cannot."""

from __future__ import annotations

import httpx
import pytest
from fake_pages import PAGE, FakePages
from invented_exhibits import make_info, make_performance, make_runs
from invented_forecasts import (
    REPORT,
    RUN_ID,
    make_champion,
    make_drift,
    make_forecast,
    make_probability,
)

from answers import forecast_answer, probability_answer
from api_client import ForecastClient, forecast_path, probability_path, wire
from contracts import NoDriftCheck, NoScores, ServiceUnavailable, TrackingUnavailable, UnknownReport
from schemas import DriftOut, ForecastOut, ModelOut, PerformanceOut, ProbabilityOut

BASE = "http://service:8000"


def client_for(answer) -> ForecastClient:
    """A real client on a pretend wire; `answer` is a handler or one fixed response."""
    handler = answer if callable(answer) else lambda _: answer
    return ForecastClient(BASE, httpx.MockTransport(handler))


def problem(status: int, code: str, detail: str, **more: object) -> httpx.Response:
    body = {"type": f"/problems/{code}", "title": code, "status": status, "detail": detail, **more}
    return httpx.Response(status, json=body, headers={"content-type": "application/problem+json"})


CALLS = {
    "tickers": lambda client: client.tickers(),
    "forecast": lambda client: client.forecast("AAPL", 30, True),
    "probability": lambda client: client.probability("AAPL", 30, "above", 300.0),
    "model": lambda client: client.model("AAPL"),
    "drift": lambda client: client.drift("AAPL"),
    "ready": lambda client: client.ready(),
    "prices": lambda client: client.prices("AAPL", 20, 100.0),
    "compare": lambda client: client.compare(["AAPL", "MSFT"], 5, 20, 100.0),
    "scores": lambda client: client.scores("AAPL"),
    "correlations": lambda client: client.correlations(["AAPL", "MSFT"], 60),
    "info": lambda client: client.info(),
    "runs": lambda client: client.runs("AAPL", "panel", 1700000000000, 5),
    "run_history": lambda client: client.run_history("AAPL", RUN_ID),
    "performance": lambda client: client.performance("AAPL"),
    "drifts": lambda client: client.drifts(),
    "drift_history": lambda client: client.drift_history("AAPL", 2),
    "ask_check": lambda client: client.ask_check("AAPL"),
    "reports": lambda client: client.reports(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def test_a_forecast_arrives_as_it_was_sent():
    sent = forecast_answer(make_forecast("AAPL", 5))
    received = client_for(httpx.Response(200, json=sent)).forecast("AAPL", 5, True)
    assert received == ForecastOut.of(make_forecast("AAPL", 5))
    assert received.model_dump(mode="json") == sent


def test_a_forecast_is_asked_for_by_ticker_steps_and_smoothing():
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json=forecast_answer(make_forecast("EURUSD=X", 7, False)))

    client_for(answer).forecast("EURUSD=X", 7, False)
    assert asked[0].path == "/predict"
    assert dict(asked[0].params) == {"ticker": "EURUSD=X", "steps": "7", "smoothing": "false"}


def test_a_probability_arrives_as_it_was_sent():
    asked = make_probability("AAPL", 5, "touch", 290.0)
    sent = probability_answer(asked)
    received = client_for(httpx.Response(200, json=sent)).probability("AAPL", 5, "touch", 290.0)
    assert received == ProbabilityOut.of(asked)
    assert received.model_dump(mode="json") == sent


@pytest.mark.parametrize("event", ["above", "below", "touch"])
@pytest.mark.parametrize("level", [271.86, 1e-7, 1e22])
def test_a_probability_is_asked_for_by_one_event_and_its_level(event, level):
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        sent = probability_answer(make_probability("EURUSD=X", 7, event, level))
        return httpx.Response(200, json=sent)

    client_for(answer).probability("EURUSD=X", 7, event, level)
    assert asked[0].path == "/probability"
    assert set(asked[0].params) == {"ticker", "steps", event}
    assert (asked[0].params["ticker"], asked[0].params["steps"]) == ("EURUSD=X", "7")
    assert float(asked[0].params[event]) == level


def test_a_forecast_without_the_new_fields_is_not_believed():
    sent = forecast_answer(make_forecast("AAPL", 5))
    del sent["cold_start"]
    with pytest.raises(ServiceUnavailable, match="same version"):
        client_for(httpx.Response(200, json=sent)).forecast("AAPL", 5, True)


def test_symbols_are_escaped_in_addresses():
    said = probability_path("^GSPC", 30, "below", 1e22)
    assert said == "/probability?ticker=%5EGSPC&steps=30&below=1e%2B22"
    assert forecast_path("^GSPC", 30, True) == "/predict?ticker=%5EGSPC&steps=30&smoothing=true"


@pytest.mark.parametrize("ticker", ["^GSPC", "EURUSD=X", "0700.HK"])
def test_any_symbol_reaches_its_model(ticker):
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == f"/models/{ticker}"
        return httpx.Response(200, content=ModelOut.of(make_champion(ticker)).model_dump_json())

    assert client_for(answer).model(ticker).ticker == ticker


def test_a_model_arrives_with_its_scores_and_the_undefined_one_is_none():
    sent = ModelOut.of(make_champion())
    received = client_for(httpx.Response(200, content=sent.model_dump_json())).model("AAPL")
    assert received.card.scores["last_close"]["rmse"] == 2.62
    assert received.card.scores["last_mid"]["direction_accuracy"] is None
    assert received == sent


def test_a_drift_verdict_arrives_as_it_was_sent():
    sent = DriftOut.of(make_drift())
    received = client_for(httpx.Response(200, content=sent.model_dump_json())).drift("AAPL")
    assert received == sent


PAGES = FakePages()
ANSWERS = {
    "prices": (PAGES.prices("AAPL", 20, 100.0), "/prices/AAPL?last=20&index=100.0"),
    "compare": (
        PAGES.compare({"AAPL": make_forecast("AAPL", 5)}, 20, 100.0),
        "/compare?tickers=AAPL%2CMSFT&steps=5&last=20&index=100.0",
    ),
    "scores": (PAGES.scores("AAPL"), "/scores/AAPL"),
    "correlations": (
        PAGES.correlations(["AAPL", "MSFT"], 60),
        "/correlations?tickers=AAPL%2CMSFT&last=60",
    ),
    "info": (make_info(("AAPL",)), "/info?limit=100&offset=0"),
    "runs": (
        make_runs(),
        "/runs/AAPL?recipe=panel&before=1700000000000&limit=5",
    ),
    "run_history": (PAGES.run_history("AAPL", RUN_ID), f"/runs/AAPL/{RUN_ID}/history"),
    "performance": (PerformanceOut.of(make_performance()), "/performance/AAPL"),
    "drifts": (PAGES.drifts(), "/drift?limit=100&offset=0"),
    "drift_history": (PAGES.drift_history("AAPL", 2), "/drift/AAPL/history?limit=2"),
    "ask_check": (PAGES.ask_check("AAPL"), "/drift/AAPL"),
    "reports": (PAGES.reports(), "/reports"),
}


@pytest.mark.parametrize("call", ANSWERS)
def test_what_a_page_shows_is_asked_for_and_arrives_as_it_was_sent(call):
    sent, path = ANSWERS[call]

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.raw_path.decode() == path
        return httpx.Response(200, content=sent.model_dump_json())

    assert CALLS[call](client_for(answer)) == sent


def test_prices_as_they_are_ask_for_no_index():
    def answer(request: httpx.Request) -> httpx.Response:
        assert dict(request.url.params) == {"last": "250"}
        return httpx.Response(200, content=PAGES.prices("AAPL", 5, None).model_dump_json())

    assert client_for(answer).prices("AAPL").unit == "USD"


def test_a_model_without_a_table_is_its_own_error():
    with pytest.raises(NoScores):
        client_for(problem(404, "no_scores", "none")).scores("AAPL")


@pytest.mark.parametrize("call", ["runs", "run_history"])
def test_a_tracking_server_that_is_away_is_its_own_error(call):
    away = problem(503, "tracking_unavailable", "try again later")
    with pytest.raises(TrackingUnavailable, match="try again"):
        CALLS[call](client_for(away))


def test_a_key_goes_with_every_request_and_none_goes_without():
    shown: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        shown.append(request.headers.get("authorization"))
        return httpx.Response(200, json={"tickers": [], "total": 0, "next_offset": None})

    for key in ("secret", ""):
        ForecastClient(BASE, httpx.MockTransport(answer), key).tickers()
    assert shown == ["Bearer secret", None]


def test_asking_for_a_check_is_a_post():
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.method == "POST"
        return httpx.Response(202, content=PAGES.ask_check("AAPL").model_dump_json())

    assert client_for(answer).ask_check("AAPL").status == "queued"


def test_a_report_arrives_byte_by_byte():
    assert client_for(httpx.Response(200, content=PAGE)).report(REPORT) == PAGE


def test_a_report_that_is_gone_is_its_own_error():
    with pytest.raises(UnknownReport):
        client_for(problem(404, "unknown_report", "gone")).report(REPORT)
    with pytest.raises(ServiceUnavailable, match="not now"):
        client_for(problem(503, "log_unavailable", "not now")).report(REPORT)


def test_tickers_keep_their_order():
    told = {"tickers": ["MSFT", "AAPL"], "total": 2, "next_offset": None}
    client = client_for(httpx.Response(200, json=told))
    assert client.tickers() == ["MSFT", "AAPL"]


def test_no_drift_check_is_told_apart_from_trouble():
    with pytest.raises(NoDriftCheck, match="AAPL has not been checked"):
        client_for(problem(404, "no_drift_check", "not yet")).drift("AAPL")


def test_another_problem_of_drift_is_trouble():
    with pytest.raises(ServiceUnavailable, match="the database is away"):
        client_for(problem(503, "log_unavailable", "the database is away")).drift("AAPL")


def test_ready_is_understood():
    body = {"status": "ready", "tickers": {"AAPL": None}}
    assert client_for(httpx.Response(200, json=body)).ready() == {"AAPL": None}


def test_not_ready_is_an_answer_too():
    reasons = {"AAPL": None, "MSFT": "MSFT has no trained model yet"}
    answer = problem(503, "not_ready", "not ready: MSFT", tickers=reasons)
    assert client_for(answer).ready() == reasons


@every_call
def test_a_problem_is_passed_on_in_its_own_words(call):
    detail = "ZZZZ has neither a trained model nor prices here; run: python train.py ZZZZ"
    with pytest.raises(ServiceUnavailable) as caught:
        call(client_for(problem(404, "unknown_ticker", detail)))
    assert str(caught.value) == detail


@every_call
def test_a_service_that_is_not_there_is_said_plainly(call):
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(ServiceUnavailable, match="does not answer.*connection refused.*uvicorn"):
        call(client_for(refuse))


@every_call
def test_a_slow_service_is_said_plainly(call):
    def hang(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("")

    with pytest.raises(ServiceUnavailable, match="did not answer in time"):
        call(client_for(hang))


@every_call
@pytest.mark.parametrize("status", [301, 404, 500, 502])
def test_a_page_of_somebody_else_is_not_taken_for_a_problem(call, status):
    with pytest.raises(ServiceUnavailable, match=f"answered {status}"):
        call(client_for(httpx.Response(status, html="<h1>nginx</h1>")))


@every_call
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"tickers": 7}'])
def test_an_answer_of_another_shape_is_not_believed(call, body):
    with pytest.raises(ServiceUnavailable, match="answered something unexpected"):
        call(client_for(httpx.Response(200, content=body)))


@pytest.mark.parametrize("address", ["service:8000", "ftp://service", "http://[", ""])
def test_an_address_that_is_none_is_said_plainly(address):
    with pytest.raises(ServiceUnavailable, match="STOCK_API_URL"):
        ForecastClient(address).tickers()


def test_a_closed_port_is_said_plainly_on_a_real_wire():
    with (
        ForecastClient("http://127.0.0.1:9", wire()) as client,
        pytest.raises(ServiceUnavailable, match="does not answer"),
    ):
        client.tickers()


def test_a_slash_at_the_end_of_the_address_does_no_harm():
    def answer(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"{BASE}/tickers"
        return httpx.Response(200, json={"tickers": [], "total": 0, "next_offset": None})

    assert ForecastClient(f"{BASE}/", httpx.MockTransport(answer)).tickers() == []


@pytest.mark.parametrize(("key", "shown"), [("stock_abc", "Bearer stock_abc"), ("", None)])
def test_a_key_is_shown_with_every_request_where_there_is_one(key, shown):
    seen = []

    def answer(request):
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json={"tickers": [], "total": 0, "next_offset": None})

    with ForecastClient(BASE, httpx.MockTransport(answer), key=key) as client:
        client.tickers()
    assert seen == [shown]
