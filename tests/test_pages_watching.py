"""What watching found, as a page asks for it: checks, their pages, live performance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from fake_desk import FakeDesk
from fake_pages import PAGE, FakePages
from invented_exhibits import make_performance
from invented_forecasts import REPORT, make_drift, make_forecast
from starlette.testclient import TestClient

from app import create_app
from config import Settings
from contracts import UnknownReport, UnknownTicker
from exhibits import Pages
from forecast_log import ForecastLog
from schemas import PerformanceOut


@pytest.fixture
def log(settings: Settings) -> Iterator[ForecastLog]:
    """An empty log in a real SQLite file."""
    opened = ForecastLog(settings.database_url)
    yield opened
    opened.close()


@pytest.fixture
def pages(settings: Settings) -> Iterator[Pages]:
    """Real pages over that log and a folder of reports."""
    settings.reports_dir.mkdir()
    (settings.reports_dir / REPORT).write_bytes(PAGE)
    opened = Pages(settings)
    yield opened
    opened.close()


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The service on fake pages."""
    app = create_app(lambda _: FakeDesk(), lambda _: FakePages())
    with TestClient(app, "http://test", client=("127.0.0.1", 50000)) as running:
        yield running


# Checks


def test_every_ticker_has_its_newest_check_or_none(log, pages):
    for hours in (0, 1):
        verdict = make_drift("MSFT")
        log.record_verdict(replace(verdict, checked_at=verdict.checked_at + timedelta(hours=hours)))
    log.record_verdict(replace(make_drift("AAPL"), alarm=False))
    found = pages.drifts(100, 0)
    assert [(check.ticker, check.alarm) for check in found.checks] == [
        ("MSFT", True),
        ("AAPL", False),
    ]
    assert found.checks[0].checked_at.hour == 7
    assert found.unchecked == ["GOOGL"]


def test_past_checks_are_the_newest_ones_first(log, pages):
    first = make_drift()
    for hours in range(4):
        log.record_verdict(replace(first, checked_at=first.checked_at + timedelta(hours=hours)))
    assert [check.checked_at.hour for check in pages.drift_history("aapl", 3).checks] == [9, 8, 7]


def test_a_ticker_nobody_knows_has_no_past(pages):
    assert pages.drift_history("AAPL", 3).checks == []
    for ask in (pages.ask_check, pages.performance, lambda t: pages.drift_history(t, 3)):
        with pytest.raises(UnknownTicker):
            ask("ZZZZ")


def test_asking_for_a_check_queues_it_once_for_the_monitor(log, pages):
    first, again = pages.ask_check("aapl"), pages.ask_check("AAPL")
    assert first.request == again.request
    taken = log.take_check("monitor", 60)
    assert (taken.ticker, taken.id) == ("AAPL", first.request)
    assert log.take_check("monitor", 60) is None


def test_a_check_that_was_asked_for_is_202_and_says_where_to_look(client):
    answer = client.post("/drift/aapl")
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.headers["location"]) == ("queued", "/drift/AAPL")


def test_from_another_machine_a_check_needs_a_key_that_may_operate(settings):
    pages = FakePages()
    app = create_app(lambda _: FakeDesk(), lambda _: pages)
    with TestClient(app, "http://test", client=("192.0.2.7", 50000)) as stranger:
        answer = stranger.post("/drift/AAPL")
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/may_not_operate")
    assert pages.asked_checks == []


def test_a_check_of_an_unknown_ticker_is_not_queued(client):
    answer = client.post("/drift/ZZZZ")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown_ticker")


# Live performance


def test_nothing_served_yet_is_an_empty_table(pages):
    found = pages.performance("AAPL")
    assert (found.promises, found.rows) == (0, ())


def test_what_was_promised_is_counted(log, pages):
    writer = log.writer()
    writer.put(make_forecast("AAPL", 5), "request-1")
    writer.close()
    found = pages.performance("AAPL")
    assert (found.promises, found.waiting, found.settled) == (1, 5, 0)


def test_live_errors_stand_beside_the_last_closes(client):
    answer = client.get("/performance/AAPL")
    sent = PerformanceOut.of(make_performance()).model_dump(mode="json")
    assert answer.json() == sent
    assert (sent["rows"][0]["model"]["rmse"], sent["rows"][0]["last_close"]["rmse"]) == (2.7, 2.6)


# Reports


def test_a_report_is_listed_with_the_samples_it_compares(log, pages):
    log.record_verdict(make_drift())
    (report,) = pages.reports(100, 0).reports
    assert (report.name, report.reference_rows, report.current_rows) == (REPORT, 1068, 60)
    assert (report.bytes, report.url) == (len(PAGE), f"/reports/{REPORT}")
    assert pages.report(REPORT) == PAGE


def test_a_report_that_is_gone_is_not_listed(log, pages, settings):
    log.record_verdict(make_drift())
    (settings.reports_dir / REPORT).unlink()
    assert pages.reports(100, 0).reports == []
    with pytest.raises(UnknownReport):
        pages.report(REPORT)


@pytest.mark.parametrize(
    "name",
    [
        "../forecasts.db",
        "..",
        "/etc/passwd",
        "AAPL_x.html/../../secret_x.html",
        "..\\secret_x.html",
        "AAPL_x.htm",
        "AAPL_x.html\n",
        "AAPL_x.html\0",
        ".hidden.html",
        "",
    ],
)
def test_what_is_no_name_of_a_report_reaches_no_file(pages, settings, name):
    (settings.reports_dir.parent / "secret_x.html").write_text("secret")
    with pytest.raises(UnknownReport):
        pages.report(name)


def test_a_link_out_of_the_folder_is_no_report(pages, settings):
    secret = settings.reports_dir.parent / "secret.txt"
    secret.write_text("secret")
    (settings.reports_dir / "AAPL_link.html").symlink_to(secret)
    (settings.reports_dir / "AAPL_folder.html").mkdir()
    for name in ("AAPL_link.html", "AAPL_folder.html"):
        with pytest.raises(UnknownReport):
            pages.report(name)


def test_a_page_is_shown_without_an_origin(client):
    answer = client.get(f"/reports/{REPORT}")
    assert answer.content == PAGE
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts") and "default-src 'none'" in policy
    assert "allow-same-origin" not in policy and "connect-src" not in policy


@pytest.mark.parametrize("name", ["..%2Fsecret_x.html", "AAPL_none.html", "%2E%2E", "a%00_x.html"])
def test_a_page_that_is_not_there_is_a_problem(client, name):
    answer = client.get(f"/reports/{name}")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"
