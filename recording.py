"""What becomes of a finished training: bundle on disk, MLflow run, the gate, a version, a champion.

One process does this for all of a job's tickers, so that a training that ran twice leaves nothing
twice. A run carries the name of its job: what a killed process had begun is found by it, and
finished or taken back. Knows not how a network is fitted or a task is run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bundling import Trained
from config import Settings
from contest import packed, rule, usable_champion
from contracts import BadBundle, ModelCard
from evaluation import Prepared, headline
from model_store import CARD, WEIGHTS, ModelStore, card_json, read_card
from recipes import Recipe, find_recipe
from referee import Ruling
from registry import Registry, TrainingRun
from tracking.trainings import Begun, Logged
from versions import git_revision, library_versions

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one training."""

    ticker: str
    folder: Path
    version: str
    card: ModelCard
    ruling: Ruling


class Recorder:
    """Records trainings, one after the other.

    Args:
        settings: where bundles go.
        registry: where runs and versions go.
        job: the name of the job that they belong to; empty for none.
        keras_models: whether runs get the network in MLflow's own Keras form too.
    """

    def __init__(
        self, settings: Settings, registry: Registry, job: str = "", *, keras_models: bool = True
    ) -> None:
        self.settings, self.registry, self.job = settings, registry, job
        self.keras_models = keras_models
        self.store = ModelStore(settings.models_dir)

    def record(self, trained: Trained, data: Prepared, recipe: Recipe) -> Outcome:
        """Write, track, judge by the gate, register, and publish what it lets through.

        Raises:
            TrackingUnavailable: MLflow does not answer; the run, if there is one, is marked.
        """
        ticker = data.prices.ticker
        tags = {"job": self.job} if self.job else {}
        with self.registry.training(ticker, trained.began, tags) as run:
            card = replace(trained.card, run_id=run.run_id)
            files = {CARD: card_json(card), **trained.files}
            folder = self.store.write(ticker, card.trained_at, files)
            model = run.log_keras_model(_rebuilt(card, folder)) if self.keras_models else None
            run.log_training(
                Logged(
                    parameters=parameters(data, recipe, self.settings),
                    epochs=trained.epochs,
                    metrics=headline(card) | _further(trained),
                    figures=trained.figures,
                    model=model,
                )
            )
            run.log_bundle(folder)
            return self._rule_and_publish(trained, data, (card, folder, run))

    def _rule_and_publish(
        self, trained: Trained, data: Prepared, made: tuple[ModelCard, Path, TrainingRun]
    ) -> Outcome:
        card, folder, run = made
        with self.store.lock(card.ticker):  # two trainings of one ticker rule one after the other
            ruling = self._ruling(trained, data)
            labels = _labels(card, folder, ruling)
            run.tag(**labels)
            version = self.registry.register(run.run_id, card.ticker, labels)
            if ruling.promoted:
                self.registry.publish(self.store, card.ticker, folder, version)
        return Outcome(ticker=card.ticker, folder=folder, version=version, card=card, ruling=ruling)

    def _ruling(self, trained: Trained, data: Prepared) -> Ruling:
        """The gate's; its own where another model has become champion since the training began."""
        champion = usable_champion(self.store, data.prices)
        if (champion.bundle if champion else None) == trained.against:
            return trained.ruling
        against = packed(champion, self.settings) if champion else None
        return rule(against, (trained.rows, trained.fans), data)

    def left_behind(self, tickers: tuple[str, ...]) -> dict[tuple[str, str], Outcome]:
        """Finish or take back what an earlier process of this job left, by ticker and recipe.

        A training that was registered is finished: published if the gate had let it through and no
        later version has become champion since. One that was not is taken back: its run is marked
        as killed, its bundle removed.
        """
        found = {}
        for begun in self.registry.begun(tickers, self.job):
            if begun.version is None:
                self._take_back(begun)
                if begun.lost:
                    log.warning("taken_back ticker=%s run_id=%s", begun.ticker, begun.run_id)
                    self.registry.end(begun.run_id, "KILLED")
            elif outcome := self._finished(begun, begun.version):
                found[begun.ticker, str(outcome.card.recipe["name"])] = outcome
        return found

    def _take_back(self, begun: Begun) -> None:
        """Remove the bundles of a run that was never registered."""
        for folder in self.store.bundles(begun.ticker):
            try:
                own = read_card(folder).run_id == begun.run_id
            except BadBundle:
                continue
            if own:
                self.store.discard(folder)

    def _finished(self, begun: Begun, version: str) -> Outcome | None:
        """The outcome of a registered training; None where its bundle is no longer here."""
        tags, left_open = begun.tags, begun.status != "FINISHED"
        folder = self.store.bundle(tags.get("model_bundle", ""))
        try:
            card = read_card(folder) if folder else None
        except BadBundle as error:
            log.warning("bundle_set_aside ticker=%s reason=%s", begun.ticker, error)
            card = None
        ruling = Ruling(tags.get("promoted") == "true", tags.get("gate", ""))
        if left_open and folder and card and ruling.promoted:
            self._catch_up(begun.ticker, folder, version)
        if left_open:
            self.registry.end(begun.run_id, "FINISHED")
        if folder is None or card is None:
            return None
        return Outcome(
            ticker=begun.ticker, folder=folder, version=version, card=card, ruling=ruling
        )

    def _catch_up(self, ticker: str, folder: Path, version: str) -> None:
        with self.store.lock(ticker):
            reigns = self.store.reigns(ticker)
            if not reigns or int(reigns[-1].version) < int(version):
                self.registry.publish(self.store, ticker, folder, version)


def summary(outcome: Outcome) -> str:
    """One training in two lines."""
    card, ruling = outcome.card, outcome.ruling
    place = "champion" if ruling.promoted else "kept, not promoted"
    return (
        f"{outcome.ticker}: {card.recipe['name']}, version {outcome.version} "
        f"({place}: {ruling.reason}); "
        f"{card.data.source} prices through {card.trained_through}{_base_said(card)}\n"
        f"  one-step RMSE {card.skill.rmse_ratio:.2f} times that of repeating the last close over "
        f"{card.test.rows} held-out sessions: {card.skill.verdict}{_bands_said(card)}"
    )


def _base_said(card: ModelCard) -> str:
    if card.base is None:
        return ""
    where = "shipped base" if card.base.shipped else "base trained here"
    return f"; {where} {card.base.name} of {card.base.tickers} tickers"


def _bands_said(card: ModelCard) -> str:
    ratio = card.skill.crps_ratio
    return "" if ratio is None else f"; CRPS of its bands {ratio:.3f} times that price's own"


def _labels(card: ModelCard, folder: Path, ruling: Ruling) -> dict[str, str]:
    """What makes runs and versions comparable in the UI."""
    return {
        "recipe": str(card.recipe["name"]),
        "data_source": card.data.source,
        "verdict": card.skill.verdict,
        "promoted": str(ruling.promoted).lower(),
        "gate": ruling.reason,
        "model_bundle": folder.name,
        "mode": str(card.recipe["mode"]),
        "base": card.base.name if card.base else "none",
    }


def _further(trained: Trained) -> dict[str, float]:
    criteria = {f"arima_{name}": value for name, value in trained.criteria.items()}
    return {**criteria, "training_seconds": trained.seconds}


def _rebuilt(card: ModelCard, folder: Path) -> object:
    """The bundle's network as Keras has it."""
    from model import LSTMStockModel

    network = LSTMStockModel(find_recipe(str(card.recipe["name"]), card.recipe), card.seed)
    network.load(folder / WEIGHTS)
    return network.model


def parameters(data: Prepared, recipe: Recipe, settings: Settings) -> Mapping[str, object]:
    """What the run logs: the recipe and the data really used."""
    fields = {k: v for k, v in recipe.as_dict().items() if k not in ("name", "description")}
    provenance = data.prices.provenance
    return {
        "recipe": recipe.name,
        "ticker": data.prices.ticker,
        **fields,
        "seed": settings.seed,
        "start_date": settings.start_date,
        "data_source": provenance.source,
        "data_adjustment": provenance.adjustment,
        "data_sha256": provenance.sha256,
        "data_last_session": provenance.last_session,
        "data_rows": len(data.bars),
        "data_stale": provenance.stale,
        "git_revision": git_revision() or "unknown",
        "versions": " ".join(f"{name}={version}" for name, version in library_versions().items()),
    }
