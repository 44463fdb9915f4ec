"""What answers now: the tracking server, the database, the sources of prices.

Each is asked at most once in FRESH_SECONDS, whoever looks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from contracts import ForecastingError
from schemas import ServiceStateOut

FRESH_SECONDS = 10.0

Check = Callable[[], str]  # returns a sentence; raises ForecastingError where it does not answer


class ServiceStates:
    """The last answers of some checks; safe to share by threads."""

    def __init__(
        self, checks: Mapping[str, Check], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._looking = threading.Lock()
        self._seen: tuple[float, dict[str, ServiceStateOut]] | None = None

    def now(self) -> dict[str, ServiceStateOut]:
        """By name; one caller looks while others wait for what it finds."""
        with self._looking:
            if self._seen is None or self._clock() - self._seen[0] >= FRESH_SECONDS:
                found = {name: _look(check) for name, check in self._checks.items()}
                self._seen = (self._clock(), found)
            return self._seen[1]


def _look(check: Check) -> ServiceStateOut:
    moment = datetime.now(UTC).replace(microsecond=0)
    try:
        return ServiceStateOut(status="up", detail=check(), checked_at=moment)
    except ForecastingError as error:
        # its own text may name an address; what kind it is says enough
        detail = error.code.replace("_", " ")
        return ServiceStateOut(status="down", detail=detail, checked_at=moment)
