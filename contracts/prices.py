"""Bars of daily prices and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.floating[Any]]
Source = Literal["yfinance", "alphavantage", "file", "synthetic"]
Adjustment = Literal["split", "split+dividend"]
Freshness = Literal["live", "cached", "stale", "synthetic"]
FEEDS: tuple[Source, ...] = ("yfinance", "alphavantage")  # they bring each new session themselves
BAR_COLUMNS = ("Date", "Open", "High", "Low", "Close", "Adj Close", "Volume")
Scaling = Literal["minmax", "zscore"]  # of one series by its own trailing window


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that validation found in a table of bars, and what became of it."""

    code: str  # such as `large_move`, `duplicate_date`, `missing_session`
    date: date | None  # the session it is about; None for the whole table
    action: Literal["kept", "repaired", "dropped", "refused"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a table of bars came from; it travels with the bars into every answer."""

    source: Source
    adjustment: Adjustment  # of Open, High, Low and Close
    fetched_at: datetime  # UTC; of a user's file: when it was imported or last changed by hand
    first_session: date
    last_session: date
    rows: int
    sha256: str  # of the bars in the cache's own CSV form, up to `last_session`
    stale: bool = False  # a later session had already ended when the bars were read
    sessions_behind: int = 0  # how many of them: the age of a stale cache
    findings: Mapping[str, int] = field(default_factory=dict)  # validation's, counted by code
    quarantined: str | None = None  # why the feed's newer bars were refused; these are the old ones

    @property
    def state(self) -> Freshness:
        """How far the newest bar can be taken for the present one.

        `live` bars came from a feed after the last session had ended, since no bar of a session
        that is still running is ever kept; `cached` ones are a user's, which nobody brings on.
        """
        if self.source == "synthetic":
            return "synthetic"
        if self.stale:
            return "stale"
        return "live" if self.source in FEEDS else "cached"


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Daily bars of one ticker with their provenance.

    `bars` has the columns of BAR_COLUMNS and a RangeIndex; Date is a naive midnight
    datetime64, strictly ascending; prices are positive and finite.
    """

    ticker: str
    bars: pd.DataFrame
    provenance: Provenance
