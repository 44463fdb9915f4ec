"""Whether a ticker could answer, without loading its network or its bars.

Bundles are verified once for each promotion, price files hashed once for each change. Knows no
forecast and no HTTP.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from champions import RETRY_SECONDS, Champions
from config import Settings
from contracts import BadBundle, ForecastingError, NoChampion
from data_pipeline import StockDataPipeline, described, mark_of
from model_store import ModelStore, Published
from serving import check_kind


@dataclass(frozen=True, slots=True)
class _Found:
    """What looking at one ticker's files said."""

    mark: tuple[object, ...]
    problem: ForecastingError | None
    refused: BadBundle | None
    looked_at: float

    def expired(self, now: float) -> bool:
        """Bad news is looked at again: a bundle may have become complete."""
        return bool(self.problem or self.refused) and now - self.looked_at > RETRY_SECONDS


class Readiness:
    """Looks at files; what it found holds until one of them changes. Safe to share by threads."""

    def __init__(self, settings: Settings, store: ModelStore, champions: Champions) -> None:
        self._settings, self._store, self._champions = settings, store, champions
        self._found: dict[str, _Found] = {}
        self._looking = threading.Lock()

    def problem(self, ticker: str) -> ForecastingError | None:
        """None when the ticker's own model can answer, else why not."""
        return self._of(ticker).problem or self._champions.broken(ticker)

    def refused(self, ticker: str) -> BadBundle | None:
        """Why its newest version does not answer, while an older one does."""
        return self._of(ticker).refused or self._champions.refused(ticker)

    def _of(self, ticker: str) -> _Found:
        mark = (self._champions.mark(ticker), mark_of(ticker, self._settings))
        with self._looking:
            found, now = self._found.get(ticker), time.monotonic()
            if found is None or found.mark != mark or found.expired(now):
                problem, refused = self._look(ticker)
                found = self._found[ticker] = _Found(mark, problem, refused, now)
            return found

    def _look(self, ticker: str) -> tuple[ForecastingError | None, BadBundle | None]:
        try:
            published, refused = self._published(ticker)
            self._check(ticker, published)
        except ForecastingError as error:
            return error, None
        return None, refused

    def _published(self, ticker: str) -> tuple[Published | None, BadBundle | None]:
        """What answers, and why not the newest version if it is an older one."""
        try:
            return self._store.champion(ticker), None
        except BadBundle as error:
            try:
                return self._store.former(ticker), error
            except BadBundle:
                raise error from None

    def _check(self, ticker: str, published: Published | None) -> None:
        data = described(ticker, self._settings)
        if data is None:
            data = StockDataPipeline(ticker, self._settings).read().provenance
        if published is None:
            raise NoChampion(ticker)
        check_kind(published.card, data)
