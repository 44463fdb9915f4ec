"""Published models in memory: loaded when first asked for, a bounded number, swapped when promoted.

A new version is read and verified before it takes the old one's place; one that does not verify
is refused and the old one goes on. Knows no prices and no HTTP.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from contracts import BadBundle
from inference import Network, TrainedModel
from model_store import NETWORK, ModelStore, PointerMark, Published
from served import Served

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # after which a refused version is looked at again: it may be complete by then


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A published bundle with its network; never changed, so one answer is of one bundle."""

    published: Published
    served: Served

    @classmethod
    def of(cls, published: Published) -> Loaded:
        """Read the network of a bundle that has been verified.

        Raises:
            BadBundle: it is another ticker's, or its network is none.
        """
        card, path = published.card, published.path
        try:
            network = Network(path / NETWORK)
        except Exception as error:  # ONNX Runtime raises a class per fault, none of them public
            raise BadBundle(f"{path.name}: {NETWORK} cannot be loaded; train it again") from error
        model = TrainedModel(network, card.recipe)
        return cls(published, Served.of_card(path, published.version, card, model))


@dataclass(slots=True, eq=False)
class _Slot:
    """One ticker's place; whoever holds the lock may load."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    mark: PointerMark | None = None  # of the pointer that `loaded` or `refused` came of
    loaded: Loaded | None = None
    refused: BadBundle | None = None
    retry_at: float = 0.0

    def fits(self, mark: PointerMark, now: float) -> bool:
        """Whether there is nothing to read again."""
        return self.mark == mark and (self.refused is None or now < self.retry_at)


class Champions:
    """The champion of each ticker. Safe to share by threads.

    Args:
        store: where bundles and pointers lie.
        most: models in memory; the one asked for longest ago makes room.
        clock: seconds, ever growing.
    """

    def __init__(
        self, store: ModelStore, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._most, self._clock = store, most, clock
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._changing = threading.Lock()

    def mark(self, ticker: str) -> PointerMark | None:
        """Differs from what it was after every promotion and rollback; None without a champion."""
        return self._store.pointer_mark(ticker)

    def get(self, ticker: str) -> Loaded | None:
        """The model that answers for a ticker; None where it has none.

        While one thread loads a new version, the others get the one before.

        Raises:
            BadBundle: what is published does not verify, and nothing that did before is left.
        """
        if (mark := self.mark(ticker)) is None:
            self._forget(ticker)
            return None
        slot = self._slot(ticker)
        if not slot.fits(mark, self._clock()):
            self._load(ticker, slot, mark)
        if slot.loaded is None and slot.refused is not None:
            raise slot.refused
        return slot.loaded

    def refused(self, ticker: str) -> BadBundle | None:
        """Why the newest version does not answer, while an older one does."""
        slot = self._as_pointed(ticker)
        return slot.refused if slot and slot.loaded else None

    def broken(self, ticker: str) -> BadBundle | None:
        """Why nothing of what is published answers."""
        slot = self._as_pointed(ticker)
        return slot.refused if slot and not slot.loaded else None

    def _as_pointed(self, ticker: str) -> _Slot | None:
        """The slot, where it is of the pointer there is now."""
        slot = self._slots.get(ticker)
        return slot if slot and slot.mark == self.mark(ticker) else None

    def _load(self, ticker: str, slot: _Slot, mark: PointerMark) -> None:
        """Bring a slot up to date; without a model to go on with, wait for whoever is at it."""
        if not slot.lock.acquire(blocking=slot.loaded is None):
            return
        try:
            if not slot.fits(mark, self._clock()):
                self._replace(ticker, slot, mark)
        finally:
            slot.lock.release()

    def _replace(self, ticker: str, slot: _Slot, mark: PointerMark) -> None:
        try:
            published = self._store.champion(ticker)
            slot.loaded = self._loaded(ticker, published) if published else None
            slot.refused = None
        except BadBundle as error:
            if slot.mark != mark or slot.refused is None:
                log.error("version_refused ticker=%s reason=%r", ticker, str(error))
            slot.loaded = slot.loaded or self._former(ticker)
            slot.refused, slot.retry_at = error, self._clock() + RETRY_SECONDS
        slot.mark = mark

    def _loaded(self, ticker: str, published: Published) -> Loaded:
        if published.card.ticker != ticker:
            raise BadBundle(f"{published.bundle} is a model of {published.card.ticker}")
        loaded = Loaded.of(published)
        log.info("loaded ticker=%s version=%s", ticker, published.version)
        return loaded

    def _former(self, ticker: str) -> Loaded | None:
        """After a restart: the champion before the one that was refused."""
        try:
            return self._loaded(ticker, self._store.former(ticker))
        except BadBundle:
            return None

    def _slot(self, ticker: str) -> _Slot:
        with self._changing:
            slot = self._slots.setdefault(ticker, _Slot())
            self._slots.move_to_end(ticker)
            while len(self._slots) > self._most:
                self._slots.popitem(last=False)
        return slot

    def _forget(self, ticker: str) -> None:
        with self._changing:
            self._slots.pop(ticker, None)
