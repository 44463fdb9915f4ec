"""Invented bars on their own shelf: made on first use, carried on to the newest session later.

Knows no real bars; `data_pipeline` decides when invented ones may be shown.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, date, datetime

import pandas as pd

from calendars import sessions_between
from contracts import NotEnoughHistory, SourceUnavailable
from generate_synthetic_data import REGIMES, Wish, generate_synthetic_stock_data
from prices.cache import Label, Shelf, Stored
from prices.formats import to_csv_bytes

log = logging.getLogger(__name__)


DAILY = "made on demand"  # and so begins where training begins
ORDERED = "made by command"  # and so keeps the beginning that was asked for


def bars_through(shelf: Shelf, ticker: str, start: date, end: date) -> Stored:
    """The ticker's invented bars through `end`; waits for nobody.

    Stored bars are only carried on: the earlier ones stay the same bit for bit. Bars made on
    demand are made anew, from `start`, where they begin later than that; bars changed by hand,
    or of a regime no longer known, are neither carried on nor replaced.
    """
    stored = shelf.get(ticker)
    if stored is None:
        return _keep(shelf, ticker, invent(ticker, Wish(start=start, end=end), DAILY))
    details = stored.label.details
    if "start" not in details or details["regime"] not in REGIMES:
        return stored
    begins, ordered = date.fromisoformat(details["start"]), details["made"] == ORDERED
    if stored.last >= end and (ordered or begins <= start):
        return stored
    wish = Wish(
        start=begins if ordered else min(begins, start),
        end=max(end, stored.last),
        regime=details["regime"],
    )
    made = invent(ticker, wish, details["made"])
    return _keep(shelf, ticker, _since(made, stored.first) if ordered else made)


def invent(ticker: str, wish: Wish, made: str = ORDERED) -> Stored:
    """Invented bars with the label that says so.

    Raises:
        NotEnoughHistory: no session in the span.
        ValueError: `days` below 1, or an unknown regime.
    """
    if not sessions_between(ticker, wish.start, wish.end):
        raise NotEnoughHistory(have=0, need=1, what=f"sessions of {ticker} by {wish.end}")
    bars = generate_synthetic_stock_data(ticker, wish.start, wish.end, wish.days, wish.regime)
    label = Label(
        source="synthetic",
        adjustment="split",
        fetched_at=datetime.now(UTC),
        details={"start": wish.start.isoformat(), "regime": wish.regime, "made": made},
    )
    return Stored(bars, label, to_csv_bytes(bars))


def _since(stored: Stored, first: date) -> Stored:
    bars = stored.bars[stored.bars["Date"] >= pd.Timestamp(first)].reset_index(drop=True)
    return replace(stored, bars=bars, data=to_csv_bytes(bars))


def _keep(shelf: Shelf, ticker: str, made: Stored) -> Stored:
    """Invented bars, also written where nobody else is writing and the folder allows it."""
    try:
        with shelf.locked(ticker, seconds=0):
            return shelf.put(ticker, made.bars, made.label)
    except SourceUnavailable as error:
        log.info("synthetic_not_stored ticker=%s reason=%r", ticker, str(error))
        return made
