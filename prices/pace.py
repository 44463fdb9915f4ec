"""How often a source is asked, counted together by every thread and process of a data folder.

The state is one small file beside the breaker's. Knows no source.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from contracts import SourceUnavailable

AT_ONCE = 20  # questions that need not wait when nobody has asked for a while
LOCK_SECONDS = 5.0  # the file is held for a millisecond
LONGEST_WAIT = 600.0  # seconds; a file that says more is of a clock that was set back
MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """At most so many questions a minute, AT_ONCE of them together: the generic cell rate
    algorithm (ITU-T I.371), whose whole state is the moment at which the next one is due."""

    path: Path  # of the state; its folder is made
    per_minute: int  # 0: no limit
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def wait(self) -> None:
        """Return when it is the caller's turn.

        Raises:
            SourceUnavailable: the folder cannot be written.
        """
        if self.per_minute and (seconds := self._turn()) > 0:
            self.sleep(seconds)

    def _turn(self) -> float:
        """Take the next place in the row; how many seconds away it is."""
        apart = MINUTE / self.per_minute
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock"), timeout=LOCK_SECONDS):
                now = self.clock()
                due = max(self._due(now, apart), now)
                draft = self.path.with_suffix(".tmp")  # nobody else's: the lock is held
                draft.write_text(f"{due + apart!r}\n", "utf-8")
                draft.replace(self.path)
        except (Timeout, OSError) as error:
            raise SourceUnavailable(f"{self.path} cannot be written: {error}") from error
        return due - now - (AT_ONCE - 1) * apart

    def _due(self, now: float, apart: float) -> float:
        """The first moment nobody has taken; now where the file is missing, damaged, or of a
        clock that was set back."""
        try:
            due = float(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return now
        return due if due <= now + AT_ONCE * apart + LONGEST_WAIT else now
