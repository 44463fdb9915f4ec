"""Sessions: the right exchange, the right days, and the minute a session ends."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import calendars
from calendars import (
    Listing,
    known_sessions,
    last_completed_session,
    listing_of,
    next_close,
    sessions_after,
    sessions_between,
)


@pytest.mark.parametrize(
    ("ticker", "calendar", "currency"),
    [
        ("AAPL", "XNYS", "USD"),
        ("brk-b", "XNYS", "USD"),  # a share class, not a coin
        ("BF-B", "XNYS", "USD"),
        ("BAC-PL", "XNYS", "USD"),
        ("0700.HK", "XHKG", "HKD"),
        ("OCDO.L", "XLON", "GBp"),
        ("WSU.DE", "XETR", "EUR"),
        ("AIR.PA", "XPAR", "EUR"),
        ("UNIR.MI", "XMIL", "EUR"),
        ("SHOP.TO", "XTSE", "CAD"),
        ("RCI-B.TO", "XTSE", "CAD"),
        ("MCC.V", "XTSE", "CAD"),
        ("7203.T", "XTKS", "JPY"),
        ("AZT.OL", "XOSL", "NOK"),
        ("ORSTED.CO", "XCSE", "DKK"),
        ("WSKT.JK", "XIDX", "IDR"),
        ("600519.SS", "XSHG", "CNY"),
        ("000001.SZ", "XSHG", "CNY"),
        ("RELIANCE.NS", "XBOM", "INR"),
        ("RELIANCE.BO", "XBOM", "INR"),
        ("BHP.AX", "XASX", "AUD"),
        ("BTC-USD", "24/7", "USD"),
        ("ETH-EUR", "24/7", "EUR"),
        ("EURUSD=X", "24/5", "USD"),
        ("JPY=X", "24/5", "JPY"),
        ("GC=F", "CMES", "USD"),
        ("^GSPC", "XNYS", "USD"),
        ("^N225", "XTKS", "JPY"),
        ("THING.QQ", "XNYS", "USD"),  # an unknown suffix is taken for New York
    ],
)
def test_a_symbol_says_where_it_trades(ticker, calendar, currency):
    assert listing_of(ticker) == Listing(calendar, currency)


def test_every_calendar_in_the_table_exists():
    listings = [*calendars.SUFFIXES.values(), *calendars.INDICES.values()]
    named = {row.calendar for row in listings} | {"24/7", "24/5", calendars.FUTURES}
    assert named <= set(exchange_calendars.get_calendar_names())


def test_real_apple_bars_lie_on_exactly_our_sessions(real_data):
    days = pd.read_csv(real_data / "yahoo" / "AAPL.csv", parse_dates=["Date"])["Date"].dt.date
    assert sessions_between("AAPL", days.iloc[0], days.iloc[-1]) == tuple(days)


@pytest.mark.parametrize("ticker", ["AAPL", "0700.HK", "BTC-USD", "EURUSD=X", "7203.T"])
def test_sessions_are_the_librarys_across_decades(ticker):
    first, last = date(2008, 11, 3), date(2021, 2, 17)
    library = exchange_calendars.get_calendar(
        listing_of(ticker).calendar, start=first.isoformat(), end=last.isoformat()
    )
    assert sessions_between(ticker, first, last) == tuple(library.sessions.date)


def test_both_ends_count_and_a_reversed_span_is_empty():
    friday, monday = date(2025, 1, 3), date(2025, 1, 6)
    assert sessions_between("AAPL", friday, monday) == (friday, monday)
    assert sessions_between("AAPL", monday, friday) == ()


@pytest.mark.parametrize("day", [date(2025, 7, 3), date(2025, 7, 4), date(2025, 7, 6)])
def test_the_next_session_after_independence_day_is_monday(day):
    assert sessions_after("AAPL", day, 2) == (date(2025, 7, 7), date(2025, 7, 8))


def test_coins_trade_at_the_weekend():
    saturday, sunday = date(2026, 1, 3), date(2026, 1, 4)
    assert sessions_after("BTC-USD", date(2026, 1, 2), 2) == (saturday, sunday)


def test_five_weeks_of_a_closed_exchange_are_bridged():
    assert sessions_after("OPAP.AT", date(2015, 6, 26), 1) == (date(2015, 8, 3),)


@pytest.mark.parametrize("ticker", ["AAPL", "0700.HK", "600519.SS", "RELIANCE.NS", "BTC-USD"])
def test_the_count_is_exact_beyond_what_a_library_knows(ticker):
    ahead = sessions_after(ticker, date(2026, 12, 1), 90)
    assert len(ahead) == len(set(ahead)) == 90
    assert list(ahead) == sorted(ahead) and ahead[0] > date(2026, 12, 1)


def test_where_no_calendar_reaches_weekdays_are_sessions():
    assert sessions_after("600519.SS", date(2031, 1, 3), 1) == (date(2031, 1, 6),)


@given(
    day=st.dates(date(1995, 1, 1), date(2029, 12, 31)),
    count=st.integers(1, 90),
    ticker=st.sampled_from(["AAPL", "0700.HK", "BTC-USD"]),
)
@hypothesis_settings(deadline=None, max_examples=60)
def test_the_next_sessions_are_the_first_of_the_days_to_come(day, count, ticker):
    ahead = sessions_after(ticker, day, count)
    assert len(ahead) == count
    assert ahead == sessions_between(ticker, day + timedelta(days=1), ahead[-1])


@pytest.mark.parametrize(
    ("ticker", "now", "session"),
    [
        ("AAPL", "2025-11-28 17:59:59", date(2025, 11, 26)),  # day after Thanksgiving, half a day
        ("AAPL", "2025-11-28 18:00:00", date(2025, 11, 28)),
        ("AAPL", "2025-12-01 20:59:59", date(2025, 11, 28)),
        ("AAPL", "2025-12-01 21:00:00", date(2025, 12, 1)),
        ("AAPL", "2020-01-01 12:00:00", date(2019, 12, 31)),  # first day of a decade
        ("BTC-USD", "2025-12-01 23:59:59", date(2025, 11, 30)),
        ("BTC-USD", "2025-12-02 00:00:00", date(2025, 12, 1)),
        ("0700.HK", "2025-12-01 08:00:00", date(2025, 12, 1)),
    ],
)
def test_a_session_has_ended_from_the_minute_it_closes(ticker, now, session):
    assert last_completed_session(ticker, datetime.fromisoformat(f"{now}+00:00")) == session


@pytest.mark.parametrize("ticker", ["AAPL", "0700.HK", "BTC-USD", "EURUSD=X", "GC=F"])
def test_the_last_session_is_the_librarys_past_session_at_any_minute(ticker):
    library = exchange_calendars.get_calendar(listing_of(ticker).calendar, start="2018-12-01")
    rng = np.random.default_rng(7)
    for minute in rng.integers(0, 6 * 365 * 24 * 60, 200):
        now = datetime(2019, 1, 1, tzinfo=UTC) + timedelta(minutes=int(minute))
        past = library.minute_to_past_session(pd.Timestamp(now)).date()
        assert last_completed_session(ticker, now) == past, now


def test_another_time_zone_is_the_same_instant():
    tokyo = datetime.fromisoformat("2025-12-02T06:00:00+09:00")
    assert last_completed_session("AAPL", tokyo) == date(2025, 12, 1)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        last_completed_session("AAPL", datetime(2025, 12, 1))


def test_asking_again_is_fast_enough_for_every_request():
    now = datetime(2025, 12, 1, 22, tzinfo=UTC)
    sessions_after("AAPL", last_completed_session("AAPL", now), 90)
    begin = time.perf_counter()
    for _ in range(200):
        sessions_after("AAPL", last_completed_session("AAPL", now), 90)
    assert time.perf_counter() - begin < 0.2  # a millisecond each; some 20 microseconds measured


def test_known_sessions_are_those_the_library_knows_and_no_guess():
    assert known_sessions("IBM", date(1962, 1, 1), date(1970, 1, 6)).astype(str).tolist() == [
        *("1970-01-02", "1970-01-05", "1970-01-06")
    ]
    assert len(known_sessions("IBM", date(1962, 1, 1), date(1969, 12, 31))) == 0
    days = known_sessions("0700.HK", date(2020, 1, 1), date(2020, 12, 31)).tolist()
    assert tuple(days) == sessions_between("0700.HK", date(2020, 1, 1), date(2020, 12, 31))


@pytest.mark.parametrize(
    ("ticker", "after", "close"),
    [
        ("AAPL", "2025-12-01T15:00+00:00", "2025-12-01T21:00+00:00"),
        ("AAPL", "2025-12-01T21:00+00:00", "2025-12-02T21:00+00:00"),
        ("AAPL", "2025-11-28T12:00+00:00", "2025-11-28T18:00+00:00"),  # the day after Thanksgiving
        ("AAPL", "2025-07-03T18:00+00:00", "2025-07-07T20:00+00:00"),  # summer time, a long weekend
        ("BTC-USD", "2025-12-31T12:00+00:00", "2026-01-01T00:00+00:00"),
    ],
)
def test_the_next_close_knows_half_days_holidays_and_summer_time(ticker, after, close):
    assert next_close(ticker, datetime.fromisoformat(after)) == datetime.fromisoformat(close)


def test_the_next_close_is_the_one_that_completes_the_next_session():
    moment = datetime(2025, 3, 5, 12, tzinfo=UTC)
    for _ in range(260):
        close = next_close("0700.HK", moment)
        before = last_completed_session("0700.HK", close - timedelta(seconds=1))
        assert last_completed_session("0700.HK", close) > before
        moment = close
