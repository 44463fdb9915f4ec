"""The outcome of each ticker's newest drift check, as it was a moment ago: nobody waits for it.

Knows the log; no model, no price and no HTTP.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from contracts import LogUnavailable
from forecast_log import ForecastLog

log = logging.getLogger(__name__)

ASK_SECONDS = 60.0  # for which the log is not asked again


@dataclass(frozen=True, slots=True)
class _Heard:
    asked_at: float
    alarm: bool | None


class Alarms:
    """Asks the log beside whoever wants to know. Safe to share by threads."""

    def __init__(self, records: ForecastLog) -> None:
        self._records = records
        self._heard: dict[str, _Heard] = {}
        self._changing = threading.Lock()
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="alarms")
        self._closed = False

    def of(self, ticker: str) -> bool | None:
        """What was last heard; None where nothing was yet, or there was no check. Asks anew."""
        now = time.monotonic()
        with self._changing:
            heard = self._heard.get(ticker)
            if not self._closed and (heard is None or now - heard.asked_at >= ASK_SECONDS):
                self._heard[ticker] = _Heard(now, heard.alarm if heard else None)
                self._beside.submit(self._ask, ticker, now)
        return heard.alarm if heard else None

    def close(self) -> None:
        """Ask no more; a question under way is waited for."""
        with self._changing:
            self._closed = True
        self._beside.shutdown(cancel_futures=True)

    def _ask(self, ticker: str, now: float) -> None:
        try:
            verdict = self._records.latest_verdict(ticker)
        except LogUnavailable as error:
            log.info("alarm_unknown ticker=%s reason=%r", ticker, str(error))
            return
        with self._changing:
            self._heard[ticker] = _Heard(now, verdict.alarm if verdict else None)
