"""Yahoo's daily bars through the genuine yfinance client, its failures told apart.

The only place that imports yfinance, and only when asked. Knows no cache of ours.
"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from contracts import BAR_COLUMNS, Adjustment, Source, SourceUnavailable
from prices.providers import NoData

log = logging.getLogger(__name__)

REQUEST_SECONDS = 10
REASON_LENGTH = 120  # characters; yfinance and curl put addresses behind their first words

NOTHING_THERE = ("no data found", "data doesn't exist", "delisted")  # among Yahoo's reasons

_one_at_a_time = threading.Lock()  # yfinance keeps cookie, crumb and settings for the process


@dataclass(frozen=True, slots=True)
class Yahoo:
    """Open to Close adjusted for splits, Adj Close for dividends too."""

    scratch: Path  # a writable folder for yfinance's own time-zone and cookie databases
    name: ClassVar[Source] = "yfinance"
    adjustment: ClassVar[Adjustment] = "split"
    in_parts: ClassVar[bool] = True

    def fetch(self, ticker: str, first: date, last: date) -> pd.DataFrame:
        """As `Provider.fetch`."""
        with _one_at_a_time:
            try:
                bars = _as_table(_history(ticker, first, last, self.scratch), last)
            except Exception as error:  # yfinance lets through whatever its parsers and curl raise
                if _unknown(error):
                    raise NoData(f"Yahoo has no bars of {ticker}: {_line(error)}") from error
                raise SourceUnavailable(f"Yahoo failed: {_line(error)}") from error
        if bars.empty:
            raise NoData(f"Yahoo has no bars of {ticker} from {first} through {last}")
        return bars


def _history(ticker: str, first: date, last: date, scratch: Path) -> Any:
    import yfinance
    from yfinance.data import YfData
    from yfinance.exceptions import YFTzMissingError

    scratch.mkdir(parents=True, exist_ok=True)
    _settle(str(scratch.resolve()))
    yfinance.config.debug.hide_exceptions = False
    YfData.cache_get.cache_clear()  # it would repeat a failed answer for the life of the process
    stock = yfinance.Ticker(ticker)
    how = {"auto_adjust": False, "actions": True, "timeout": REQUEST_SECONDS}
    try:
        return stock.history(start=first, end=last + timedelta(days=1), **how)
    except YFTzMissingError:  # keeps Yahoo's reason to itself; asked without dates it is told
        stock.history(period="1d", **how)
        raise


@lru_cache(maxsize=1)
def _settle(folder: str) -> None:
    """Once: it closes the databases, which other threads may be using by the second time."""
    import yfinance

    yfinance.set_tz_cache_location(folder)
    logging.getLogger("yfinance").addFilter(_fold_in)  # a second time changes nothing


def _fold_in(record: logging.LogRecord) -> bool:
    """Take yfinance's own lines into ours: what it says of a failure, the failure says too."""
    log.debug("yfinance_said level=%s text=%r", record.levelname, record.getMessage())
    return False


def _unknown(error: Exception) -> bool:
    """Whether Yahoo said that it has no such symbol or no bars of it.

    It says so with a 404, or with a reason of its own, under an exception that also stands for
    an empty answer (seen in outages) and for refusals such as `Invalid Crumb`.
    """
    if getattr(getattr(error, "response", None), "status_code", None) == 404:
        return True
    reason = str(getattr(error, "yahoo_reason", None)).lower()
    return any(sign in reason for sign in NOTHING_THERE)


def _as_table(history: pd.DataFrame, last: date) -> pd.DataFrame:
    """Exchange-local dates without zone; nothing newer than `last`, no empty newest rows."""
    if history.empty:
        return pd.DataFrame(columns=list(BAR_COLUMNS))
    missing = set(BAR_COLUMNS[1:]) - set(history.columns)
    if missing:
        raise ValueError(f"no column {', '.join(sorted(missing))} in the answer")
    bars = history.tz_localize(None).rename_axis("Date").reset_index()[list(BAR_COLUMNS)]
    bars["Date"] = bars["Date"].astype("datetime64[ns]").dt.normalize()
    bars = bars[bars["Date"] <= pd.Timestamp(last)]
    priced = np.flatnonzero(bars[["Open", "High", "Low", "Close"]].notna().all(axis=1))
    return bars.iloc[: priced[-1] + 1 if len(priced) else 0]


def _line(error: Exception) -> str:
    """Type and reason in one short line, without addresses and the span that was asked for."""
    reason = " ".join(str(getattr(error, "yahoo_reason", None) or error).split())
    reason = re.sub(r"^Failed to perform, curl: \(\d+\) ", "", reason)
    reason = re.sub(r"( See https://curl| for url|: https?:| \(1d ).*", "", reason)
    return f"{type(error).__name__}: {reason}"[:REASON_LENGTH]
