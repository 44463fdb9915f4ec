"""Log lines: as JSON or words, with the request's id, and without what clients type."""

from __future__ import annotations

import json
import logging

import pytest
from fake_desk import FakeDesk

from contracts import BadPrices
from web.request_logs import JsonLines, TextLines
from web.visits import VISIT, Visit


def record(message: str, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("prices", logging.WARNING, __file__, 1, message, None, None)
    made.__dict__.update(more)
    return made


@pytest.fixture
def visit():
    """As if a request with id r-7 were being answered here."""
    token = VISIT.set(Visit({}, {}, "r-7"))
    yield
    VISIT.reset(token)


def test_a_json_line_is_one_object_with_the_requests_id(visit):
    told = json.loads(JsonLines().format(record("cache=stale\nx", ticker="AAPL", where=JsonLines)))
    assert (told["level"], told["logger"], told["request_id"]) == ("WARNING", "prices", "r-7")
    assert (told["message"], told["ticker"]) == ("cache=stale\nx", "AAPL")
    assert told["time"].endswith("+00:00")
    assert "JsonLines" in told["where"]


def test_a_line_of_words_ends_with_the_id_and_stays_one_line(visit):
    line = TextLines().format(record("cache=stale\r\n2026 ERROR forged"))
    assert line.endswith("WARNING prices cache=stale\\r\\n2026 ERROR forged request_id=r-7")


def test_outside_of_a_request_there_is_no_id():
    assert "request_id" not in JsonLines().format(record("x"))
    assert TextLines().format(record("x")).endswith("prices x")


def test_an_exception_is_part_of_the_object():
    try:
        raise RuntimeError("a bug")
    except RuntimeError as error:
        told = JsonLines().format(record("failed", exc_info=(RuntimeError, error, None)))
    assert "RuntimeError: a bug" in json.loads(told)["exception"]
    assert "\n" not in told


def access_lines(caplog) -> list[logging.LogRecord]:
    return [row for row in caplog.records if row.name == "stock.access"]


def test_an_access_line_says_route_status_time_and_ticker(service, caplog):
    client = service(access_log=True)
    client.get("/predict?ticker=aapl&steps=2&secret=hush", headers={"X-Request-ID": "r-9"})
    client.get("/models/ZZZZ")
    first, second = access_lines(caplog)
    assert (first.method, first.route, first.status, first.ticker) == (
        *("GET", "/predict", 200, "AAPL"),
    )
    assert first.ms > 0
    assert (second.route, second.ticker, second.problem) == (
        *("/models/{ticker}", "ZZZZ", "unknown_ticker"),
    )
    assert "hush" not in caplog.text


def test_what_is_no_ticker_is_not_logged(service, caplog):
    client = service(access_log=True)
    client.get("/predict?ticker=%0aforged")
    client.get("/forged%0aline")
    assert "forged" not in " ".join(row.getMessage() for row in access_lines(caplog))
    assert [row.route for row in access_lines(caplog)] == ["/predict", "(none)"]


def test_without_the_setting_requests_are_not_logged(service, caplog):
    logging.getLogger("stock.access").setLevel(logging.NOTSET)
    service().get("/tickers")
    assert access_lines(caplog) == []


def test_a_warning_inside_a_request_carries_its_id(service, caplog):
    seen = []
    caplog.handler.setFormatter(JsonLines())
    caplog.handler.addFilter(lambda row: seen.append(JsonLines().format(row)) or True)
    desk = FakeDesk(failures={"AAPL": BadPrices("row 7")})
    service(desk).get("/predict?ticker=AAPL", headers={"X-Request-ID": "r-8"})
    (line,) = [json.loads(row) for row in seen if "bad_prices" in row]
    assert line["request_id"] == "r-8"
