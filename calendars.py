"""Exchange sessions of a ticker: where it trades, on which days, and which have ended.

The only door to `exchange_calendars`. Knows no prices, no settings and no clock.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

DateArray = npt.NDArray[np.datetime64]

ALWAYS = "24/7"
WEEKDAYS = "24/5"
FUTURES = "CMES"  # CME Globex, which also carries COMEX and NYMEX
# The library's holidays are pandas rules, which begin in 1970: before, it calls them sessions.
FIRST_HOLIDAY = np.datetime64("1970-01-01", "D")


@dataclass(frozen=True, slots=True)
class Listing:
    """Where a ticker trades: a calendar of `exchange_calendars` and Yahoo's currency code.

    `GBp`, `ZAc` and `ILA` are hundredths (pence, cents, agorot), as Yahoo quotes them.
    """

    calendar: str
    currency: str


# Yahoo's suffixes. Venues without a calendar of their own borrow the one whose holidays they keep:
# .SZ Shanghai's, .NS Bombay's, .V .CN .NE Toronto's, .BE .MU Frankfurt's, .TWO Taipei's.
SUFFIXES = {
    **dict.fromkeys(("V", "TO", "CN", "NE"), Listing("XTSE", "CAD")),
    **dict.fromkeys(("SS", "SZ"), Listing("XSHG", "CNY")),
    **dict.fromkeys(("NS", "BO"), Listing("XBOM", "INR")),
    **dict.fromkeys(("F", "BE", "MU"), Listing("XFRA", "EUR")),
    **dict.fromkeys(("KS", "KQ"), Listing("XKRX", "KRW")),
    **dict.fromkeys(("TW", "TWO"), Listing("XTAI", "TWD")),
    "AS": Listing("XAMS", "EUR"),
    "AT": Listing("ASEX", "EUR"),
    "AX": Listing("XASX", "AUD"),
    "BA": Listing("XBUE", "ARS"),
    "BD": Listing("XBUD", "HUF"),
    "BK": Listing("XBKK", "THB"),
    "BR": Listing("XBRU", "EUR"),
    "CL": Listing("XBOG", "COP"),
    "CO": Listing("XCSE", "DKK"),
    "DE": Listing("XETR", "EUR"),
    "DU": Listing("XDUS", "EUR"),
    "HE": Listing("XHEL", "EUR"),
    "HK": Listing("XHKG", "HKD"),
    "HM": Listing("XHAM", "EUR"),
    "IC": Listing("XICE", "ISK"),
    "IL": Listing("XLON", "USD"),
    "IR": Listing("XDUB", "EUR"),
    "IS": Listing("XIST", "TRY"),
    "JK": Listing("XIDX", "IDR"),
    "JO": Listing("XJSE", "ZAc"),
    "KL": Listing("XKLS", "MYR"),
    "L": Listing("XLON", "GBp"),
    "LS": Listing("XLIS", "EUR"),
    "MC": Listing("XMAD", "EUR"),
    "ME": Listing("XMOS", "RUB"),
    "MI": Listing("XMIL", "EUR"),
    "MX": Listing("XMEX", "MXN"),
    "NZ": Listing("XNZE", "NZD"),
    "OL": Listing("XOSL", "NOK"),
    "PA": Listing("XPAR", "EUR"),
    "PR": Listing("XPRA", "CZK"),
    "RG": Listing("XRIS", "EUR"),
    "SA": Listing("BVMF", "BRL"),
    "SG": Listing("XSTU", "EUR"),
    "SI": Listing("XSES", "SGD"),
    "SN": Listing("XSGO", "CLP"),
    "SR": Listing("XSAU", "SAR"),
    "ST": Listing("XSTO", "SEK"),
    "SW": Listing("XSWX", "CHF"),
    "T": Listing("XTKS", "JPY"),
    "TA": Listing("XTAE", "ILA"),
    "TL": Listing("XTAL", "EUR"),
    "VI": Listing("XWBO", "EUR"),
    "VS": Listing("XLIT", "EUR"),
    "WA": Listing("XWAR", "PLN"),
}
INDICES = {
    "^AXJO": Listing("XASX", "AUD"),
    "^BSESN": Listing("XBOM", "INR"),
    "^BVSP": Listing("BVMF", "BRL"),
    "^FCHI": Listing("XPAR", "EUR"),
    "^FTSE": Listing("XLON", "GBP"),
    "^GDAXI": Listing("XETR", "EUR"),
    "^GSPTSE": Listing("XTSE", "CAD"),
    "^HSI": Listing("XHKG", "HKD"),
    "^KS11": Listing("XKRX", "KRW"),
    "^N225": Listing("XTKS", "JPY"),
    "^NSEI": Listing("XBOM", "INR"),
    "^STOXX50E": Listing("XETR", "EUR"),
    "^TWII": Listing("XTAI", "TWD"),
}
NEW_YORK = Listing("XNYS", "USD")
# What a coin is quoted in. A list, not a pattern: BRK-B, BAC-PL and XYZ-UN are shares.
QUOTES = "USD|USDT|USDC|EUR|GBP|JPY|CAD|AUD|NZD|CHF|CNY|HKD|INR|KRW|BRL|MXN|TRY|RUB|BTC|ETH"
CRYPTO = re.compile(rf"[A-Z0-9]+-({QUOTES})")


def listing_of(ticker: str) -> Listing:
    """Where Yahoo's symbol says it trades; New York in dollars where it says nothing known.

    Shares go by their suffix, coins (`BTC-USD`) trade every day, currencies (`EURUSD=X`)
    on weekdays, futures (`GC=F`) on CME Globex.
    """
    symbol = ticker.upper()
    if symbol.startswith("^"):
        return INDICES.get(symbol, NEW_YORK)
    if symbol.endswith("=X"):
        return Listing(WEEKDAYS, symbol[:-2][-3:])
    if symbol.endswith("=F"):
        return Listing(FUTURES, "USD")
    if coin := CRYPTO.fullmatch(symbol):
        return Listing(ALWAYS, coin[1])
    return SUFFIXES.get(symbol.rpartition(".")[2], NEW_YORK) if "." in symbol else NEW_YORK


def sessions_between(ticker: str, first: date, last: date) -> tuple[date, ...]:
    """Every session from `first` through `last`, both included; empty where first > last."""
    if first > last:
        return ()
    days = _schedule(listing_of(ticker).calendar, _decade_of(first), _decade_of(last)).days
    return tuple(_within(days, np.datetime64(first, "D"), np.datetime64(last, "D")).tolist())


def known_sessions(ticker: str, first: date, last: date) -> DateArray:
    """(n,) the sessions among them that the library knows of, ascending: no guessed weekdays."""
    low, high = known_span(ticker)
    begin, end = max(np.datetime64(first, "D"), low), min(np.datetime64(last, "D"), high)
    if begin > end:
        return np.array([], dtype="datetime64[D]")
    calendar = listing_of(ticker).calendar
    days = _schedule(calendar, _decade_of(first), _decade_of(last)).days
    return _within(days, begin, end)


def known_span(ticker: str) -> tuple[np.datetime64, np.datetime64]:
    """First and last day of which the library knows whether the ticker's exchange was open."""
    low, high = _bounds(listing_of(ticker).calendar)
    return max(low, FIRST_HOLIDAY), high


def _within(days: DateArray, first: np.datetime64, last: np.datetime64) -> DateArray:
    return days[np.searchsorted(days, first) : np.searchsorted(days, last, side="right")]


def sessions_after(ticker: str, day: date, count: int) -> tuple[date, ...]:
    """The next `count` sessions strictly after `day`, itself a session or not.

    Beyond what the library knows of an exchange (Shanghai and Bombay publish their holidays
    a year at a time) every weekday counts as a session.
    """
    return _sessions_after(listing_of(ticker).calendar, day, count)


@lru_cache(maxsize=256)
def _sessions_after(calendar: str, day: date, count: int) -> tuple[date, ...]:
    """The same for every ticker of an exchange, which a batch asks about one after the other."""
    # A session every other day at the least; Athens once stayed shut for five weeks (2015).
    first, last = day + timedelta(days=1), day + timedelta(days=60 + 2 * count)
    days = _schedule(calendar, _decade_of(first), _decade_of(last)).days
    within = _within(days, np.datetime64(first, "D"), np.datetime64(last, "D"))
    return tuple(within[:count].tolist())


def last_completed_session(ticker: str, now: datetime) -> date:
    """The latest session that has closed by `now`, half days included.

    A session counts from the very minute it closes; on 24/7 that is the next midnight UTC.

    Raises:
        ValueError: `now` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError("now must carry a time zone")
    return _last_closed(listing_of(ticker).calendar, math.floor(now.timestamp()))


@lru_cache(maxsize=256)
def _last_closed(calendar: str, second: int) -> date:
    """The same for every ticker of an exchange, which a batch asks about within a second.

    Sessions close at whole minutes, so that parts of a second decide nothing.
    """
    moment = datetime.fromtimestamp(second, UTC)
    recently = _decade_of(moment.date() - timedelta(days=60))
    schedule = _schedule(calendar, recently, _decade_of(moment.date()))
    closed = np.searchsorted(schedule.closes, second * 1_000_000, side="right")
    last: date = schedule.days[closed - 1].item()
    return last


def next_close(ticker: str, after: datetime) -> datetime:
    """When the first session that ends later than `after` closes (UTC), half days included.

    Raises:
        ValueError: `after` has no time zone.
    """
    if after.tzinfo is None:
        raise ValueError("after must carry a time zone")
    first, last = _decade_of(after.date()), _decade_of(after.date() + timedelta(days=60))
    closes = _schedule(listing_of(ticker).calendar, first, last).closes
    place = np.searchsorted(closes, round(after.timestamp() * 1e6), side="right")
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(closes[place]))


@dataclass(frozen=True, slots=True, eq=False)
class _Schedule:
    days: DateArray  # (n,) sessions, ascending
    closes: npt.NDArray[np.int64]  # (n,) microseconds since 1970, UTC


def _decade_of(day: date) -> int:
    return day.year // 10 * 10


@lru_cache(maxsize=256)
def _schedule(calendar: str, first: int, last: int) -> _Schedule:
    parts = [_decade(calendar, year) for year in range(first, last + 1, 10)]
    return _Schedule(
        np.concatenate([part.days for part in parts]),
        np.concatenate([part.closes for part in parts]),
    )


@lru_cache(maxsize=256)
def _decade(calendar: str, year: int) -> _Schedule:
    """Ten years of sessions. Decades, because building a calendar costs 100 ms at any length."""
    first, last = np.datetime64(f"{year}-01-01", "D"), np.datetime64(f"{year + 9}-12-31", "D")
    low, high = _bounds(calendar)
    known_from, known_to = max(first, low), min(last, high)
    if known_from >= known_to:
        return _weekdays(first, last)
    sessions = _closes(calendar, known_from, known_to)
    known = _Schedule(
        sessions.index.to_numpy().astype("datetime64[D]"),
        sessions.dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64),
    )
    before = _weekdays(first, known_from - 1)
    after = _weekdays(known_to + 1, last)
    return _Schedule(
        np.concatenate([before.days, known.days, after.days]),
        np.concatenate([before.closes, known.closes, after.closes]),
    )


def _weekdays(first: np.datetime64, last: np.datetime64) -> _Schedule:
    """Monday to Friday, each closing at the midnight (UTC) that ends it."""
    days = np.arange(first, last + 1, dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    return _Schedule(days, (days + 1).astype("datetime64[us]").astype(np.int64))


@lru_cache(maxsize=64)
def _bounds(calendar: str) -> tuple[np.datetime64, np.datetime64]:
    """First and last day the library can tell of."""
    import exchange_calendars  # takes a second: paid by whoever first asks for a session

    sample = exchange_calendars.get_calendar(calendar, start="2022-01-01", end="2022-12-31")
    low, high = sample.bound_min(), sample.bound_max()
    return (
        np.datetime64("1800-01-01" if low is None else low.date(), "D"),
        np.datetime64("2200-12-31" if high is None else high.date(), "D"),
    )


def _closes(calendar: str, first: np.datetime64, last: np.datetime64) -> pd.Series[pd.Timestamp]:
    """When each session ends (UTC), by session."""
    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # pandas', about the library's own concat
        known = exchange_calendars.get_calendar(calendar, start=str(first), end=str(last))
    closes: pd.Series[pd.Timestamp] = known.closes
    return closes
