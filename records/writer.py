"""Puts served forecasts into the database beside the requests, a batch at a time.

`put` costs a request an append to a queue. What is not yet written after at most `LINGER` plus one
transaction is lost if the process is killed; `close` writes all of it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from contracts import Forecast, LogUnavailable
from records.database import Database
from records.promising import Serving, write

log = logging.getLogger(__name__)

LINGER = 0.25  # seconds a forecast waits for others to share a transaction with
BATCH = 200  # forecasts in one transaction
ROOM = 5000  # forecasts kept while the database is away, some 10 kB each
RETRY_FIRST, RETRY_LAST = 0.25, 10.0  # seconds between attempts, doubling
CLOSE_SECONDS = 10.0  # how long closing may take
COMPLAIN_EVERY = 60.0  # seconds between two log lines about what was lost
AWAY = (OperationalError, InterfaceError, PoolTimeout)  # the rest is the forecast's own fault


class ForecastWriter:
    """Takes forecasts from any thread; one thread of its own writes them."""

    def __init__(self, database: Database, room: int = ROOM) -> None:
        self._database = database
        self._queue: queue.Queue[Serving] = queue.Queue(room)
        self._in_hand: list[Serving] = []
        self._closing = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._deadline = float("inf")
        self._complained = float("-inf")
        self.written = 0
        self.lost = 0  # forecasts that will never be written

    @property
    def pending(self) -> int:
        """Forecasts taken and not yet written."""
        return self._queue.qsize() + len(self._in_hand)

    def put(self, forecast: Forecast, request_id: str) -> None:
        """Take a forecast to be written. Never waits, never raises; a full queue loses it."""
        serving = Serving(forecast, request_id, datetime.now(UTC))
        if self._closing.is_set():
            self._lose(1, "closed")
            return
        try:
            self._queue.put_nowait(serving)
        except queue.Full:
            self._lose(1, "queue_full")
        if self._thread is None:
            self._start()

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Write what is pending and stop; what a database that is away cannot take is lost."""
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout + 1)
        left = self.pending
        if left:
            self._in_hand = []
            self._queue = queue.Queue(1)
            self._lose(left, "closed_unwritten")

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="forecast-writer", daemon=True
                )
                self._thread.start()

    def _work(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            self._gather()
            if self._in_hand:
                self._deliver()
            if time.monotonic() > self._deadline:
                return

    def _gather(self) -> None:
        """Wait for a forecast, then for those that follow within `LINGER`.

        Who puts them is not disturbed: the queue is looked at now and then, not woken by.
        """
        try:
            self._in_hand.append(self._queue.get(timeout=LINGER))
        except queue.Empty:
            return
        until = time.monotonic() + LINGER
        while self._queue.qsize() < BATCH and (wait := until - time.monotonic()) > 0:
            if self._closing.wait(min(wait, LINGER / 5)):
                break
        with suppress(queue.Empty):
            while len(self._in_hand) < BATCH:
                self._in_hand.append(self._queue.get_nowait())

    def _deliver(self) -> None:
        """Write what is in hand, again and again while the database is away."""
        pause = RETRY_FIRST
        while self._in_hand:
            try:
                self._write(self._in_hand)
            except LogUnavailable as error:
                if not isinstance(error.__cause__, AWAY):
                    self._one_by_one()
                    return
                log.warning("forecasts_wait pending=%d reason=%s", self.pending, error)
                if self._gave_up(pause):
                    return
                pause = min(2 * pause, RETRY_LAST)
            except Exception:  # the thread outlives any one forecast
                log.exception("forecasts_unwritable count=%d", len(self._in_hand))
                self._one_by_one()
            else:
                self._in_hand = []

    def _gave_up(self, pause: float) -> bool:
        """Wait before the next attempt; closing cuts the wait short but allows some attempts."""
        if self._closing.is_set():
            time.sleep(min(pause, RETRY_FIRST))
        else:
            self._closing.wait(pause)
        return time.monotonic() > self._deadline

    def _one_by_one(self) -> None:
        """What the database refuses as wrong goes; what it was batched with stays."""
        batch, self._in_hand = self._in_hand, []
        for serving in batch:
            try:
                self._write([serving])
            except Exception as error:
                self._lose(1, f"unwritable {serving.forecast.ticker}: {error}")

    def _write(self, batch: Sequence[Serving]) -> None:
        with self._database.writing() as connection:
            write(connection, batch)
        self.written += len(batch)

    def _lose(self, count: int, reason: str) -> None:
        self.lost += count
        if time.monotonic() - self._complained >= COMPLAIN_EVERY:
            self._complained = time.monotonic()
            log.error("forecasts_lost total=%d reason=%s", self.lost, reason)
