"""Who becomes champion by hand: promote, roll back, follow an alias that was moved in MLflow.

MLflow's `champion` alias and the model store's pointer are two records of one decision. The alias
is moved first and wins: a process that dies between the two is repaired by the next `sync`, which
publishes what the alias names. Only a rollback made while MLflow was away leaves a mark in the
pointer, by which the next `sync` moves the alias instead, unless it has been moved meanwhile.
Knows no training and no schedule.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bases import pool_of
from config import Settings
from contest import packed, rule, usable_champion
from contracts import BadBundle, ForecastingError, ModelCard, Prices, RefusedVersion
from data_pipeline import StockDataPipeline
from evaluation import judge_model, prepare
from inference import Network, TrainedModel
from model_store import NETWORK, ModelStore, Published, read_card
from recipes import find_recipe
from referee import Ruling
from registry import Registry
from serving import check_match
from tracking.versions import Version

log = logging.getLogger(__name__)

Deed = Literal["published", "kept", "alias moved"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of the champion of a ticker, and why."""

    ticker: str
    deed: Deed
    version: str | None  # that is champion now
    reason: str


class Succession:
    """Changes of champion, each under the lock that a training publishes under."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.settings = settings
        self.registry = registry
        self.store = ModelStore(settings.models_dir)

    def promote(self, ticker: str, version: str, *, force: bool = False) -> Change:
        """Judge a registered version against the champion now, and publish it if it passes.

        Args:
            ticker: whose.
            version: as MLflow counts.
            force: publish it whatever the gate says; what could never be served stays refused.

        Raises:
            RefusedVersion: no such version, one that must never be champion, or the gate's no.
            TrackingUnavailable: MLflow does not answer.
        """
        with self.store.lock(ticker):
            candidate, prices = self._eligible(ticker, version)
            champion = usable_champion(self.store, prices)
            if champion and champion.card.run_id == candidate.card.run_id:
                self.registry.name_champion(ticker, version)
                return _kept(ticker, version, "it is the champion")
            ruling = self._ruling(candidate, champion, prices)
            if not (ruling.promoted or force):
                raise RefusedVersion(
                    f"version {version} of {ticker} stays out by the gate's ruling: "
                    f"{ruling.reason}; --force publishes it all the same"
                )
            by_force = "" if ruling.promoted else "by force, against the gate: "
            labels = {"promoted": "true", "gate": f"{by_force}{ruling.reason}"}
            self.registry.tag_version(ticker, version, labels)
            self.registry.publish(self.store, ticker, candidate.path, version)
        return Change(
            ticker=ticker, deed="published", version=version, reason=by_force + ruling.reason
        )

    def rollback(self, ticker: str) -> Change:
        """Return to the champion before the present one: alias, then pointer.

        Raises:
            BadBundle: there is none, or it no longer verifies.
            TrackingUnavailable: MLflow does not answer; nothing has moved.
        """
        with self.store.lock(ticker):
            former = self.store.former(ticker)
            self.registry.name_champion(ticker, former.version)
            self.store.rollback(ticker)
        return rolled_back(ticker, former)

    def sync(self, ticker: str) -> Change:
        """Publish what the alias names, if it is not the champion already.

        Raises:
            RefusedVersion: it must not become champion; the present one stays.
            BadBundle: the store's pointer cannot be read.
            TrackingUnavailable: MLflow does not answer.
        """
        with self.store.lock(ticker):
            named = self.registry.named_champion(ticker)
            reigns = self.store.reigns(ticker)
            held = reigns[-1] if reigns else None
            if named is None:
                return _kept(ticker, held.version if held else None, "no version has the alias")
            if held and held.alias_left_at == named != held.version:
                self.registry.name_champion(ticker, held.version)
                self.store.alias_told(ticker)
                reason = f"rolled back from version {named} while MLflow was away"
                return Change(
                    ticker=ticker, deed="alias moved", version=held.version, reason=reason
                )
            if held and held.version == named and self._is(held.bundle, ticker, named):
                return _kept(ticker, named, "the alias names it")
            candidate, _ = self._eligible(ticker, named)
            self.store.publish(ticker, candidate.path, named)
        log.warning("alias_followed ticker=%s version=%s", ticker, named)
        return Change(
            ticker=ticker, deed="published", version=named, reason="the alias was moved to it"
        )

    def _is(self, bundle: str, ticker: str, number: str) -> bool:
        """Whether a bundle is here, whole, and that version's: MLflow may have begun anew."""
        version = self.registry.version(ticker, number)
        folder = self.store.bundle(bundle)
        if version is None or folder is None:
            return False
        try:
            return read_card(folder).run_id == version.run_id
        except BadBundle:
            return False

    def _eligible(self, ticker: str, number: str) -> tuple[Published, Prices]:
        """A version's bundle, fetched if need be, that may be run on the prices there are."""
        try:
            version = self.registry.version(ticker, number)
            if version is None:
                have = ", ".join(v.version for v in self.registry.versions(ticker)) or "none"
                raise RefusedVersion(f"{ticker} has no version {number}; registered are: {have}")
            if version.as_published:
                raise BadBundle("it is a run as published, whose scale has seen the test rows")
            folder = self._folder(ticker, version)
            candidate = Published(number, folder.name, folder, read_card(folder))
            prices = StockDataPipeline(ticker, self.settings).read()
            check_match(candidate, prices)
        except (RefusedVersion, ForecastingError) as error:
            if error.code in ("refused_version", "tracking_unavailable"):
                raise
            raise RefusedVersion(
                f"version {number} of {ticker} cannot become champion: {error}"
            ) from error
        return candidate, prices

    def _folder(self, ticker: str, version: Version) -> Path:
        """Where a version's bundle lies; downloaded from MLflow where it is not whole on disk."""
        here = self.store.bundle(version.tags.get("model_bundle", ""))
        if here is not None:
            try:
                return self._checked(here, ticker, version)
            except BadBundle as error:
                log.warning("bundle_set_aside name=%s reason=%s", here.name, error)
        with tempfile.TemporaryDirectory() as scratch:
            fetched = self.registry.download(version, Path(scratch))
            return self.store.adopt(ticker, self._checked(fetched, ticker, version))

    def _checked(self, folder: Path, ticker: str, version: Version) -> Path:
        card: ModelCard = read_card(folder)
        if card.ticker != ticker or card.run_id != version.run_id:
            raise BadBundle(f"{folder.name} is not the bundle of version {version.version}")
        return folder

    def _ruling(self, candidate: Published, champion: Published | None, prices: Prices) -> Ruling:
        """The gate on today's prices, by the rows that neither model was fitted on."""
        if champion is None:
            return Ruling(True, "first champion")
        card = candidate.card
        recipe = find_recipe(str(card.recipe["name"]), card.recipe)
        data = prepare(
            prices, self.settings.model_copy(update={"start_date": card.start_date}), recipe
        )
        model = TrainedModel(Network(candidate.path / NETWORK), card.recipe)
        judged = judge_model(data, model, pool_of(card, self.settings))
        return rule(packed(champion, self.settings), (judged.rows, judged.fans), data)


def rolled_back(ticker: str, former: Published) -> Change:
    """A rollback that has been made."""
    return Change(
        ticker=ticker, deed="published", version=former.version, reason="the champion before it"
    )


def _kept(ticker: str, version: str | None, reason: str) -> Change:
    return Change(ticker=ticker, deed="kept", version=version, reason=reason)
