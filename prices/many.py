"""Many tickers brought up to date in turn, politely: who is fresh is not asked for.

One question at a time: yfinance keeps cookie, crumb and settings for the whole process, and any
polite number of questions a minute is below what one thread can ask. Knows neither sources nor
settings; it is told how to refresh one ticker and how long the sources want to be left alone.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from contracts import ForecastingError

log = logging.getLogger(__name__)

State = Literal["fresh", "refreshed", "unchanged", "stale", "failed"]
STATES: Mapping[State, str] = {
    "fresh": "had every ended session, nobody was asked",
    "refreshed": "newer bars came",
    "unchanged": "the source has none newer",
    "stale": "the cache was kept, no source could answer",
    "failed": "no bars at all",
}
LOOK_SECONDS = 0.25  # between two looks whether a source may be asked again


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What became of one ticker's prices."""

    ticker: str
    state: State
    through: date | None  # last session there is
    reason: str | None = None  # why it is not fresh

    @property
    def went_wrong(self) -> bool:
        """Whether somebody should know."""
        return self.state in ("stale", "failed")


@dataclass(frozen=True, slots=True)
class Caches:
    """What may be asked of one data folder, a ticker at a time."""

    through: Callable[[str], date | None]  # last cached session; None without a cache
    needed: Callable[[str], date]  # the session a fresh cache ends with
    refresh: Callable[[str], date]  # asks the sources; the last session there is then, or raises
    rest: Callable[[], float]  # seconds for which every source is left alone; 0: one may be asked


def refresh_each(
    tickers: Sequence[str],
    caches: Caches,
    patience: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Refreshed]:
    """Every ticker's outcome as it is known; what fails costs only itself.

    Where the sources want to be left alone (a 429, an outage), it waits until they may be asked
    again, `patience` seconds in all, and goes on with the next ticker; who met the failure is
    asked for once more at the end. Beyond that patience the rest keep what they have. Nothing is
    lost by ending it at any point: the next call asks for what is lacking then.
    """
    again: list[str] = []
    for ticker in tickers:
        outcome = _one(ticker, caches)
        if outcome.went_wrong and caches.rest():
            again.append(ticker)
            patience -= _waited(caches, patience, sleep)
        else:
            yield outcome
    for ticker in again:
        patience -= _waited(caches, patience, sleep)
        yield _one(ticker, caches)


def _waited(caches: Caches, patience: float, sleep: Callable[[float], None]) -> float:
    """Wait until a source may be asked, if that is soon enough; for how many seconds it was."""
    waited = 0.0
    while rest := caches.rest():
        if waited + rest > patience:
            break
        sleep(min(LOOK_SECONDS, rest))  # somebody else's answer may end the wait
        waited += min(LOOK_SECONDS, rest)
    return waited


def _one(ticker: str, caches: Caches) -> Refreshed:
    before = None
    try:
        before, needed = caches.through(ticker), caches.needed(ticker)
        if before is not None and before >= needed:
            return Refreshed(ticker=ticker, state="fresh", through=before)
        through = caches.refresh(ticker)
    except ForecastingError as error:
        state: State = "failed" if before is None else "stale"
        return Refreshed(ticker=ticker, state=state, through=before, reason=str(error))
    except Exception as error:  # a bug of ours must not cost the tickers after it
        log.exception("refresh_crashed ticker=%s", ticker)
        state = "failed" if before is None else "stale"
        return Refreshed(ticker=ticker, state=state, through=before, reason=type(error).__name__)
    if through == before:
        reason = f"nothing after {through}; {needed} has ended"
        return Refreshed(ticker=ticker, state="unchanged", through=through, reason=reason)
    return Refreshed(ticker=ticker, state="refreshed", through=through)


def counted(outcomes: Sequence[Refreshed]) -> dict[State, int]:
    """How many of each state, every state there."""
    found = Counter(one.state for one in outcomes)
    return {state: found[state] for state in STATES}
