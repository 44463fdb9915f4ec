"""Work that blocks, kept off the event loop: few threads, a short queue, a time limit.

Knows neither what the work is nor who asks for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from contracts import DeadlineExceeded, Overloaded
from forecast_cache import SingleFlight

Made = TypeVar("Made")


class WorkQueue:
    """A bounded pool. What is asked for by the same key at the same time is made once.

    Args:
        threads: that work.
        waiting: pieces of work that may wait for one of them.
        seconds: after which whoever waits is sent away; the work is finished all the same.
    """

    def __init__(self, threads: int, waiting: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="work")
        self._room = threading.Semaphore(threads + waiting)
        self._flights: SingleFlight[Any] = SingleFlight()
        self._seconds = seconds

    async def run(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` returns or raises, made in a thread.

        Raises:
            Overloaded: as much is waiting as may.
            DeadlineExceeded: it takes too long.
        """
        flight: Future[Made]
        flight, first = self._flights.join(key)
        if first:
            self._submit(key, make)
        waiting = asyncio.shield(asyncio.wrap_future(flight))
        try:
            return await asyncio.wait_for(waiting, self._seconds)
        except TimeoutError:
            raise DeadlineExceeded(self._seconds) from None

    def close(self) -> None:
        """Take no more work; what is being made is finished."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, key: Hashable, make: Callable[[], Any]) -> None:
        if not self._room.acquire(blocking=False):
            self._flights.cancel(key, Overloaded())
            return
        work = self._pool.submit(self._flights.land, key, make)
        work.add_done_callback(lambda _: self._room.release())
