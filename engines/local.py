"""Tasks by processes on this machine, or in this very process where one worker is enough.

Every process is an executor of its own (loky's): one that dies takes nothing with it but the task
it was at, where one executor of many processes would lose all that they were at.
"""

from __future__ import annotations

import itertools
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import loky

from engines.tasks import AHEAD, ATTEMPTS, Done, P, T, check_importable
from engines.worker import QUIET, begin, done_of, environment, perform, put_in_place

log = logging.getLogger(__name__)


def processors() -> int:
    """Those this process may use, by its affinity and its container's share."""
    return int(loky.cpu_count())


class InProcess:
    """One task after the other in this process, on one thread each, as a worker would run it."""

    name = "local"
    workers = 1

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(put_in_place(environment()))

    def map(self, work: Callable[[str, P], T], tasks: Iterable[tuple[str, P]]) -> Iterator[Done[T]]:
        """As Engine.map; the next task is run when the next outcome is asked for."""
        check_importable(work)
        for key, payload in tasks:
            yield done_of(key, perform(work, key, payload), attempts=1)

    def close(self) -> None:
        """Give the environment back."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class LocalEngine:
    """Tasks by several processes of this machine, which end with it, whichever way it ends."""

    name = "local"

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._slots = [_Slot() for _ in range(workers)]

    def map(self, work: Callable[[str, P], T], tasks: Iterable[tuple[str, P]]) -> Iterator[Done[T]]:
        """As Engine.map; processes start with the first tasks, and stay for the next call."""
        check_importable(work)
        ready: queue.SimpleQueue[tuple[str, P] | None] = queue.SimpleQueue()
        results: queue.SimpleQueue[Done[T]] = queue.SimpleQueue()
        for slot in self._slots:
            threading.Thread(target=slot.serve, args=(work, ready, results), daemon=True).start()
        try:
            yield from _through(tasks, self.workers * AHEAD, ready, results)
        finally:
            for _ in self._slots:
                ready.put(None)

    def close(self) -> None:
        """End every process at once."""
        for slot in self._slots:
            slot.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _through(
    tasks: Iterable[tuple[str, P]],
    ahead: int,
    ready: queue.SimpleQueue[tuple[str, P] | None],
    results: queue.SimpleQueue[Done[T]],
) -> Iterator[Done[T]]:
    """Keep `ahead` tasks on their way until all are done; the caller's thread takes them."""
    waiting, under_way = iter(tasks), 0
    while True:
        for task in itertools.islice(waiting, ahead - under_way):
            ready.put(task)
            under_way += 1
        if not under_way:
            return
        yield results.get()
        under_way -= 1


class _Slot:
    """Room for one process, replaced when it dies."""

    def __init__(self) -> None:
        self._executor: loky.ProcessPoolExecutor | None = None
        self._ended = False

    def serve(
        self,
        work: Callable[[str, P], T],
        ready: queue.SimpleQueue[tuple[str, P] | None],
        results: queue.SimpleQueue[Done[T]],
    ) -> None:
        """Run what is ready until None comes or the engine is closed."""
        while (task := ready.get()) is not None and not self._ended:
            done = self._run(work, *task)
            if done is not None:
                results.put(done)

    def _run(self, work: Callable[[str, P], T], key: str, payload: P) -> Done[T] | None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                outcome = self._process().submit(perform, work, key, payload).result()
            except BrokenProcessPool as broken:
                self._forget()
                log.warning("worker_died key=%s attempt=%d reason=%s", key, attempt, _first(broken))
            except Exception as error:  # what cannot be pickled, going or coming
                return None if self._ended else _unexpected(key, error, attempt)
            else:
                return done_of(key, outcome, attempt)
            if self._ended:
                return None
        text = f"its worker died {ATTEMPTS} times; out of memory, perhaps: try fewer --workers"
        return Done(key=key, value=None, error=text, seconds=0.0, attempts=ATTEMPTS)

    def _process(self) -> Any:
        if self._executor is None:
            self._executor = loky.ProcessPoolExecutor(
                1, initializer=begin, initargs=(os.getpid(),), env={**environment(), **QUIET}
            )
        return self._executor

    def _forget(self) -> None:
        broken, self._executor = self._executor, None
        if broken is not None:
            broken.shutdown(wait=False, kill_workers=True)

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._ended = True
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)


def _unexpected(key: str, error: Exception, attempts: int) -> Done[Any]:
    text = f"unexpected {type(error).__name__}: {error}"
    log.error("task_failed key=%s reason=%s", key, text)
    return Done(key=key, value=None, error=text, seconds=0.0, attempts=attempts)


def _first(error: BaseException) -> str:
    return str(error).partition("\n")[0]
