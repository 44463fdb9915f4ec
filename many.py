"""A command over many tickers: an engine runs the tasks, this process writes what they gave.

Knows neither what a task does nor what is written.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from config import Settings
from contracts import (
    ForecastingError,
    LogUnavailable,
    TrackingUnavailable,
)
from data_pipeline import refresh_many
from engines import Done, Engine, EngineChoice, add_engine_flags, open_engine
from engines.job import Job

P = TypeVar("P")  # what a task is given
K = TypeVar("K")  # what is kept here until it is done
T = TypeVar("T")  # what it gives

INTERRUPTED = 130  # 128 and the number of SIGINT
FEW = 4  # tasks up to which a second process would not repay its start
# Without them nothing that is computed can be written: the job stops, to be resumed.
STOPPING = (TrackingUnavailable, LogUnavailable)


@dataclass(frozen=True, slots=True, eq=False)
class Group(Generic[P, T]):
    """A task for `size` keys at once; what it gives for each is a value or that key's error."""

    size: int
    task: Callable[[str, list[P]], list[T | ForecastingError]]


@dataclass(frozen=True, slots=True, eq=False)
class Work(Generic[P, K, T]):
    """What is done for each key.

    Each of the three may raise a ForecastingError, which costs its own key alone. `prepare` gives
    the record itself where it finds the key to be done.
    """

    prepare: Callable[[str], tuple[P, K] | Mapping[str, Any]]  # here, when a worker comes free
    task: Callable[[str, P], T]  # in a worker
    write: Callable[[K, T], Mapping[str, Any]]  # here; the record that the job keeps
    group: Group[P, T] | None = None  # in place of `task`, for several keys at once


def worked(
    job: Job, choice: EngineChoice, work: Work[P, K, T], keys: Sequence[str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Do what the job lacks; key and record of each as it is written. Failures are the job's.

    Args:
        job: what is done and what is not.
        choice: of the engine; opened for this call.
        work: what is done for each key.
        keys: by default all that are pending.

    Raises:
        EngineUnavailable: the engine cannot be started.
        TrackingUnavailable, LogUnavailable: what was computed cannot be written.
    """
    wanted = job.pending() if keys is None else keys
    under_way: dict[str, K] = {}
    found: list[tuple[str, Mapping[str, Any]]] = []  # to be done already

    def tasks() -> Iterator[tuple[str, P]]:
        for key in wanted:
            try:
                prepared = work.prepare(key)
            except ForecastingError as error:
                job.fail(key, str(error))
                continue
            if isinstance(prepared, Mapping):
                job.keep(key, prepared)
                found.append((key, prepared))
                continue
            payload, under_way[key] = prepared
            yield key, payload

    with _interruptible() as heed, open_engine(_fitting(choice, len(wanted))) as engine:
        found_by = work.task if work.group is None else work.group
        for done in _mapped(engine, found_by, tasks()):
            if (record := _written(job, work, under_way.pop(done.key), done)) is not None:
                found.append((done.key, record))
            while found:
                yield found.pop(0)
            heed()
    yield from found


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Ctrl-C ends the block, if need be where what it gives is called next.

    A KeyboardInterrupt that falls into a callback of the garbage collector is printed and lost.
    """
    heard: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        signal.default_int_handler(number, frame)

    def heed() -> None:
        if heard:
            raise KeyboardInterrupt

    by_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ours = by_default and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield heed
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _mapped(
    engine: Engine, by: Callable[[str, P], T] | Group[P, T], tasks: Iterator[tuple[str, P]]
) -> Iterator[Done[T]]:
    """What came of each key, whether it was a task by itself or one of a group's."""
    if not isinstance(by, Group):
        yield from engine.map(by, tasks)
        return
    groups: dict[str, list[str]] = {}

    def grouped() -> Iterator[tuple[str, list[P]]]:
        while part := list(itertools.islice(tasks, by.size)):
            name = " ".join(key for key, _ in part)
            groups[name] = [key for key, _ in part]
            yield name, [payload for _, payload in part]

    for done in engine.map(by.task, grouped()):
        keys = groups.pop(done.key)
        for place, key in enumerate(keys):
            yield _one_of(done, key, done.value[place] if done.value else None)


def _one_of(done: Done[Any], key: str, value: T | ForecastingError | None) -> Done[T]:
    """One key's share of what came of its group."""
    failed = value is None or isinstance(value, ForecastingError)
    return Done(
        key=key,
        value=None if failed else value,  # type: ignore[arg-type]  # `failed` says what it is not
        error=str(value or done.error) if failed else None,
        seconds=done.seconds,
        attempts=done.attempts,
    )


def _fitting(choice: EngineChoice, tasks: int) -> EngineChoice:
    """Few tasks stay in this process, unless somebody has said how many workers there are."""
    few = choice.name == "local" and choice.workers is None and tasks <= FEW
    return replace(choice, workers=1) if few else choice


def _written(job: Job, work: Work[P, K, T], kept: K, done: Done[T]) -> Mapping[str, Any] | None:
    """The record of a task that went well; None where it did not, or could not be written."""
    if done.value is None:
        job.fail(done.key, str(done.error), done.attempts)
        return None
    try:
        record = work.write(kept, done.value)
    except STOPPING:
        raise
    except ForecastingError as error:
        job.fail(done.key, str(error))
        return None
    job.keep(done.key, record)
    return record


def add_many_flags(parser: argparse.ArgumentParser) -> None:
    """Add --tickers-file, --afresh and the engine's flags."""
    parser.add_argument("--tickers-file", type=Path, help="further symbols, one a line")
    add_engine_flags(parser)
    parser.add_argument(
        "--afresh", action="store_true", help="do not go on with an interrupted job"
    )


def exit_code(main: Callable[[], int]) -> int:
    """What a command ends with; Ctrl-C is told in one line, and ends it as a shell expects."""
    try:
        return main()
    except KeyboardInterrupt:
        what = "interrupted; over several tickers the same command goes on with what is not done"
        tqdm.write(f"{Path(sys.argv[0]).name}: {what}", file=sys.stderr)
        return INTERRUPTED


def refreshed(tickers: Sequence[str], settings: Settings) -> None:
    """Bring prices up to date as far as the sources let; who cannot be keeps what it has."""
    with tqdm(tickers, desc="refreshing", unit="ticker", leave=False) as bar:
        for _ in refresh_many(tickers, settings, patience=0.0):
            bar.update()
