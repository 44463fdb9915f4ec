"""How long a source that failed is left alone, known to every thread and process of a data folder.

The state is one small file: the API, the trainer and the monitor share an address that Yahoo
counts requests by. (tenacity waits inside one call, pybreaker knows one process.) Knows no source.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from contracts import SourceUnavailable

FIRST_WAIT = 60.0  # seconds after the first failure; doubled by every further one
LONGEST_WAIT = 3600.0  # Yahoo's outages last hours to days
TRIAL_SECONDS = 120.0  # after a wait one asks; the others wait this long for the outcome
LOCK_SECONDS = 5.0  # the file is held for a millisecond


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the file says."""

    failures: int = 0  # in a row
    until: float = 0.0  # seconds since 1970; not asked before
    reason: str = ""  # of the latest failure


@dataclass(frozen=True, slots=True)
class Breaker:
    """Closed while a source answers; open for a growing, partly random while after a failure;
    then open to a single attempt."""

    path: Path  # of the state; its folder is made
    name: str  # of the source, for sentences
    clock: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random  # 0 to 1

    def enter(self) -> None:
        """Return where the source may be asked now; the caller then says how it went.

        Raises:
            SourceUnavailable: it failed a short while ago, or somebody is trying it right now,
                or the folder cannot be written.
        """
        with self._locked():
            state, now = self._read(), self.clock()
            left = state.until - now
            if 0 < left <= LONGEST_WAIT:  # more than that: the clock was set back
                raise SourceUnavailable(
                    f"{self.name} is left alone for {left:.0f} s more since it failed "
                    f"({state.reason})"
                )
            if state.failures:
                self._write(replace(state, until=now + TRIAL_SECONDS))

    def rest(self) -> float:
        """Seconds for which the source is still left alone; changes nothing."""
        left = self._read().until - self.clock()
        return left if 0 < left <= LONGEST_WAIT else 0.0

    def failed(self, reason: str) -> None:
        """Note a failure, the n-th in a row: min(FIRST_WAIT * 2^(n-1), LONGEST_WAIT) seconds
        follow, up to half of them remitted at random so that processes do not march in step."""
        with self._locked():
            failures = self._read().failures + 1
            wait = min(FIRST_WAIT * 2.0 ** min(failures - 1, 30), LONGEST_WAIT)
            until = self.clock() + wait * (1 - self.chance() / 2)
            self._write(State(failures=failures, until=until, reason=reason))

    def answered(self) -> None:
        """Note that the source works."""
        with self._locked():
            if self._read() != State():
                self._write(State())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path.with_suffix(".lock"))
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise SourceUnavailable(f"{self.path} is held by another process") from error
        except OSError as error:
            raise SourceUnavailable(f"{self.path} cannot be written: {error}") from error
        try:
            yield
        finally:
            lock.release()

    def _read(self) -> State:
        """No failure where the file is missing or damaged: an attempt too many mends itself."""
        try:
            content = json.loads(self.path.read_bytes())
            return State(
                failures=int(content["failures"]),
                until=float(content["until"]),
                reason=str(content["reason"]),
            )
        except (OSError, ValueError, TypeError, KeyError):
            return State()

    def _write(self, state: State) -> None:
        draft = self.path.with_suffix(".tmp")  # nobody else's: the lock is held
        try:
            draft.write_text(json.dumps(asdict(state)) + "\n", "utf-8")
            draft.replace(self.path)
        except OSError as error:
            raise SourceUnavailable(f"{self.path} cannot be written: {error}") from error
