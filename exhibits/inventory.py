"""What there is by ticker, prices and model, told again without reading until a file changes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from calendars import listing_of, sessions_between
from config import Settings
from contracts import BadBundle, ForecastingError
from data_pipeline import StockDataPipeline, described, mark_of, today
from model_store import ModelStore
from schemas import TickerInfoOut

MOST_TICKERS = 1000  # whose facts are kept

Mark = tuple[object, ...]


class Inventory:
    """Facts about tickers; safe to share by threads, at worst a ticker is looked up twice."""

    def __init__(self, settings: Settings, store: ModelStore) -> None:
        self._settings = settings
        self._store = store
        self._kept: dict[str, tuple[Mark, TickerInfoOut]] = {}

    def tickers(self) -> tuple[str, ...]:
        """The configured ones in their order, then any other that has a champion."""
        return tuple(dict.fromkeys((*self._settings.tickers, *self._store.tickers())))

    def of(self, ticker: str) -> TickerInfoOut:
        """Prices and model of one ticker; null where there are none."""
        mark = (*mark_of(ticker, self._settings), _changed(self._store.pointer_path(ticker)))
        kept = self._kept.get(ticker)
        if kept is not None and kept[0] == mark:
            return kept[1]
        if len(self._kept) >= MOST_TICKERS:
            self._kept.clear()
        told = self._look(ticker)
        self._kept[ticker] = (mark, told)
        return told

    def _look(self, ticker: str) -> TickerInfoOut:
        facts: dict[str, object] = {
            "ticker": ticker,
            "configured": ticker in self._settings.tickers,
            "currency": listing_of(ticker).currency,
            **self._of_prices(ticker),
            **self._of_model(ticker),
        }
        return TickerInfoOut.model_validate(facts)

    def _of_prices(self, ticker: str) -> dict[str, object]:
        names = ("first_session", "last_session", "source", "adjustment")
        found = described(ticker, self._settings)  # a sidecar; bars take fifty times as long
        try:
            if found is None:
                found = StockDataPipeline(ticker, self._settings).read().provenance
        except ForecastingError:
            return {**dict.fromkeys(names), "sessions": 0, "stale": True, "sessions_behind": 0}
        since, ended = found.last_session + timedelta(days=1), today(ticker, self._settings)
        behind = len(sessions_between(ticker, since, ended))
        facts = {name: getattr(found, name) for name in names}
        return {
            **facts,
            "sessions": found.rows,
            "stale": found.last_session < ended,
            "sessions_behind": behind,
        }

    def _of_model(self, ticker: str) -> dict[str, object]:
        names = ("version", "recipe", "trained_at", "trained_through")
        try:
            champion = self._store.champion(ticker)
        except BadBundle:
            champion = None
        if champion is None:
            return dict.fromkeys(names)
        card = champion.card
        values = (champion.version, card.recipe["name"], card.trained_at, card.trained_through)
        return dict(zip(names, values, strict=True))


def _changed(path: Path) -> object:
    """Differs after every replacement of a file; None where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino
