"""The genuine yfinance client against a pretend Yahoo: what comes, and how failures are told."""

from __future__ import annotations

import json
import logging
from datetime import date

import pandas as pd
import pytest
from replay_yahoo import CRUMB, FAILURES, NOTHING_THERE, replaying, send_yfinance_to

from contracts import BAR_COLUMNS, SourceUnavailable
from generate_synthetic_data import generate_synthetic_stock_data
from prices.overlap import TOLERANCE, compare
from prices.providers import NoData, Provider
from prices.validation import check_bars
from prices.yahoo import Yahoo

FIRST, LAST = date(1980, 1, 1), date(2025, 12, 31)
YAHOOS_FAULT = sorted({*FAILURES, "empty", "drop"} - NOTHING_THERE)


@pytest.fixture
def replay(monkeypatch):
    with replaying() as server:
        send_yfinance_to(server, monkeypatch)
        yield server


@pytest.fixture
def client(tmp_path) -> Provider:
    return Yahoo(tmp_path)


@pytest.fixture
def bars() -> pd.DataFrame:
    return generate_synthetic_stock_data("AAPL", "2024-01-01", LAST, None)


@pytest.mark.parametrize("ticker", ["AAPL", "GOOGL", "IBM", "MSFT"])
def test_real_bars_arrive_exactly_as_yahoo_has_them(replay, client, real_data, ticker):
    path = real_data / "yahoo" / f"{ticker}.csv"
    replay.serve(ticker, path)
    fetched = client.fetch(ticker, date(1960, 1, 1), LAST)
    told = pd.read_csv(path, parse_dates=["Date"])[list(BAR_COLUMNS)]
    told["Date"] = told["Date"].astype("datetime64[ns]")
    pd.testing.assert_frame_equal(fetched, told, check_exact=True)


def test_cookie_and_crumb_are_fetched_once_and_shown_with_every_question(replay, client, bars):
    replay.serve("AAPL", bars)
    for _ in range(2):
        client.fetch("AAPL", FIRST, LAST)
    assert replay.hosts[:2] == ["fc.yahoo.com/", "query1.finance.yahoo.com/v1/test/getcrumb"]
    assert sum("/v8/" not in host for host in replay.hosts) == 2
    assert len(replay.asked) == 3, "the time zone once, the bars twice"
    assert all("A3=d=AQABBPretend" in cookie for cookie in replay.cookies)
    assert all(f"crumb={CRUMB.replace('/', '%2F')}" in target for target in replay.asked)


def test_unadjusted_daily_bars_and_their_events_are_asked_for(replay, client, bars, tmp_path):
    replay.serve("AAPL", bars)
    client.fetch("AAPL", FIRST, LAST)
    assert "interval=1d" in replay.asked[-1] and "events=div%2Csplits" in replay.asked[-1]
    assert list(tmp_path.glob("*.db")), "the client's own databases lie in the folder given"


@pytest.mark.parametrize("keeps_to_the_end", [True, False])
def test_bars_after_the_last_ended_session_are_left_out(replay, client, bars, keeps_to_the_end):
    replay.serve("AAPL", bars)
    replay.keeps_to_the_end = keeps_to_the_end
    fetched = client.fetch("AAPL", FIRST, date(2025, 6, 6))
    assert fetched["Date"].iloc[-1] == pd.Timestamp("2025-06-06")


def test_a_newest_bar_without_prices_is_dropped_one_in_the_middle_is_not(replay, client, bars):
    bars.loc[[50, len(bars) - 1], ["Open", "High", "Low", "Close", "Adj Close"]] = None
    replay.serve("AAPL", bars)
    fetched = client.fetch("AAPL", FIRST, LAST)
    assert len(fetched) == len(bars) - 1 and fetched["Close"].isna().sum() == 1


@pytest.mark.parametrize("ticker", ["MDLY", "SIX", "ADH", "SI"])
def test_a_symbol_yahoo_does_not_know_has_no_data(replay, client, ticker):
    with pytest.raises(NoData, match=f"no bars of {ticker}"):
        client.fetch(ticker, FIRST, LAST)


@pytest.mark.parametrize("mood", sorted(NOTHING_THERE))
def test_a_known_symbol_that_is_gone_has_no_data(replay, client, bars, mood):
    replay.serve("AAPL", bars)
    client.fetch("AAPL", FIRST, LAST)
    replay.mood = mood
    with pytest.raises(NoData, match="may be delisted|Data doesn't exist"):
        client.fetch("AAPL", FIRST, LAST)


@pytest.mark.parametrize("mood", YAHOOS_FAULT)
@pytest.mark.parametrize("met_before", [True, False], ids=["zone known", "first contact"])
def test_every_other_failure_is_yahoos(replay, client, bars, caplog, mood, met_before):
    replay.serve("AAPL", bars)
    if met_before:
        client.fetch("AAPL", FIRST, LAST)
    replay.mood = mood
    with caplog.at_level(logging.INFO), pytest.raises(SourceUnavailable) as failure:
        client.fetch("AAPL", FIRST, LAST)
    said = str(failure.value)
    assert type(failure.value) is SourceUnavailable and said.startswith("Yahoo failed: ")
    assert "\n" not in said and "://" not in said and len(said) < 140
    assert not caplog.records, "yfinance's own lines are folded into the failure"


# Answers recorded from the real Yahoo; the client checks no symbol, so AAPL is asked for.

NO_BARS = {  # what no daily bars can be made of
    "chart-AAPL-2025-02-01-to-2025-02-02-includePrePost-false-interval-1m.json": SourceUnavailable,
    "historical-via-chart-SI-2020-01-01-to-2020-01-03.json": NoData,
    "historical-via-chart-SIX-2020-01-01-to-2020-01-03.json": NoData,
    "historicalv8-MDLY-2020-01-01-to-2021-01-04.json": NoData,
    "quote-AAPL.json": SourceUnavailable,
    "quoteSummary-assetProfile-ADH.json": SourceUnavailable,
}


def test_every_recorded_answer_gives_bars_that_validate_or_a_classified_failure(
    replay, client, real_data
):
    rows, failures = {}, {}
    for path in sorted((real_data / "yahoo_responses").glob("*.json")):
        response = json.loads(path.read_text())["response"]
        body = response.get("bodyJson") or response["body"]
        replay.recorded = body if isinstance(body, str) else json.dumps(body)
        ticker = f"X{len(rows) + len(failures)}"  # no time zone known from the one before
        try:
            bars = check_bars(client.fetch(ticker, FIRST, date(2026, 6, 1)), path.name).bars
            rows[path.name] = len(bars)
        except SourceUnavailable as error:
            failures[path.name] = type(error)
    assert failures == NO_BARS
    assert (len(rows), sum(rows.values())) == (47, 9560)


def test_a_recorded_overlap_agrees_with_the_csv_within_the_tolerance(replay, client, real_data):
    """Two downloads of the same sessions, ten months apart: what counts as no difference."""
    name = "chart-AAPL-2020-08-31-to-2020-11-07.json"
    answer = json.loads((real_data / "yahoo_responses" / name).read_text())["response"]
    replay.recorded = json.dumps(answer["bodyJson"])
    recorded = check_bars(client.fetch("AAPL", FIRST, LAST), name).bars
    told = pd.read_csv(real_data / "yahoo" / "AAPL.csv", parse_dates=["Date"])
    same = told[told["Date"].isin(recorded["Date"])].reset_index(drop=True)
    ratios = recorded[["Open", "High", "Low", "Close"]] / same[["Open", "High", "Low", "Close"]]
    assert len(same) == 49 and float((ratios - 1).abs().to_numpy().max()) < TOLERANCE / 10
    change = compare(same[list(BAR_COLUMNS)], recorded)
    assert change.change == "dividend", "three dividends lie between the two downloads"
