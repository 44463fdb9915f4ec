"""Yahoo's daily bars through the genuine yfinance client, its failures told apart.

The only place that imports yfinance, and only when asked. Knows no cache of ours.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np
import pandas as pd

from contracts import BAR_COLUMNS, SourceUnavailable

log = logging.getLogger(__name__)

FIRST_DAY = date(1980, 1, 1)  # what a whole history means unless the cache reaches back further
REQUEST_SECONDS = 10
# Cookie, crumb and consent pages have limits of their own, 30 s each, that cannot be set.
FETCH_SECONDS = 45.0
PAUSE_SECONDS = 300.0  # after a failure; Yahoo's last hours to days and others wait behind us

NOTHING_THERE = ("no data found", "data doesn't exist", "delisted")  # among Yahoo's reasons


class NoData(SourceUnavailable):
    """Yahoo answered, and has no bars under this symbol."""


class _Pause:
    """Whether Yahoo failed a short while ago; one for the whole process."""

    def __init__(self) -> None:
        self.until = 0.0
        self.reason = ""

    def begin(self, reason: str) -> None:
        self.until, self.reason = time.monotonic() + PAUSE_SECONDS, reason

    def check(self) -> None:
        """Raise SourceUnavailable while the pause lasts."""
        left = self.until - time.monotonic()
        if left > 0:
            raise SourceUnavailable(
                f"Yahoo is left alone for {left:.0f} s more since it failed ({self.reason})"
            )

    def end(self) -> None:
        self.until = 0.0


pause = _Pause()
_one_at_a_time = threading.Lock()  # yfinance keeps cookie, crumb and settings for the process


def fetch_bars(ticker: str, first: date, last: date, scratch: Path) -> pd.DataFrame:
    """Every daily bar Yahoo has from `first` through `last`, as it comes, not validated.

    Args:
        ticker: Yahoo's symbol.
        first: earliest day asked for.
        last: latest day kept; give the last completed session, newer bars are still forming.
        scratch: a writable folder for yfinance's own time-zone and cookie databases.

    Returns:
        Columns of BAR_COLUMNS, ascending; Close split-adjusted, Adj Close for dividends too;
        rows without any price at the end left out.

    Raises:
        NoData: Yahoo knows no bars of this symbol in this span.
        SourceUnavailable: anything else: no network, a limit, a changed answer; also for
            PAUSE_SECONDS after such a failure, without asking.
    """
    pause.check()
    answers: Queue[pd.DataFrame | SourceUnavailable] = Queue()
    answer: pd.DataFrame | SourceUnavailable

    def work() -> None:
        try:
            answers.put(_ask(ticker, first, last, scratch))
        except SourceUnavailable as error:
            answers.put(error)

    threading.Thread(target=work, name=f"yahoo-{ticker}", daemon=True).start()
    try:
        answer = answers.get(timeout=FETCH_SECONDS)
    except Empty:
        answer = SourceUnavailable(f"Yahoo has not answered within {FETCH_SECONDS:.0f} s")
    if isinstance(answer, NoData):
        raise answer
    if isinstance(answer, SourceUnavailable):
        pause.begin(str(answer))
        log.warning("yahoo_failed ticker=%s reason=%r", ticker, str(answer))
        raise answer
    pause.end()
    log.info("yahoo_answered ticker=%s rows=%d", ticker, len(answer))
    return answer


def _ask(ticker: str, first: date, last: date, scratch: Path) -> pd.DataFrame:
    with _one_at_a_time:
        try:
            bars = _as_table(_history(ticker, first, last, scratch), last)
        except Exception as error:  # yfinance lets through whatever its parsers and curl raise
            reason = f"{type(error).__name__}: {_line(error)}"
            if _unknown(error):
                raise NoData(f"Yahoo has no bars of {ticker}: {reason}") from error
            raise SourceUnavailable(f"Yahoo failed: {reason}") from error
    if bars.empty:
        raise NoData(f"Yahoo has no bars of {ticker} from {first} through {last}")
    return bars


def _history(ticker: str, first: date, last: date, scratch: Path) -> Any:
    import yfinance
    from yfinance.data import YfData

    scratch.mkdir(parents=True, exist_ok=True)
    _settle(str(scratch))
    yfinance.config.debug.hide_exceptions = False
    YfData.cache_get.cache_clear()  # it would repeat a failed answer for the life of the process
    return yfinance.Ticker(ticker).history(
        start=first,
        end=last + timedelta(days=1),
        auto_adjust=False,
        actions=True,
        timeout=REQUEST_SECONDS,
    )


@lru_cache(maxsize=1)
def _settle(folder: str) -> None:
    """Once: it closes the databases, which other threads may be using by the second time."""
    import yfinance

    yfinance.set_tz_cache_location(folder)


def _unknown(error: Exception) -> bool:
    """Whether Yahoo said that it has no such symbol or no bars of it.

    It says so with a 404, which yfinance may turn into a missing time zone; or with a reason
    of its own, under an exception that also stands for an empty answer (seen in outages) and
    for refusals such as `Invalid Crumb`.
    """
    from yfinance.exceptions import YFTzMissingError

    if getattr(getattr(error, "response", None), "status_code", None) == 404:
        return True
    reason = str(getattr(error, "yahoo_reason", None)).lower()
    return isinstance(error, YFTzMissingError) or any(sign in reason for sign in NOTHING_THERE)


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
    return " ".join(str(error).split()).partition(" See https://curl.se")[0][:200]
