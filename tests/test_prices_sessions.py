"""A table's days held against the calendar of its exchange, as far as that is known."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pandas as pd
import pytest

from calendars import known_sessions
from contracts import BAR_COLUMNS
from prices.sessions import Market, calendar_findings, fillers, market_at, not_ended


def table(days: pd.DatetimeIndex) -> pd.DataFrame:
    """Bars of some days, each a cent above the one before."""
    prices = 10 + pd.Series(range(len(days))) / 100
    bars = pd.DataFrame({"Date": days.astype("datetime64[ns]"), "Volume": 100.0})
    for column, add in zip(BAR_COLUMNS[1:6], (0.0, 0.5, -0.5, 0.0, 0.0), strict=True):
        bars[column] = prices + add
    return bars


def of(ticker: str, first: str, last: str) -> pd.DataFrame:
    days = known_sessions(ticker, date.fromisoformat(first), date.fromisoformat(last))
    return table(pd.DatetimeIndex(days))


def market(ticker: str) -> Market:
    return market_at(ticker, datetime(2026, 11, 21, tzinfo=UTC))


def told(bars: pd.DataFrame, ticker: str) -> dict[str, list[str]]:
    days: dict[str, list[str]] = {}
    for finding in calendar_findings(bars, market(ticker)):
        days.setdefault(finding.code, []).append(str(finding.date))
    return days


@pytest.mark.parametrize("ticker", ["AAPL", "0700.HK", "BTC-USD", "EURUSD=X", "SAP.DE"])
def test_a_table_that_keeps_its_calendar_is_without_findings(ticker):
    assert told(of(ticker, "2019-01-01", "2020-12-31"), ticker) == {}


def test_missing_and_extra_days_are_named():
    bars = of("AAPL", "2020-01-02", "2020-12-31")
    bars.loc[bars["Date"] == "2020-03-02", "Date"] = pd.Timestamp("2020-03-01")  # a Sunday
    assert told(bars, "AAPL") == {
        "missing_session": ["2020-03-02"],
        "extra_session": ["2020-03-01"],
    }


def test_a_weekend_without_trade_is_filler_one_with_a_price_of_its_own_is_not():
    bars = of("AAPL", "2020-01-02", "2020-01-31")
    friday = bars[bars["Date"] == "2020-01-10"]
    close = friday["Close"].item()
    copy = friday.assign(Date=pd.Timestamp("2020-01-11"), Volume=0, High=close, Low=close)
    special = copy.assign(Date=pd.Timestamp("2020-01-18"), Volume=10, Close=close + 1)
    bars = pd.concat([bars, copy, special]).sort_values("Date", ignore_index=True)
    assert bars["Date"][fillers(bars, market("AAPL"))].tolist() == [pd.Timestamp("2020-01-11")]
    assert not fillers(bars, market("BTC-USD")).any()  # weekends are sessions there


def test_years_the_calendar_does_not_know_are_not_judged():
    weekdays = table(pd.bdate_range("1965-01-01", "1970-03-31"))
    assert told(weekdays, "AAPL") == {"extra_session": ["1970-01-01", "1970-02-23", "1970-03-27"]}
    assert told(table(pd.bdate_range("1980-01-01", "1985-12-31")), "RELIANCE.NS") == {}


def test_a_calendar_that_hardly_fits_is_one_finding():
    days = of("AAPL", "2020-01-02", "2021-12-31")
    assert set(told(days, "0700.HK")) == {"calendar_unfit"}
    assert set(told(days.iloc[::2].reset_index(drop=True), "AAPL")) <= {"calendar_unfit"}


def test_weekly_bars_are_refused():
    bars = of("AAPL", "2020-01-02", "2021-12-31").iloc[::5].reset_index(drop=True)
    (finding,) = calendar_findings(bars, market("AAPL"))
    assert (finding.code, finding.action) == ("not_daily", "refused")


def test_bars_of_today_are_not_ended_before_the_close():
    bars = of("AAPL", "2025-12-01", "2025-12-05")
    before, after = (
        not_ended(bars, market_at("AAPL", datetime(2025, 12, 5, hour, tzinfo=UTC))).sum()
        for hour in (20, 22)
    )
    assert (before, after) == (1, 0)
