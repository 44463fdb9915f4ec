"""The desk answers from the cache and has it brought up to date beside the request."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime

import pandas as pd
import pytest
from project import Project
from replay_yahoo import replaying, send_yfinance_to

from config import Settings
from contracts import UnknownTicker
from data_pipeline import real_shelf, today
from desk import ForecastDesk
from generate_synthetic_data import generate_synthetic_stock_data
from prices import guard, yahoo
from prices.cache import Label

NOW = datetime.now(UTC)


@pytest.fixture
def bars(settings) -> pd.DataFrame:
    return generate_synthetic_stock_data(
        "AAPL", "2023-01-03", today("AAPL", settings), None, "calm"
    )


@pytest.fixture
def replay(monkeypatch, bars):
    with replaying() as server:
        send_yfinance_to(server, monkeypatch)
        for ticker in ("AAPL", "NFLX"):
            server.serve(ticker, bars)
        yield server
        server.leaving.set()
        with yahoo._one_at_a_time:
            pass


@pytest.fixture
def open_desk(settings):
    """Opens desks and closes them again."""
    desks = []

    def opened(**changes: object) -> ForecastDesk:
        desks.append(ForecastDesk(settings.model_copy(update=changes)))
        return desks[-1]

    yield opened
    for desk in desks:
        desk.close()


def cache(settings: Settings, bars: pd.DataFrame) -> None:
    label = Label(source="yfinance", adjustment="split", fetched_at=NOW)
    real_shelf(settings).put("AAPL", bars.iloc[:-3].reset_index(drop=True), label)


def until(true: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)


def last_cached(settings: Settings, ticker: str) -> object:
    stored = real_shelf(settings).get(ticker)
    return stored and stored.last


def test_a_stale_cache_is_brought_up_to_date_beside_the_request(settings, replay, open_desk, bars):
    cache(settings, bars)
    replay.delay = 2.0
    answer = open_desk().forecast("AAPL", 5, False)
    assert answer.as_of < today("AAPL", settings), "the request does not wait"
    assert answer.model.cold_start
    until(lambda: last_cached(settings, "AAPL") == today("AAPL", settings))


def test_an_unknown_symbol_is_404_at_once_and_answered_by_a_base_once_its_bars_are_there(
    settings, replay, open_desk
):
    desk = open_desk()
    with pytest.raises(UnknownTicker):
        desk.forecast("NFLX", 5, False)
    until(lambda: last_cached(settings, "NFLX"))
    assert desk.forecast("NFLX", 5, False).model.cold_start


def test_a_symbol_yahoo_does_not_know_is_asked_for_once(settings, replay, open_desk):
    desk = open_desk()
    for _ in range(3):
        with pytest.raises(UnknownTicker):
            desk.forecast("NOSUCH", 5, False)
        until(lambda: "NOSUCH" in desk._refresher._rests)
    questions = [target for target in replay.asked if "NOSUCH" in target]
    assert 1 <= len(questions) <= 6, "of one attempt; yfinance asks again after a 404"
    asked = len(replay.hosts)
    with pytest.raises(UnknownTicker):
        desk.forecast("NOSUCH", 5, False)
    assert len(replay.hosts) == asked
    assert not real_shelf(settings).csv_path("NOSUCH").exists()


@pytest.mark.parametrize(
    "changes", [{"refresh": False}, {"as_of": datetime(2025, 12, 31).date()}], ids=["off", "as of"]
)
def test_nothing_is_fetched_where_the_settings_say_so(settings, replay, open_desk, bars, changes):
    cache(settings, bars)
    desk = open_desk(**changes)
    assert desk.forecast("AAPL", 5, False).model.cold_start
    with pytest.raises(UnknownTicker):
        desk.forecast("NFLX", 5, False)
    assert desk._refresher._worker is None and replay.hosts == []


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_real_service_fetches_an_unknown_symbol_and_stops_while_yahoo_hangs(
    replay, bars, tmp_path
):
    """A process of its own, told of the pretend Yahoo by its environment alone."""
    project = Project(tmp_path, {"STOCK_TICKERS": "AAPL", "STOCK_ALLOW_SYNTHETIC": "false"})
    with project.api(https_proxy=replay.proxy, REQUESTS_CA_BUNDLE=replay.certificate) as url:
        assert status(f"{url}/predict?ticker=NFLX") == 404
        until(lambda: status(f"{url}/predict?ticker=NFLX") == 200)
        replay.mood, asked = "hang", len(replay.asked)
        assert status(f"{url}/predict?ticker=NOSUCH") == 404
        until(lambda: len(replay.asked) > asked)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert (tmp_path / "data/raw/NFLX_raw.csv").exists()


def test_closing_the_desk_does_not_wait_for_a_hanging_yahoo(
    settings, replay, open_desk, bars, monkeypatch
):
    monkeypatch.setattr(guard, "FETCH_SECONDS", 5.0)
    cache(settings, bars)
    replay.mood = "hang"
    desk = open_desk()
    desk.forecast("AAPL", 5, False)
    until(lambda: replay.asked)
    began = time.monotonic()
    desk.close()
    assert time.monotonic() - began < 3
