"""What an engine is, and what comes back of one task. Knows no engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Literal, Protocol, Self, TypeVar

from contracts import BadSettings

T = TypeVar("T")
P = TypeVar("P")

AHEAD = 2  # tasks taken from the iterable for each worker, the one at work included
ATTEMPTS = 3  # of a task whose worker died
# A process that has done so many gives way to a new one. A fit by Keras keeps half a megabyte that
# nobody can give back, in TensorFlow; a start takes seconds.
TASKS_EACH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Generic[T]):
    """What became of one task: exactly one of `value` and `error` is not None."""

    key: str
    value: T | None
    error: str | None
    seconds: float  # at work, of the attempt that counts
    attempts: int  # 1 unless a worker died

    def __post_init__(self) -> None:
        if (self.value is None) == (self.error is None):
            raise ValueError(f"{self.key}: a task that is done has either a value or an error")


class Engine(Protocol):
    """Runs tasks, here or elsewhere. A context manager: leaving it ends every worker."""

    @property
    def name(self) -> str:
        """As `--engine` names it."""
        ...

    @property
    def workers(self) -> int:
        """Tasks at work at the same time."""
        ...

    def map(self, work: Callable[[str, P], T], tasks: Iterable[tuple[str, P]]) -> Iterator[Done[T]]:
        """Run `work(key, payload)` for every task; what came of each, as they are done.

        Each task has one thread of TensorFlow and of the libraries of linear algebra, so that its
        result does not depend on the engine. A ForecastingError is the task's error and so is,
        with its traceback in the log, any other exception; neither is tried again. A task whose
        worker died is, up to ATTEMPTS times, and so may be run more often than it is done.

        Args:
            work: a function of a module that can be imported (not of the command's own file), or
                a functools.partial of one; gives anything that can be pickled except None.
            tasks: key and payload; taken as workers come free, at most AHEAD for each.
        """
        ...

    def close(self) -> None:
        """End every worker at once, whatever it is at."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Which engine, how wide, and where."""

    name: Literal["local", "ray"] = "local"
    workers: int | None = None  # None for as many as there are processors
    address: str | None = None  # of a Ray cluster that is there; None starts one on this machine

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise BadSettings(f"--workers {self.workers}: at least 1 is needed")
        if self.address is not None and self.name != "ray":
            raise BadSettings("--ray-address needs --engine ray")


def check_importable(work: Callable[..., object]) -> None:
    """Workers find a function by its module's name, and the command's own file has none.

    Raises:
        ValueError: another process could not import `work`.
    """
    inner = getattr(work, "func", work)  # of a functools.partial
    name = getattr(inner, "__qualname__", "")
    if inner.__module__ == "__main__" or not name or "<" in name:
        raise ValueError(f"{inner!r} cannot be imported by a worker; put it into a module")
