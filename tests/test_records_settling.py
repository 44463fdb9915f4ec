"""What was promised beside what happened: settled once, whatever the order, on one scale."""

from __future__ import annotations

from datetime import date

import pytest
from promised import ORIGIN, SESSIONS, forecast, prices

TODAY = date(2026, 1, 1)


@pytest.fixture
def serve(forecast_log):
    """Hand out forecasts and see them written."""

    def _serve(*forecasts) -> None:
        writer = forecast_log.writer()
        for number, one in enumerate(forecasts):
            writer.put(one, f"request-{number}")
        writer.close()
        assert (writer.pending, writer.lost) == (0, 0)

    return _serve


def walk(*mids: float) -> dict[date, float]:
    """Mid-prices from the origin's session on."""
    return dict(zip(SESSIONS, mids, strict=False))


def pooled(log, ticker: str = "AAPL"):
    (row,) = (row for row in log.performance(ticker).rows if row.step is None)
    return row


def counts(found) -> tuple[int, int, int, int]:
    return found.settled, found.waiting, found.revised, found.skipped


def test_a_promise_comes_back_as_it_was_served(forecast_log, serve):
    served = forecast()
    serve(served)
    (promise,) = forecast_log.promises("AAPL")
    assert (promise.origin, promise.version, promise.request_id) == (ORIGIN, "3", "request-0")
    assert (promise.dates, promise.points) == (served.dates, served.prices)
    assert promise.bands == served.bands
    assert (promise.last_mid, promise.last_close) == (100.0, 100.5)


def test_a_step_is_settled_when_its_session_is_known(forecast_log, serve):
    serve(forecast())
    assert counts(forecast_log.settle(prices(walk(100)), TODAY)) == (0, 2, 0, 0)
    assert counts(forecast_log.settle(prices(walk(100, 103)), TODAY)) == (1, 1, 0, 0)
    assert counts(forecast_log.settle(prices(walk(100, 103, 104)), TODAY)) == (1, 0, 0, 0)
    assert counts(forecast_log.settle(prices(walk(100, 103, 104)), TODAY)) == (0, 0, 0, 0)


def test_scores_are_those_of_the_settled_steps(forecast_log, serve):
    serve(forecast(points=(101.0, 102.0)))
    forecast_log.settle(prices(walk(100, 104, 101)), TODAY)
    row = pooled(forecast_log)
    assert (row.n, row.model.direction) == (2, 1.0)
    assert row.model.mae == pytest.approx(2.0)
    assert row.model.rmse == pytest.approx(5**0.5)
    assert row.last_close.mae == pytest.approx(2.0)
    assert (row.model.coverage_80, row.model.coverage_95) == (0.5, 1.0)
    assert row.last_close.coverage_80 is None


def test_a_split_after_the_promise_changes_no_score(forecast_log, serve):
    serve(forecast())
    forecast_log.settle(prices(walk(100, 103, 101)), TODAY)
    before = pooled(forecast_log)
    found = forecast_log.settle(prices(walk(50, 51.5, 50.5)), TODAY)
    after = pooled(forecast_log)
    assert counts(found) == (0, 0, 3, 0)
    assert after.model.rmse == pytest.approx(before.model.rmse / 2)
    assert after.rmse_ratio == pytest.approx(before.rmse_ratio)
    assert after.model.coverage_80 == before.model.coverage_80
