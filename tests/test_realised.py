"""Live figures at hand for a scrape: computed beside it, after a settling, never twice."""

from __future__ import annotations

import time
from datetime import date

import pytest
from promised import forecast, prices, serve, walk

from contracts import LogUnavailable
from forecast_log import ForecastLog
from realised import LOOK_SECONDS, Realised

SERVING = {"AAPL": "3"}
TODAY = date(2026, 12, 31)


@pytest.fixture
def log(tmp_path):
    opened = ForecastLog(f"sqlite:///{tmp_path / 'forecasts.db'}")
    yield opened
    opened.close()


@pytest.fixture
def counted(log, monkeypatch) -> list[str]:
    """Tickers whose performance was computed."""
    asked: list[str] = []
    compute = log.performance

    def performance(ticker):
        asked.append(ticker)
        return compute(ticker)

    monkeypatch.setattr(log, "performance", performance)
    return asked


def test_figures_are_there_after_a_settling(log):
    serve(log, forecast())
    log.settle(prices(walk(100, 103, 101)), TODAY)
    figures = Realised(log)
    figures.look(["AAPL"])
    assert [row.step for row in figures.at_hand(SERVING)["AAPL"]] == [1, None]
    figures.close()


def test_asking_waits_for_nothing_and_has_somebody_look_once_a_minute(log, counted):
    serve(log, forecast())
    log.settle(prices(walk(100, 103, 101)), TODAY)
    now = [0.0]
    figures = Realised(log, clock=lambda: now[0])
    assert figures.at_hand(SERVING) == {}
    while not figures.at_hand(SERVING):  # the look that was begun ends
        time.sleep(0.01)
    now[0] = LOOK_SECONDS / 2
    figures.at_hand(SERVING)
    figures.close()
    assert counted == ["AAPL"]


def test_closing_waits_for_one_ticker_not_for_all(log, counted):
    figures = Realised(log)
    figures.close()
    figures.look(["AAPL", "MSFT"])
    assert counted == []


def test_nothing_is_computed_again_before_the_next_settling(log, counted):
    serve(log, forecast())
    log.settle(prices(walk(100, 103)), TODAY)
    figures = Realised(log)
    figures.look(["AAPL"])
    figures.look(["AAPL"])
    assert counted == ["AAPL"]
    log.settle(prices(walk(100, 103, 101)), TODAY)
    figures.look(["AAPL"])
    assert counted == ["AAPL", "AAPL"]
    figures.close()


def test_only_the_model_that_answers_is_told_of(log):
    serve(log, forecast(version="2"), forecast())
    log.settle(prices(walk(100, 103, 101)), TODAY)
    figures = Realised(log)
    figures.look(["AAPL"])
    assert {row.version for row in figures.at_hand({"AAPL": "2"})["AAPL"]} == {"2"}
    assert figures.at_hand({"AAPL": "4", "MSFT": "1"}) == {"AAPL": ()}
    figures.close()


def test_invented_prices_are_no_live_figures(log):
    serve(log, forecast(source="synthetic"))
    log.settle(prices(walk(100, 103, 101), source="synthetic"), TODAY)
    figures = Realised(log)
    figures.look(["AAPL"])
    assert figures.at_hand(SERVING) == {"AAPL": ()}
    figures.close()


def test_a_database_that_is_away_leaves_what_was_known(log, monkeypatch):
    serve(log, forecast())
    log.settle(prices(walk(100, 103, 101)), TODAY)
    figures = Realised(log)
    figures.look(["AAPL"])

    def away(ticker):
        raise LogUnavailable("gone")

    monkeypatch.setattr(log, "settled_at", away)
    figures.look(["AAPL"])
    assert len(figures.at_hand(SERVING)["AAPL"]) == 2
    figures.close()
