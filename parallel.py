"""Independent pieces of work on as many processors as the process may use.

Only worth it for work that gives up the interpreter's lock, as a run of a network does. Knows not
what the work is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

MOST = 8  # threads: what a run does under the interpreter's lock is a tenth of it
CONTROL_GROUPS = Path("/sys/fs/cgroup")  # where a container's share of the machine is told


def processors(control_groups: Path = CONTROL_GROUPS) -> int:
    """Those this process may use, by its affinity and its container's share; at least one."""
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = _share(control_groups)
    # a share of 1.5 is one whole processor: a second thread would have both stopped in turns
    return max(1, min(affine or 1, int(share) if share is not None else MOST * 1024))


def _share(control_groups: Path) -> float | None:
    """Processors that the container may use; None where nothing limits them or nothing tells."""
    try:
        if (both := control_groups / "cpu.max").exists():
            quota, period = both.read_text().split()
        else:  # version 1
            quota = (control_groups / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (control_groups / "cpu" / "cpu.cfs_period_us").read_text()
        return None if quota == "max" or int(quota) < 0 else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


class SharedThreads:
    """A bounded number of threads that help whoever has several pieces of work.

    The caller works too, and alone where no thread is free: nobody waits for another's pieces.

    Args:
        threads: at work on one caller's pieces at most, the caller's own among them.
    """

    def __init__(self, threads: int) -> None:
        self._helpers = threads - 1
        self._pool = ThreadPoolExecutor(max(1, self._helpers), thread_name_prefix="runs")

    def map(self, make: Callable[[Item], Made], items: Sequence[Item]) -> list[Made]:
        """What `make` returns for each item, in their order; what it raises ends the whole."""
        left = iter(range(len(items)))
        made: dict[int, Made] = {}

        def work() -> None:
            for place in left:  # a step of a range is one step under the interpreter's lock
                made[place] = make(items[place])

        helpers = self._sent(work, min(self._helpers, len(items) - 1))
        try:
            work()
        finally:
            for helper in helpers:
                if not helper.cancel():
                    helper.result()
        return [made[place] for place in range(len(items))]

    def close(self) -> None:
        """Send no thread any more; what they are at is finished."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _sent(self, work: Callable[[], None], count: int) -> list[Future[None]]:
        try:
            return [self._pool.submit(work) for _ in range(count)]
        except RuntimeError:  # closing: the caller does what is left
            return []
