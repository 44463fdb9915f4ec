"""What answers for each ticker now: one model and what it sees of one set of prices.

Files are looked at twice a second at most for each ticker, and never by a caller that only asks
what is at hand. Knows no forecast and no HTTP.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date

from bases import shipped_bases
from cautions import Limits, cautions
from champions import Champions, Loaded
from config import Settings
from contracts import ForecastingError, NoChampion, Prices, SourceUnavailable, UnknownTicker
from data_pipeline import StockDataPipeline, mark_of, today
from recipes import find_recipe
from served import Served, View, view
from serving import check_match

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5  # within which files are not looked at again
PATIENCE_SECONDS = 2.0  # up to which what is at hand answers while somebody looks


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """One model and one view of prices, never changed: what one answer is made of."""

    served: Served
    seen: View
    key: tuple[object, ...]  # equal where every forecast would be
    loaded: Loaded | None  # the champion, whether or not it is what answers
    mark: tuple[object, ...]  # of the prices

    @property
    def as_of(self) -> date:
        """The last session it knows."""
        return self.seen.provenance.last_session


@dataclass(slots=True, eq=False)
class _Place:
    """One ticker's; whoever holds the lock looks at the files."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    standing: Standing | None = None
    looked_at: float = 0.0
    sent: bool = False  # somebody is on the way to look


class Standings:
    """The standing of each ticker, as many as there may be models. Safe to share by threads.

    Args:
        settings: where prices and bases are, and how many models are kept.
        champions: published models.
        clock: seconds, ever growing.
    """

    def __init__(
        self,
        settings: Settings,
        champions: Champions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self._champions, self._clock = settings, champions, clock
        self._limits = Limits(
            model_days=settings.max_model_age_days,
            sessions_behind=settings.max_sessions_behind,
        )
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._bases: tuple[Served, ...] | None = None  # read when first needed, the newest last
        self._changing = threading.Lock()
        self._scout = ThreadPoolExecutor(1, thread_name_prefix="standings")

    def at_hand(self, ticker: str) -> Standing | None:
        """What answered a moment ago, from memory alone; None where one has to look first."""
        if (place := self._places.get(ticker)) is None or place.standing is None:
            return None
        age = self._clock() - place.looked_at
        if age > PATIENCE_SECONDS:
            return None
        if age > LOOK_SECONDS and not place.sent:
            place.sent = True
            self._send(ticker, place)
        return place.standing

    def of(self, ticker: str) -> Standing:
        """What answers now.

        Raises:
            UnknownTicker: neither champion nor prices, and not configured.
            NoChampion: no model, none that fits the prices there are, and no base either.
            SourceUnavailable: a model, but no prices it may run on.
            ForecastingError: a bundle that does not verify, or too few prices.
        """
        place = self._place(ticker)
        if place.standing is None or self._clock() - place.looked_at > LOOK_SECONDS:
            with place.lock:
                self._look(ticker, place)
        if (standing := place.standing) is None:  # another thread met the error just now
            return self.of(ticker)
        return standing

    def known(self) -> Mapping[str, Standing]:
        """Every standing at hand, however old."""
        places = list(self._places.items())
        return {ticker: place.standing for ticker, place in places if place.standing}

    def close(self) -> None:
        """Look no more."""
        self._scout.shutdown(wait=False, cancel_futures=True)

    def _send(self, ticker: str, place: _Place) -> None:
        try:
            self._scout.submit(self._look_beside, ticker, place)
        except RuntimeError:  # closing
            place.sent = False

    def _look_beside(self, ticker: str, place: _Place) -> None:
        try:
            self.of(ticker)
        except ForecastingError as error:  # whoever asks next is told
            log.info("standing_lost ticker=%s reason=%r", ticker, str(error))
        finally:
            place.sent = False

    def _look(self, ticker: str, place: _Place) -> None:
        """Under the place's lock: keep what stands where no file has changed, else make it anew."""
        now = self._clock()
        if place.standing is not None and now - place.looked_at <= LOOK_SECONDS:
            return
        try:
            loaded, mark = self._champions.get(ticker), mark_of(ticker, self.settings)
            stands = place.standing
            if stands is None or stands.loaded is not loaded or stands.mark != mark:
                place.standing = self._made(ticker, loaded, mark)
            place.looked_at = now
        except ForecastingError:
            with self._changing:
                self._places.pop(ticker, None)
            place.standing = None
            raise

    def _made(self, ticker: str, loaded: Loaded | None, mark: tuple[object, ...]) -> Standing:
        served, prices = self._usable(ticker, loaded)
        seen = view(served, prices, self.settings.outside_quantile)
        ended = today(ticker, self.settings)
        said = cautions(served.identity, seen.provenance, ended, seen.novelty, self._limits)
        seen = replace(seen, warnings=said)
        return Standing(served, seen, _key(served, seen), loaded, mark)

    def _usable(self, ticker: str, loaded: Loaded | None) -> tuple[Served, Prices]:
        try:
            prices = StockDataPipeline(ticker, self.settings).read()
        except UnknownTicker:
            if loaded is None:
                raise
            raise SourceUnavailable(
                f"{ticker} has a model but no prices; run: python train.py {ticker}"
            ) from None
        try:
            if loaded is None:
                raise NoChampion(ticker)
            check_match(loaded.published, prices)
        except NoChampion:
            if (base := self._cold_start(prices)) is None:
                raise
            return base, prices
        return loaded.served, prices

    def _cold_start(self, prices: Prices) -> Served | None:
        """The newest base that has seen nothing later; none for invented prices."""
        if prices.provenance.source == "synthetic":
            return None
        with self._changing:
            if self._bases is None:
                shipped = shipped_bases(self.settings, find_recipe("panel"))
                self._bases = tuple(Served.of_base(base) for base in shipped)
        as_of = prices.provenance.last_session
        usable = [b for b in self._bases if b.identity.trained_through <= as_of]
        return usable[-1] if usable else None

    def _place(self, ticker: str) -> _Place:
        with self._changing:
            place = self._places.setdefault(ticker, _Place())
            self._places.move_to_end(ticker)
            while len(self._places) > self.settings.loaded_models:
                self._places.popitem(last=False)
        return place


def _key(served: Served, seen: View) -> tuple[object, ...]:
    model, data = served.identity, seen.provenance
    return (
        *(seen.ticker, model.version, model.bundle),
        *(data.sha256, data.source, data.adjustment, data.last_session),
        *(data.sessions_behind, data.stale, data.quarantined is not None, data.fetched_at),
        *(tuple(sorted(data.findings.items())), seen.warnings),
    )
