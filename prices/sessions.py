"""A table's days against the exchange's: sessions that are missing, bars where none was held.

Frames in, findings and masks out. Knows the calendar of the ticker; no clock and no source.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pandas as pd

from calendars import known_sessions, known_span, last_completed_session, listing_of
from contracts import Finding
from prices.findings import Mask, of_table, on_days

UNFIT = 0.05  # share of days off the calendar beyond which it is not the ticker's; of few days 5
RARE = 0.5  # share of sessions missing beyond which bars are not daily
ENOUGH = 20  # sessions before a share of them means anything


@dataclass(frozen=True, slots=True)
class Market:
    """What may be held against a table's dates."""

    ticker: str  # whose calendar counts
    ended: date  # the last session that had ended when the table was made


def market_at(ticker: str, moment: datetime) -> Market:
    """The ticker's market as of a moment (UTC)."""
    return Market(ticker, last_completed_session(ticker, moment))


def not_ended(bars: pd.DataFrame, market: Market) -> Mask:
    """(n,) bars of sessions that had not ended."""
    return (bars["Date"] > pd.Timestamp(market.ended)).to_numpy()


def fillers(bars: pd.DataFrame, market: Market) -> Mask:
    """(n,) bars off the calendar on which nothing happened: no volume and the close before.

    Vendors fill weekends and holidays this way. A bar off the calendar with a volume or a
    price of its own may be a special session (Bombay's Diwali trading) and stays.
    """
    close = bars["Close"].to_numpy(dtype=float)
    same = np.concatenate([[False], close[1:] == close[:-1]])
    flat = (bars["High"] == bars["Low"]).to_numpy()
    silent = (bars["Volume"] == 0).to_numpy()
    return np.asarray(_off_calendar(bars, market) & same & flat & silent)


def calendar_findings(bars: pd.DataFrame, market: Market) -> list[Finding]:
    """Missing and extra sessions between the first and the last bar (kept); refused if not daily.

    Only the years the calendar can tell of are judged. Where too many days disagree the
    calendar is not this market's, and that is the only finding.

    Args:
        bars: columns of BAR_COLUMNS, ascending, one bar a day.
        market: whose calendar.
    """
    held = known_sessions(market.ticker, _first(bars), _last(bars))
    if len(held) < ENOUGH:
        return []
    days = bars["Date"].to_numpy().astype("datetime64[D]")
    missing = ~np.isin(held, days, assume_unique=True)
    extra = _off_calendar(bars, market)
    if (away := missing.sum() / len(held)) > RARE:
        text = f"{away:.0%} of the sessions are missing: not a table of daily bars"
        return [of_table("not_daily", "refused", text)]
    calendar = listing_of(market.ticker).calendar
    if missing.sum() + extra.sum() > max(5, UNFIT * len(held)):
        text = (
            f"{missing.sum()} sessions of the calendar {calendar} are missing and {extra.sum()} "
            "bars lie on other days: it is not this market's, or the table has holes"
        )
        return [of_table("calendar_unfit", "kept", text)]
    text = f"{calendar} held a session and there is no bar"
    gaps = on_days(pd.Series(held), missing, "missing_session", "kept", text)
    text = f"a bar on a day without a session of {calendar}"
    return gaps + on_days(bars["Date"], extra, "extra_session", "kept", text)


def _off_calendar(bars: pd.DataFrame, market: Market) -> Mask:
    """(n,) bars on days that the calendar knows and that were no sessions."""
    low, high = known_span(market.ticker)
    days = bars["Date"].to_numpy().astype("datetime64[D]")
    held = known_sessions(market.ticker, _first(bars), _last(bars))
    return np.asarray((days >= low) & (days <= high) & ~np.isin(days, held))


def _first(bars: pd.DataFrame) -> date:
    day: date = bars["Date"].iloc[0].date()
    return day


def _last(bars: pd.DataFrame) -> date:
    day: date = bars["Date"].iloc[-1].date()
    return day
