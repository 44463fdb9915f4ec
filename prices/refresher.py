"""Prices fetched beside the requests: one worker thread, each ticker at most once at a time.

Knows neither sources nor files; it is told how to fetch a ticker.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from contracts import BadPrices, ForecastingError
from prices.providers import NoData

log = logging.getLogger(__name__)

# Seconds a ticker is not asked for again, by what came of the last time.
REST_AFTER = {NoData: 3600.0, BadPrices: 1800.0, ForecastingError: 60.0}
REST_WHEN_FETCHED = 300.0
STRANGERS = 32  # symbols nobody configured that are fetched within STRANGER_SECONDS
STRANGER_SECONDS = 3600.0
CLOSE_SECONDS = 1.0  # what a shutdown gives a download that hangs


class Refresher:
    """Fetches in the background what it is asked for, never raising and never waited for.

    Args:
        fetch: brings one ticker up to date; what it raises is logged.
        known: whether a ticker is one of ours. Known ones come first and are not counted.
        clock: seconds, ever growing.
    """

    def __init__(
        self,
        fetch: Callable[[str], object],
        known: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch, self._known, self._clock = fetch, known, clock
        self._changed = threading.Condition()
        self._waiting: dict[str, bool] = {}  # ticker -> known, oldest first
        self._rests: dict[str, float] = {}  # ticker -> not before
        self._strangers: dict[str, float] = {}  # ticker -> counted until
        self._busy: str | None = None
        self._closed = False
        self._worker: threading.Thread | None = None

    @classmethod
    def idle(cls) -> Refresher:
        """One that declines everything."""
        nobody = cls(fetch=lambda _: None, known=lambda _: False)
        nobody.close()
        return nobody

    def ask(self, ticker: str) -> bool:
        """Have a ticker fetched soon; False where it is waiting already, was fetched or found
        missing a short while ago, or is one stranger too many. Returns at once."""
        with self._changed:
            now = self._clock()
            resting = now < self._rests.get(ticker, now)
            if self._closed or resting or ticker in self._waiting or ticker == self._busy:
                return False
            if not (known := self._known(ticker)) and not self._admit(ticker, now):
                log.info("refresh_declined ticker=%s strangers=%d", ticker, STRANGERS)
                return False
            self._waiting[ticker] = known
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="refresher", daemon=True)
                self._worker.start()
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """Take no more and let go of what hangs: a daemon thread whose writes are whole or not at
        all."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._worker is not None:
            self._worker.join(CLOSE_SECONDS)

    def _admit(self, ticker: str, now: float) -> bool:
        self._strangers = {name: end for name, end in self._strangers.items() if now < end}
        if ticker not in self._strangers and len(self._strangers) >= STRANGERS:
            return False
        self._strangers[ticker] = now + STRANGER_SECONDS
        return True

    def _work(self) -> None:
        while (ticker := self._next()) is not None:
            rest = self._outcome(ticker)
            with self._changed:
                now = self._clock()
                self._rests = {name: end for name, end in self._rests.items() if now < end}
                self._rests[ticker] = now + rest
                self._busy = None

    def _next(self) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return None
            ours = (ticker for ticker, known in self._waiting.items() if known)
            self._busy = next(ours, next(iter(self._waiting)))
            del self._waiting[self._busy]
            return self._busy

    def _outcome(self, ticker: str) -> float:
        """Fetch, and say for how many seconds the ticker is left alone."""
        try:
            self._fetch(ticker)
        except ForecastingError as error:
            log.info("refresh_failed ticker=%s reason=%r", ticker, str(error))
            return next(rest for kind, rest in REST_AFTER.items() if isinstance(error, kind))
        except Exception:  # a bug of ours must not end the only worker
            log.exception("refresh_crashed ticker=%s", ticker)
            return REST_WHEN_FETCHED
        return REST_WHEN_FETCHED
