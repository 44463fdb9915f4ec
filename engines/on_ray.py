"""Tasks on a Ray cluster: one task a processor, tried again where a worker or a node dies.

Ray spreads them; what is retried is decided here, so that attempts mean what they mean on the
local engine. Knows nothing of how the cluster came to be there.
"""

from __future__ import annotations

import itertools
import logging
import pickle
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from contracts import EngineUnavailable
from engines import ray_cluster
from engines.local import processors
from engines.tasks import AHEAD, ATTEMPTS, TASKS_EACH, Done, EngineChoice, P, T, check_importable
from engines.worker import QUIET, attempted, done_of, environment, given_up

log = logging.getLogger(__name__)


def open_ray(choice: EngineChoice) -> RayEngine:
    """A cluster of our own, or the one at the address.

    Raises:
        EngineUnavailable: Ray is not installed, does not start, or nothing answers there.
    """
    if choice.address is None:
        workers = choice.workers or processors()
        end = ray_cluster.start(workers)
        return RayEngine(workers, AHEAD * workers, end)
    end = ray_cluster.join(choice.address)
    there = int(ray_cluster.installed().cluster_resources().get("CPU", 0)) or 1
    if choice.workers is None:
        return RayEngine(there, AHEAD * there, end)
    return RayEngine(choice.workers, choice.workers, end)  # more would be run at once


class RayEngine:
    """Tasks by Ray's workers.

    Args:
        workers: tasks at work at the same time, as far as is known.
        ahead: tasks handed to Ray and not yet done.
        end: leaves the cluster.
    """

    name = "ray"

    def __init__(self, workers: int, ahead: int, end: Callable[[], None]) -> None:
        self.workers = workers
        self._ahead = ahead
        self._end = end

    def map(self, work: Callable[[str, P], T], tasks: Iterable[tuple[str, P]]) -> Iterator[Done[T]]:
        """As Engine.map."""
        check_importable(work)
        crew = _Crew(pickle.dumps(work))
        waiting = iter(tasks)
        while True:
            for key, payload in itertools.islice(waiting, self._ahead - len(crew)):
                crew.send(key, pickle.dumps((key, payload)), attempt=1)
            if not len(crew):
                return
            if (done := crew.next_done()) is not None:
                yield done

    def close(self) -> None:
        """Leave the cluster; one of our own ends, with whatever it is at."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Crew:
    """Attempts under way for one function."""

    def __init__(self, work: bytes) -> None:
        self._ray = ray_cluster.installed()
        self._work = self._ray.put(work)  # once for all tasks
        self._variables = {**environment(), **QUIET}
        attempt = self._ray.remote(num_cpus=1, max_retries=0, max_calls=TASKS_EACH)
        self._run = attempt(attempted)
        self._under_way: dict[Any, tuple[str, bytes, int]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def send(self, key: str, task: bytes, attempt: int) -> None:
        """Hand one attempt to Ray; `task` is kept until it is done."""
        handle = self._run.remote(self._work, self._variables, task)
        self._under_way[handle] = (key, task, attempt)

    def next_done(self) -> Done[Any] | None:
        """Wait for one attempt; None where it has to be made again.

        Raises:
            EngineUnavailable: this machine's part of the cluster is gone, or its nodes cannot be
                given our code.
        """
        errors = self._ray.exceptions
        (ready,), _ = self._ray.wait(list(self._under_way), num_returns=1)
        key, task, attempt = self._under_way.pop(ready)
        try:
            told = self._ray.get(ready)
        except (errors.LocalRayletDiedError, errors.RuntimeEnvSetupError) as gone:
            raise EngineUnavailable(f"Ray's node here cannot go on: {_first(gone)}") from gone
        except (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        ) as died:
            log.warning("worker_died key=%s attempt=%d reason=%s", key, attempt, _first(died))
            if attempt == ATTEMPTS:
                return given_up(key)
            self.send(key, task, attempt + 1)
            return None
        return done_of(key, pickle.loads(told), attempt)


def _first(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
