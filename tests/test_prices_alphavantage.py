"""Alpha Vantage over real HTTP in its genuine envelope, held against Yahoo's bars."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr
from replay_alphavantage import ReplayAlphaVantage, replaying

from contracts import BAR_COLUMNS, SourceUnavailable
from prices.alphavantage import AlphaVantage, symbol_of
from prices.providers import NoData
from prices.validation import check_bars

FIRST, LAST = date(1980, 1, 1), date(2020, 12, 4)
KEY = "DEMO0KEY0DEMO0KEY"
LIMITS = {  # as quoted in issue threads of several clients, 2018 to 2025
    "Note": "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per "
    "minute and 500 calls per day.",
    "Information": f"We have detected your API key as {KEY} and our standard API rate limit is 25 "
    "requests per day. Please subscribe to any of the premium plans at "
    "https://www.alphavantage.co/premium/ to instantly remove all daily rate limits.",
}
BAD_KEY = {"Error Message": "the parameter apikey is invalid or missing. Please claim your key"}


@pytest.fixture
def replay() -> Iterator[ReplayAlphaVantage]:
    with replaying() as vendor:
        yield vendor


@pytest.fixture
def client(replay) -> AlphaVantage:
    return AlphaVantage(SecretStr(KEY), replay.url)


@pytest.fixture
def serve(replay, real_data) -> None:
    folder = real_data / "reference_tables"
    for ticker in ("AAPL", "IBM"):
        replay.tables[ticker] = folder / f"alphavantage_daily_adjusted_{ticker}.csv"


def yahoo_beside(bars: pd.DataFrame, real_data: Path, ticker: str) -> pd.DataFrame:
    """Yahoo's bars of the same sessions."""
    told = pd.read_csv(real_data / "yahoo" / f"{ticker}.csv", parse_dates=["Date"])
    same = told[told["Date"].isin(bars["Date"])].reset_index(drop=True)
    assert len(same) == len(bars) > 5000
    return same


def returns(prices: pd.Series) -> np.ndarray:
    return np.diff(np.log(prices.to_numpy()))


@pytest.mark.parametrize("ticker", ["AAPL", "IBM"])
@pytest.mark.parametrize("column", ["Open", "High", "Low", "Close", "Adj Close"])
def test_its_returns_are_yahoos(client, serve, real_data, ticker, column):
    """AAPL split 2:1, 2:1, 7:1 and 4:1 in these years: a split left in would show at once."""
    bars = client.fetch(ticker, FIRST, LAST)
    yahoo = yahoo_beside(bars, real_data, ticker)
    apart = np.abs(returns(bars[column]) - returns(yahoo[column]))
    assert np.median(apart) < 5e-7 and apart.max() < 0.07


def test_levels_are_yahoos_where_no_split_came_later(client, serve, real_data):
    bars = client.fetch("AAPL", FIRST, LAST)
    yahoo = yahoo_beside(bars, real_data, "AAPL")
    ratio = bars["Close"] / yahoo["Close"]
    assert ratio.median() == pytest.approx(1, abs=1e-6) and ratio.between(0.97, 1.03).all()
    assert bars["Adj Close"].iloc[-1] == bars["Close"].iloc[-1]
    volume = bars["Volume"] / yahoo["Volume"]
    assert 0.8 < volume.median() < 1.05, "volumes are split-adjusted too"


@pytest.mark.parametrize("ticker", ["AAPL", "IBM"])
def test_its_bars_validate(client, serve, ticker):
    bars = client.fetch(ticker, FIRST, LAST)
    assert tuple(bars.columns) == BAR_COLUMNS and bars["Date"].is_monotonic_increasing
    assert len(check_bars(bars, "Alpha Vantage").bars) == len(bars)


def test_the_whole_adjusted_history_is_asked_for_as_json(client, serve, replay):
    client.fetch("AAPL", FIRST, LAST)
    assert replay.asked == [
        {
            "function": "TIME_SERIES_DAILY_ADJUSTED",
            "symbol": "AAPL",
            "outputsize": "full",
            "datatype": "json",
            "apikey": KEY,
        }
    ]


def test_only_the_days_asked_for_are_given(client, serve):
    bars = client.fetch("AAPL", date(2020, 8, 24), date(2020, 9, 4))
    assert [bars["Date"].iloc[row].date() for row in (0, -1)] == [
        date(2020, 8, 24),
        date(2020, 9, 4),
    ]
    assert bars["Close"].between(115, 140).all(), "the four for one of 2020-08-31 is undone"
    with pytest.raises(NoData):
        client.fetch("AAPL", date(2020, 12, 5), date(2020, 12, 6))


@pytest.mark.parametrize("kind", sorted(LIMITS))
def test_a_limit_comes_with_status_200_and_is_a_failure(client, replay, kind):
    replay.said = json.dumps({kind: LIMITS[kind]}).encode()
    with pytest.raises(SourceUnavailable, match="gave no data") as failure:
        client.fetch("AAPL", FIRST, LAST)
    assert type(failure.value) is SourceUnavailable and KEY not in str(failure.value)


def test_an_unknown_symbol_has_no_data(client, replay):
    with pytest.raises(NoData, match="no bars of NOSUCH"):
        client.fetch("NOSUCH", FIRST, LAST)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, json.dumps(BAD_KEY).encode()),
        (200, b"{}"),
        (200, b'{"Time Series (Daily)": {"2020-12-04": {"1. open": "1'),
        (200, b'{"Time Series (Daily)": {"2020-12-04": {"1. open": "1"}}}'),
        (200, b'{"Time Series (Daily)": []}'),
        (200, b"[]"),
        (200, b"<html>maintenance</html>"),
        (429, b"slow down"),
        (503, b""),
    ],
    ids=["bad key", "empty", "cut off", "columns", "list", "array", "html", "429", "503"],
)
def test_every_other_answer_is_a_failure_in_one_short_line(client, replay, status, said):
    replay.status, replay.said = status, said
    with pytest.raises(SourceUnavailable) as failure:
        client.fetch("AAPL", FIRST, LAST)
    text = str(failure.value)
    assert type(failure.value) is SourceUnavailable
    assert text.startswith("Alpha Vantage") and "\n" not in text and len(text) < 200


def test_a_server_that_is_not_there_is_a_failure():
    with pytest.raises(SourceUnavailable, match="Alpha Vantage failed: ConnectError"):
        AlphaVantage(SecretStr(KEY), "http://127.0.0.1:9").fetch("AAPL", FIRST, LAST)


def test_the_key_is_in_no_log_line_and_no_repr(client, serve, caplog):
    with caplog.at_level(logging.DEBUG):
        client.fetch("AAPL", FIRST, LAST)
    assert KEY not in caplog.text and KEY not in repr(client)


@pytest.mark.parametrize(
    ("ticker", "symbol"),
    [
        ("AAPL", "AAPL"),
        ("BRK-B", "BRK-B"),
        ("TSCO.L", "TSCO.LON"),
        ("SHOP.TO", "SHOP.TRT"),
        ("MCC.V", "MCC.TRV"),
        ("MBG.DE", "MBG.DEX"),
        ("600104.SS", "600104.SHH"),
    ],
)
def test_yahoos_symbols_are_translated(ticker, symbol):
    assert symbol_of(ticker) == symbol


@pytest.mark.parametrize("ticker", ["^GSPC", "EURUSD=X", "BTC-USD", "GC=F", "0700.HK"])
def test_what_it_does_not_carry_is_not_asked_for(client, replay, ticker):
    with pytest.raises(NoData, match="does not carry"):
        client.fetch(ticker, FIRST, LAST)
    assert not replay.asked
