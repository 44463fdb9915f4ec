"""How long one answer may take. One sweep a second watches all requests, instead of a timer each.

A route that runs in a thread cannot be stopped: its thread goes on, its client is answered.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

_Task = asyncio.Task[Any]


class Deadlines:
    """Cancels the tasks of requests that take too long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._every = min(1.0, seconds / 4)
        self._running: dict[_Task, float] = {}  # oldest first, as they came in
        self._overdue: set[_Task] = set()
        self._loop: asyncio.AbstractEventLoop | None = None  # on which a sweep is due

    def watch(self, started: float) -> _Task:
        """From now on the current task has a deadline."""
        loop = asyncio.get_running_loop()
        task: _Task = asyncio.current_task(loop)  # type: ignore[assignment]
        self._running[task] = started
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(self._every, self._sweep)
        return task

    def leave(self, task: _Task | None) -> None:
        """It has answered, or never had a deadline."""
        if task is not None:
            self._running.pop(task, None)

    def is_overdue(self, task: _Task | None) -> bool:
        """Whether its cancellation came from here, which is then taken back."""
        if task is None or task not in self._overdue:
            return False
        self._overdue.discard(task)
        task.uncancel()
        return True

    def _sweep(self) -> None:
        latest = perf_counter() - self._seconds
        for task, started in list(self._running.items()):
            if started > latest:
                break
            del self._running[task]
            self._overdue.add(task)
            task.cancel()
        if self._running and self._loop:
            self._loop.call_later(self._every, self._sweep)
        else:
            self._loop = None  # an idle service has nothing to sweep
