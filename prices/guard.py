"""One source, asked politely: not while it is left alone, not for ever, one log line per failure.

Knows any `Provider` and the breaker; no cache and not what a reader makes of a failure.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import date
from queue import Empty, Queue

import pandas as pd

from contracts import SourceUnavailable
from prices.breaker import Breaker
from prices.pace import Pace
from prices.providers import NoData, Provider

log = logging.getLogger(__name__)

# Longer than one attempt should take. Yahoo's cookie, crumb and consent pages have limits of their
# own, 30 s each, that cannot be set; a download that outlasts this is abandoned in its thread.
FETCH_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Guarded:
    """A provider with what keeps it from being asked too often or waited for too long."""

    provider: Provider
    breaker: Breaker
    pace: Pace

    def fetch(self, ticker: str, first: date, last: date) -> pd.DataFrame:
        """As `Provider.fetch`, when it is our turn, given up after FETCH_SECONDS.

        Raises:
            NoData: it has no bars of this symbol; that is no failure of the source's.
            SourceUnavailable: it failed now, or a short while ago and was not asked.
        """
        if not self.breaker.rest():  # else nobody is asked, and nobody's turn is taken
            self.pace.wait()
        self.breaker.enter()
        answer = self._answer(ticker, first, last)
        name = self.provider.name
        if isinstance(answer, SourceUnavailable):
            reason = str(answer)
            log.warning("fetch_failed provider=%s ticker=%s reason=%r", name, ticker, reason)
            if isinstance(answer, NoData):
                self.breaker.answered()
            else:
                self.breaker.failed(reason)
            raise answer
        self.breaker.answered()
        log.info("fetched provider=%s ticker=%s rows=%d", name, ticker, len(answer))
        return answer

    def _answer(self, ticker: str, first: date, last: date) -> pd.DataFrame | SourceUnavailable:
        """The bars or the failure; the thread that asks may outlive this call."""
        answers: Queue[pd.DataFrame | SourceUnavailable] = Queue()

        def work() -> None:
            """Ask; in a thread of its own."""
            try:
                answers.put(self.provider.fetch(ticker, first, last))
            except SourceUnavailable as error:
                answers.put(error)
            except Exception as error:  # a bug; waiting for an answer would not mend it
                log.exception("fetch_crashed provider=%s ticker=%s", self.provider.name, ticker)
                answers.put(SourceUnavailable(f"{type(error).__name__} in {self.provider.name}"))

        name = f"{self.provider.name}-{ticker}"
        threading.Thread(target=work, name=name, daemon=True).start()
        try:
            return answers.get(timeout=FETCH_SECONDS)
        except Empty:
            return SourceUnavailable(
                f"{self.breaker.name} has not answered within {FETCH_SECONDS:.3g} s"
            )
