"""Yahoo's bars into the cache, where they are worth it; one process at a time per ticker.

Knows the cache and Yahoo; knows no setting and not what a reader makes of a failure.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd

from calendars import last_completed_session
from contracts import BadPrices
from prices import yahoo
from prices.cache import Label, Shelf, Stored
from prices.validation import check_bars

log = logging.getLogger(__name__)

LOST_AT_THE_START = timedelta(days=7)  # how much of a cache's oldest bars a new answer may lack


def refreshed(shelf: Shelf, ticker: str, needed: date, scratch: Path) -> Stored:
    """The cache once it reaches `needed`, or Yahoo's whole history, then put into the cache.

    Args:
        shelf: the cache.
        ticker: Yahoo's symbol.
        needed: a cache through this session is left as it is, without asking.
        scratch: a writable folder for yfinance's own files.

    Raises:
        prices.yahoo.NoData: Yahoo has no bars of it.
        SourceUnavailable: Yahoo cannot be asked, or the cache cannot be written.
        BadPrices: Yahoo's bars cannot be trusted or would shorten the cache.
    """
    with shelf.locked(ticker):
        stored = shelf.get(ticker)
        if stored is not None and stored.last >= needed:
            return stored  # another process was quicker
        first = yahoo.FIRST_DAY if stored is None else min(yahoo.FIRST_DAY, stored.first)
        last = last_completed_session(ticker, datetime.now(UTC))
        checked = check_bars(yahoo.fetch_bars(ticker, first, last, scratch), "Yahoo")
        _refuse_loss(stored, checked.bars)
        log_notes(ticker, checked.notes)
        label = Label(
            source="yfinance",
            adjustment="split",
            fetched_at=datetime.now(UTC),
            notes=checked.notes,
        )
        return shelf.put(ticker, checked.bars, label)


def log_notes(ticker: str, notes: Sequence[str]) -> None:
    """What validation found odd, one warning each."""
    for note in notes:
        log.warning("price_note ticker=%s note=%r", ticker, note)


def _refuse_loss(stored: Stored | None, fresh: pd.DataFrame) -> None:
    """Never trade a longer or differently adjusted cache for Yahoo's answer."""
    if stored is None:
        return
    first, last = fresh["Date"].iloc[0].date(), fresh["Date"].iloc[-1].date()
    if last < stored.last or first > stored.first + LOST_AT_THE_START:
        raise BadPrices(
            f"Yahoo's bars run from {first} to {last}, the cache from {stored.first} to "
            f"{stored.last}; the cache is kept"
        )
    if stored.label.adjustment != "split":
        raise BadPrices(
            f"Yahoo's bars are split-adjusted, the cache is {stored.label.adjustment}-adjusted; "
            "the cache is kept"
        )
