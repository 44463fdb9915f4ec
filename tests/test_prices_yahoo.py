"""The genuine yfinance client against a pretend Yahoo: what comes, and how failures are told."""

from __future__ import annotations

import logging
import time
from datetime import date

import pandas as pd
import pytest
from replay_yahoo import FAILURES, point_yfinance_at, replaying

from contracts import BAR_COLUMNS, SourceUnavailable
from generate_synthetic_data import generate_synthetic_stock_data
from prices import yahoo

FIRST, LAST = date(1980, 1, 1), date(2025, 12, 31)


@pytest.fixture
def replay(monkeypatch):
    with replaying() as server:
        point_yfinance_at(server.url, monkeypatch)
        yahoo.pause.end()
        yield server
        yahoo.pause.end()


@pytest.fixture
def bars() -> pd.DataFrame:
    return generate_synthetic_stock_data("AAPL", "2024-01-01", LAST, None)


def test_real_bars_arrive_exactly_as_yahoo_has_them(replay, real_data, tmp_path):
    path = real_data / "yahoo" / "AAPL.csv"
    replay.serve("AAPL", path)
    fetched = yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)
    told = pd.read_csv(path, parse_dates=["Date"])[list(BAR_COLUMNS)]
    told["Date"] = told["Date"].astype("datetime64[ns]")
    pd.testing.assert_frame_equal(fetched, told, check_exact=True)


def test_unadjusted_daily_bars_and_their_events_are_asked_for(replay, bars, tmp_path):
    replay.serve("AAPL", bars)
    yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)
    assert "interval=1d" in replay.asked[-1] and "events=div%2Csplits" in replay.asked[-1]
    assert list(tmp_path.glob("*.db")), "the client's own databases lie in the folder given"


@pytest.mark.parametrize("keeps_to_the_end", [True, False])
def test_bars_after_the_last_ended_session_are_left_out(replay, bars, tmp_path, keeps_to_the_end):
    replay.serve("AAPL", bars)
    replay.keeps_to_the_end = keeps_to_the_end
    fetched = yahoo.fetch_bars("AAPL", FIRST, date(2025, 6, 6), tmp_path)
    assert fetched["Date"].iloc[-1] == pd.Timestamp("2025-06-06")


def test_a_newest_bar_without_prices_is_dropped_one_in_the_middle_is_not(replay, bars, tmp_path):
    bars.loc[[50, len(bars) - 1], ["Open", "High", "Low", "Close", "Adj Close"]] = None
    replay.serve("AAPL", bars)
    fetched = yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)
    assert len(fetched) == len(bars) - 1 and fetched["Close"].isna().sum() == 1


@pytest.mark.parametrize("ticker", ["MDLY", "SIX", "ADH", "SI"])
def test_a_symbol_yahoo_does_not_know_is_no_failure_of_yahoos(replay, bars, tmp_path, ticker):
    replay.serve("AAPL", bars)
    with pytest.raises(yahoo.NoData, match=f"no bars of {ticker}"):
        yahoo.fetch_bars(ticker, FIRST, LAST, tmp_path)
    assert len(yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)) == len(bars), "no pause follows"


def test_a_known_symbol_that_is_gone_has_no_data(replay, bars, tmp_path):
    replay.serve("AAPL", bars)
    yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)
    replay.mood = "404"
    with pytest.raises(yahoo.NoData, match="may be delisted"):
        yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)


@pytest.mark.parametrize("mood", sorted({*FAILURES, "empty"} - {"404"}))
@pytest.mark.parametrize("met_before", [True, False], ids=["zone known", "first contact"])
def test_every_other_failure_is_yahoos(replay, bars, tmp_path, mood, met_before):
    replay.serve("AAPL", bars)
    if met_before:
        yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)
    replay.mood = mood
    with pytest.raises(SourceUnavailable, match="Yahoo failed") as failure:
        yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)
    assert not isinstance(failure.value, yahoo.NoData) and "\n" not in str(failure.value)


def test_after_a_failure_yahoo_is_left_alone_for_a_while(replay, bars, tmp_path, caplog):
    replay.serve("AAPL", bars)
    replay.mood = "429"
    with caplog.at_level(logging.WARNING), pytest.raises(SourceUnavailable):
        yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)
    assert "yahoo_failed ticker=AAPL" in caplog.text
    replay.mood, asked = "bars", len(replay.asked)
    for ticker in ("AAPL", "MSFT", "GOOGL"):
        with pytest.raises(SourceUnavailable, match="left alone for 300 s more"):
            yahoo.fetch_bars(ticker, FIRST, LAST, tmp_path)
    assert len(replay.asked) == asked


def test_once_the_pause_is_over_a_good_answer_is_taken(replay, bars, tmp_path, monkeypatch):
    replay.serve("AAPL", bars)
    replay.mood = "500"
    with pytest.raises(SourceUnavailable):
        yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)
    replay.mood = "bars"
    monkeypatch.setattr(yahoo.pause, "until", time.monotonic() - 1)
    assert len(yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)) == len(bars)


def test_a_yahoo_that_never_answers_is_given_up(replay, bars, tmp_path, monkeypatch):
    replay.serve("AAPL", bars)
    replay.delay = 0.6
    monkeypatch.setattr(yahoo, "FETCH_SECONDS", 0.2)
    with pytest.raises(SourceUnavailable, match="has not answered within"):
        yahoo.fetch_bars("AAPL", FIRST, LAST, tmp_path)
    with yahoo._one_at_a_time:  # the abandoned question ends before this test does
        assert replay.asked
