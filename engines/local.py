"""Tasks by processes on this machine, or in this very process where one worker is enough.

Every process is an executor of its own (loky's): one that dies takes nothing with it but the task
it was at, where one executor of many processes would lose all that they were at.
"""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import loky
from loky.process_executor import ShutdownExecutorError

from engines.places import own_folder
from engines.tasks import AHEAD, ATTEMPTS, TASKS_EACH, Done, P, T, check_importable
from engines.worker import (
    QUIET,
    attempted,
    attempted_on_disk,
    begin,
    done_of,
    environment,
    given_up,
    put_in_place,
)

log = logging.getLogger(__name__)

FOLDER = "stock-local-"  # with the driver's process id: tasks under way
_Task = tuple[str, Path]  # key, and where key and payload are


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
        told = pickle.dumps(work)
        for key, payload in tasks:  # pickled here too: no task can change what the next one gets
            outcome = attempted(told, {}, pickle.dumps((key, payload)))
            yield done_of(key, pickle.loads(outcome), attempts=1)

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
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(own_folder(FOLDER))
        self._slots = [_Slot() for _ in range(workers)]
        for slot in self._slots:
            self._stack.callback(slot.end)
        self._number = itertools.count()

    def map(self, work: Callable[[str, P], T], tasks: Iterable[tuple[str, P]]) -> Iterator[Done[T]]:
        """As Engine.map; processes start with the first tasks, and stay for the next call."""
        check_importable(work)
        ready: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        results: queue.SimpleQueue[Done[T] | Exception] = queue.SimpleQueue()
        told = self._put(work)
        placed = ((key, self._put((key, payload))) for key, payload in tasks)
        for slot in self._slots:
            threading.Thread(target=slot.serve, args=(told, ready, results), daemon=True).start()
        try:
            yield from _through(placed, self.workers * AHEAD, ready, results)
        finally:
            for _ in self._slots:
                ready.put(None)

    def _put(self, what: object) -> Path:
        """On the disk, where it does not go through a pipe that a dying worker may leave half read
        or half written: whoever waits at the other end would wait for ever."""
        path = self._folder / str(next(self._number))
        path.write_bytes(pickle.dumps(what))
        return path

    def close(self) -> None:
        """End every process at once."""
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


def _through(
    tasks: Iterable[_Task],
    ahead: int,
    ready: queue.SimpleQueue[_Task | None],
    results: queue.SimpleQueue[Done[T] | Exception],
) -> Iterator[Done[T]]:
    """Keep `ahead` tasks on their way until all are done; the caller's thread takes them."""
    waiting, under_way = iter(tasks), 0
    while True:
        for task in itertools.islice(waiting, ahead - under_way):
            ready.put(task)
            under_way += 1
        if not under_way:
            return
        if isinstance(done := results.get(), Exception):
            raise done
        under_way -= 1
        yield done


class _Slot:
    """Room for one process, replaced when it dies or has done its share."""

    def __init__(self) -> None:
        self._executor: loky.ProcessPoolExecutor | None = None
        self._ended = self._busy = False
        self._did = 0  # tasks of this process

    def serve(
        self,
        work: Path,
        ready: queue.SimpleQueue[_Task | None],
        results: queue.SimpleQueue[Done[Any] | Exception],
    ) -> None:
        """Run what is ready until None comes or the engine is closed."""
        while (task := ready.get()) is not None and not self._ended:
            self._busy = True
            try:
                done: Done[Any] | Exception | None = self._run(work, *task)
            except Exception as error:  # no process can be started, say: the caller must know
                done = error
            self._busy = False
            if done is not None:
                results.put(done)

    def _run(self, work: Path, key: str, task: Path) -> Done[Any] | None:
        """What came of the task; None once the engine is closed."""
        told = task.with_suffix(".told")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._process().submit(attempted_on_disk, work, task, told).result()
            except (BrokenProcessPool, ShutdownExecutorError) as broken:
                if self._ended:
                    return None
                self._forget()
                log.warning("worker_died key=%s attempt=%d reason=%s", key, attempt, _first(broken))
            else:
                self._did += 1
                outcome = pickle.loads(told.read_bytes())
                told.unlink()
                task.unlink()
                return done_of(key, outcome, attempt)
        return given_up(key)

    def _process(self) -> Any:
        if self._did >= TASKS_EACH and self._executor is not None:
            self._executor.shutdown(wait=True)
            self._executor = None
        if self._executor is None:
            self._did = 0
            self._executor = loky.ProcessPoolExecutor(
                1, initializer=begin, initargs=(os.getpid(),), env={**environment(), **QUIET}
            )
        return self._executor

    def _forget(self) -> None:
        broken, self._executor = self._executor, None
        if broken is not None:
            broken.shutdown(wait=False, kill_workers=True)

    def end(self) -> None:
        """End the process, whatever it is at; an idle one puts its own things away first."""
        self._ended = True
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, kill_workers=self._busy)


def _first(error: BaseException) -> str:
    return str(error).partition("\n")[0]
