"""Live figures of what is served, kept at hand: what a scrape may ask for without any work.

A thread of its own looks once a minute whether a ticker was settled anew and only then computes.
Knows neither models nor HTTP.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from contracts import LogUnavailable, PerformanceRow
from forecast_log import ForecastLog

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0  # within which the database is not asked again
Rows = tuple[PerformanceRow, ...]


class Realised:
    """The newest known performance of some tickers. Safe to share by threads.

    Args:
        forecasts: the log that promises are settled in; whoever opened it closes it.
        clock: seconds, ever growing.
    """

    def __init__(self, forecasts: ForecastLog, clock: Callable[[], float] = time.monotonic) -> None:
        self._forecasts, self._clock = forecasts, clock
        self._rows: dict[str, tuple[datetime | None, Rows]] = {}
        self._looked_at = float("-inf")
        self._changing = threading.Lock()
        self._closing = threading.Event()
        self._scout = ThreadPoolExecutor(1, thread_name_prefix="realised")

    def at_hand(self, versions: Mapping[str, str]) -> Mapping[str, Rows]:
        """What is known now; has somebody look where that is a minute old.

        Args:
            versions: of the model that answers now, by ticker; rows of no other are given, and
                none of invented prices.
        """
        wanted = tuple(versions)
        with self._changing:
            due = bool(wanted) and self._clock() - self._looked_at >= LOOK_SECONDS
            if due:
                self._looked_at = self._clock()
        if due:
            self._send(wanted)
        return {
            ticker: tuple(row for row in self._rows[ticker][1] if row.version == version)
            for ticker, version in versions.items()
            if ticker in self._rows
        }

    def look(self, tickers: Iterable[str]) -> None:
        """Compute anew what was settled since the last look."""
        for ticker in tickers:
            if self._closing.is_set():
                return
            try:
                settled_at = self._forecasts.settled_at(ticker)
                if self._rows.get(ticker, (None, ()))[0] == settled_at:
                    continue
                rows = self._forecasts.performance(ticker).rows
            except LogUnavailable as error:
                log.info("realised_unknown ticker=%s reason=%r", ticker, str(error))
                return
            self._rows[ticker] = (settled_at, tuple(row for row in rows if not row.synthetic))

    def close(self) -> None:
        """Look no more; waits for the ticker that is being looked at."""
        self._closing.set()
        self._scout.shutdown(wait=True, cancel_futures=True)

    def _send(self, tickers: tuple[str, ...]) -> None:
        try:
            self._scout.submit(self.look, tickers)
        except RuntimeError:  # closing
            log.debug("realised_closing")
