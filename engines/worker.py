"""What happens in a worker: one task run on one thread, its outcome told so that it can travel.

Exceptions stay here, since not every one of them can be pickled; the driver gets their text.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from threadpoolctl import threadpool_limits

from contracts import ForecastingError
from engines.tasks import ATTEMPTS, Done, P, T

log = logging.getLogger(__name__)

# Read by the libraries when they are loaded; OMP_NUM_THREADS alone leaves TensorFlow its pools.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
# What the driver says of these holds for all, as they change sums (the first) or what is printed.
SHARED = {
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "ORT_DISABLE_TELEMETRY": "1",
}
QUIET = {"TQDM_DISABLE": "1"}  # the driver's is the one progress view
HEARD = 100  # warnings of one task that are passed on
PARENT_SECONDS = 1.0  # between two looks whether the driver is still there


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """One attempt as it travels from a worker to the driver."""

    value: T | None = None
    error: str | None = None
    trace: str = ""  # of an exception nobody expected
    seconds: float = 0.0
    heard: tuple[logging.LogRecord, ...] = ()  # warnings, for the driver's log


def environment() -> dict[str, str]:
    """The variables under which a task gives the same on every engine, from the driver's."""
    return {**{name: os.environ.get(name, said) for name, said in SHARED.items()}, **ONE_THREAD}


def attempted(work: bytes, variables: Mapping[str, str], task: bytes) -> bytes:
    """Run one task in a worker; its Outcome, pickled as everything is that comes in.

    Bytes both ways, since an engine that looks after arrays itself gives them read-only.

    Args:
        work: the function.
        variables: of the environment, before the function's libraries are loaded.
        task: key and payload.
    """
    os.environ.update(variables)
    try:
        key, payload = pickle.loads(task)
        return pickle.dumps(perform(pickle.loads(work), key, payload))
    except Exception as surprise:  # of pickling: no such module here, a value that cannot travel
        return pickle.dumps(_surprised(surprise))


def attempted_on_disk(work: Path, task: Path, told: Path) -> None:
    """The same with everything in files, by a process that has other tasks before it."""
    told.write_bytes(attempted(work.read_bytes(), {}, task.read_bytes()))
    if not gc.get_freeze_count():
        _settle()


def _settle() -> None:
    """Let collections pass over what the first task loaded and what will stay.

    Without psutil, loky collects all garbage after every task of a second or more. With
    TensorFlow loaded that looked at 700,000 objects for the 13,000 of a task: a tenth of a
    training's time.
    """
    gc.collect()
    gc.freeze()


def perform(work: Callable[[str, P], T], key: str, payload: P) -> Outcome[T]:
    """Run one task on one thread; no exception leaves it."""
    begun = time.perf_counter()
    with _listening() as heard:
        outcome: Outcome[T]
        try:
            with threadpool_limits(1):
                value = work(key, payload)
            if value is None:
                raise TypeError("a task must give something other than None")
            outcome = Outcome(value=value)
        except ForecastingError as explained:
            outcome = Outcome(error=str(explained))
        except Exception as surprise:
            outcome = _surprised(surprise)
    return replace(outcome, seconds=time.perf_counter() - begun, heard=tuple(heard))


def _surprised(error: Exception) -> Outcome[Any]:
    text = f"unexpected {type(error).__name__}: {error}"
    return Outcome(error=text, trace=traceback.format_exc())


def done_of(key: str, outcome: Outcome[T], attempts: int) -> Done[T]:
    """The outcome as the driver sees it; what the worker had to say goes into the driver's log."""
    for record in outcome.heard:
        if (logger := logging.getLogger(record.name)).isEnabledFor(record.levelno):
            logger.handle(record)
    if outcome.trace:
        log.error("task_failed key=%s\n%s", key, outcome.trace)
    return Done(
        key=key,
        value=outcome.value,
        error=outcome.error,
        seconds=outcome.seconds,
        attempts=attempts,
    )


def given_up(key: str) -> Done[Any]:
    """A task whose workers died every time."""
    text = f"its worker died {ATTEMPTS} times; out of memory, perhaps: try fewer --workers"
    return Done(key=key, value=None, error=text, seconds=0.0, attempts=ATTEMPTS)


def begin(driver: int) -> None:
    """A process's first act: leave Ctrl-C to the driver, and never outlive it.

    Args:
        driver: its process id; a driver that is killed closes nothing in an orderly way.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()


def _end_with(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


@contextmanager
def put_in_place(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, said in before.items():
            os.environ.pop(name, None)
            if said is not None:
                os.environ[name] = said


class _Ear(logging.Handler):
    """Keeps warnings in a form that can be pickled."""

    def __init__(self, heard: list[logging.LogRecord]) -> None:
        super().__init__(logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._heard) < HEARD:
            said: dict[str, Any] = {**record.__dict__, "msg": self.format(record), "args": None}
            said |= {"exc_info": None, "exc_text": None, "stack_info": None}
            self._heard.append(logging.makeLogRecord(said))


@contextmanager
def _listening() -> Iterator[list[logging.LogRecord]]:
    """Warnings of a process that nobody has set up logging for; where somebody has, none."""
    heard: list[logging.LogRecord] = []
    root = logging.getLogger()
    if root.handlers:
        yield heard
        return
    ear = _Ear(heard)
    root.addHandler(ear)
    try:
        yield heard
    finally:
        root.removeHandler(ear)
