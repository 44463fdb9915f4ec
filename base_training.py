"""Train a base on many tickers, or find the one that a job may use. Publishes no model.

`python train.py --base --tickers-file FILE` writes one under `pretrained/`, named after the last
session it has seen.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bands import calibrate, templates
from bases import CARD_FORM, Base, fits, newest_base, read_base, write_base
from config import Settings
from contracts import BadBundle, BaseCard, Prices
from data_pipeline import cached_tickers
from evaluation import check_parity
from fitting import shrinkage
from inference import Network, TrainedModel
from model_store import CARD, NETWORK, TEMPLATES, WEIGHTS
from panel import panel_inputs
from pretraining.judging import last_year, origins, past_errors, skill, thinned
from pretraining.panels import YEAR, Panel, fold, gather
from pretraining.rows import prepared_rows, window_table
from pretraining.unfinished import Unfinished, unfinished
from recipes import Recipe
from versions import git_revision, library_versions

if TYPE_CHECKING:
    from model import LSTMStockModel
    from pretraining.strategies import Spread

__all__ = ["YEAR", "BaseTrainer", "Panel", "base_for", "fold", "gather", "train_base"]

log = logging.getLogger(__name__)

PRIOR = 0.4  # of the weight where it is estimated; from the panel, see docs/EXPERIMENTS.md


def base_for(before: date, recipe: Recipe, settings: Settings, kind: Prices) -> Base | None:
    """The base a job whose origins begin at `before` may start from; None if the recipe has none.

    A shipped one if it has seen nothing later; else one is trained from the tickers there are,
    or read again if that was done before.

    Args:
        before: no session after it may have touched the base.
        recipe: whose network it is for.
        settings: where bases and prices are.
        kind: prices of the job. A base that is trained here holds only prices of the same
            adjustment, and invented or real ones, never both; a shipped one, of real prices
            in units of volatility, serves them all.

    Raises:
        NoBase: no ticker with such prices reaches far enough back.
    """
    if not recipe.has_base:
        return None
    if base := newest_base(settings, recipe, before):
        return base
    panel = gather(_known_tickers(settings), settings, before, kind)
    name = f"{panel.through}-{_key(panel, recipe, settings)}"
    folder = settings.models_dir / "bases" / name
    if base := _own(folder, recipe):
        return base
    with unfinished(folder) as work:
        if base := _own(folder, recipe):  # another process has just made it
            return base
        log.warning(
            "no shipped base ends by %s: training one from %d tickers here through %s",
            before,
            len(panel.bars),
            panel.through,
        )
        return BaseTrainer(recipe, settings.seed).make(panel, folder, work)


def _own(folder: Path, recipe: Recipe) -> Base | None:
    """A base that was made here."""
    try:
        base = read_base(folder, shipped=False)
    except BadBundle:
        return None
    return base if fits(base, recipe) else None


def _known_tickers(settings: Settings) -> tuple[str, ...]:
    """The configured tickers and every other in the cache."""
    return tuple(dict.fromkeys((*settings.tickers, *cached_tickers(settings))))


def _key(panel: Panel, recipe: Recipe, settings: Settings) -> str:
    made_of = f"{panel.sha256} {sorted(recipe.as_dict().items(), key=str)} {settings.seed}"
    return hashlib.sha256(made_of.encode()).hexdigest()[:8]


def train_base(
    panel: Panel, recipe: Recipe, seed: int, folder: Path, *, shipped: bool = False
) -> Base:
    """Make a base on the one device that TensorFlow chooses; as `BaseTrainer.make`."""
    with unfinished(folder) as work:
        return BaseTrainer(recipe, seed, shipped=shipped).make(panel, folder, work)


@dataclass(frozen=True, slots=True)
class BaseTrainer:
    """Makes bases: fits twice, judges the first network, keeps the second.

    The first network is fitted without the last year and says, on that year, how much of its
    correction is worth using. The second is fitted to all; its errors make the quantiles.

    Args:
        recipe: one that starts from a base.
        seed: of weights, dropout and shuffling.
        strategy: `none`, `mirrored` or `multi-worker`; see pretraining.strategies.
        shipped: whether they come with the software.
    """

    recipe: Recipe
    seed: int
    strategy: str = "none"
    shipped: bool = False

    def spread(self, panel: Panel, folder: Path, *, afresh: bool = False) -> Base | None:
        """Make a base, or help to: only the first of several workers writes and gets it.

        Every worker calls this with the same panel; the first thing a process asks of TensorFlow.
        With `afresh` what an interrupted run left is not gone on with.

        Raises:
            BadSettings: no such strategy, or TF_CONFIG does not say who the workers are.
            NoBase: the workers hold different prices, or the disk is full.
            NotEnoughHistory, ExportMismatch: as `make`.
        """
        from pretraining.strategies import open_spread

        spread = open_spread(self.strategy)
        with unfinished(folder, spread.worker) as work:
            if afresh:
                work.begin({})  # another work than any
            fitted = self._fitted(panel, spread, work)
            return self._judged(panel, fitted, folder) if spread.worker == 0 else None

    def make(self, panel: Panel, folder: Path, work: Unfinished) -> Base:
        """Make a base in this process alone.

        Args:
            panel: bars of the tickers.
            folder: where the base goes; one already there is replaced.
            work: where the state after each epoch goes; an interrupted run is gone on with.

        Raises:
            NotEnoughHistory: no ticker has the sessions that one training window needs.
            NoBase: the disk is full.
            ExportMismatch: ONNX and Keras differ.
        """
        from pretraining.strategies import open_spread

        return self._judged(panel, self._fitted(panel, open_spread("none"), work), folder)

    def _fitted(
        self, panel: Panel, spread: Spread, work: Unfinished
    ) -> tuple[LSTMStockModel, LSTMStockModel, date]:
        """The network without the last year, the one of every session, and the first session."""
        from pretraining.fits import Lesson, fit_network

        work.begin(self._about(panel, spread))
        rows = prepared_rows(panel, self.recipe, work.folder)
        trial, base = (
            fit_network(
                Lesson(
                    name,
                    window_table(rows, self.recipe.unrollings, left_out),
                    self.recipe,
                    self.seed,
                ),
                spread,
                work,
            )
            for name, left_out in (("trial", YEAR), ("base", 0))
        )
        return trial, base, rows.first_session

    def _about(self, panel: Panel, spread: Spread) -> Mapping[str, Any]:
        """All that the weights depend on."""
        return {
            "data_sha256": panel.sha256,
            "fitted": panel.fitted,
            "recipe": self.recipe.as_dict(),
            "seed": self.seed,
            "strategy": self.strategy,
            "replicas": spread.replicas,
            "versions": library_versions(),
            "git_revision": git_revision(),
        }

    def _judged(
        self, panel: Panel, fitted: tuple[LSTMStockModel, LSTMStockModel, date], folder: Path
    ) -> Base:
        """Judge both networks and put the base in its place."""
        trial, final, first = fitted
        said = last_year(trial, panel, self.recipe)
        moves, outcomes, _ = (np.concatenate(side) for side in zip(*said, strict=True))
        weight = shrinkage(moves, outcomes, PRIOR)
        with tempfile.TemporaryDirectory() as scratch:
            files = self._files(final, weight, Path(scratch))
            model = TrainedModel(Network(files[NETWORK]), self.recipe.as_dict())
            errors = past_errors(model, panel)
            calibration = calibrate(errors, memory=len(errors))
            rows = thinned(templates(errors, calibration, len(errors)))
            np.save(files[TEMPLATES], rows.astype("float16"), allow_pickle=False)
            card = BaseCard(
                name=folder.name,
                first_session=first,
                shrinkage=weight,
                calibration=calibration,
                skill=skill(said, weight),
                parity=self._parity(model, final, panel),
                **self._known(panel),
            )
            described: dict[str, Path | bytes] = {
                CARD: CARD_FORM.dump_json(card, indent=1) + b"\n",
                **files,
            }
            return write_base(folder, described, shipped=self.shipped)

    def _files(self, final: LSTMStockModel, weight: float, scratch: Path) -> dict[str, Path]:
        """The network before shrinking as weights, and after as ONNX; the templates' place."""
        files = {name: scratch / name for name in (NETWORK, WEIGHTS, TEMPLATES)}
        final.save(files[WEIGHTS])
        final.shrink(weight)
        final.export_onnx(files[NETWORK])
        return files

    def _parity(self, model: TrainedModel, final: LSTMStockModel, panel: Panel) -> float:
        bars = panel.bars[panel.judges[0]]
        x = panel_inputs(bars).windows(origins(model, bars), self.recipe.unrollings)
        return check_parity(model.network.run(x), final.outputs(x))

    def _known(self, panel: Panel) -> dict[str, Any]:
        """What a card says of a base before it is judged."""
        return {
            "recipe": self.recipe.as_dict(),
            "seed": self.seed,
            "trained_at": datetime.now(UTC).replace(microsecond=0),
            "trained_through": panel.through,
            "tickers": panel.fitted,
            "held_out": panel.held_out,
            "data_sha256": panel.sha256,
            "versions": library_versions(),
            "git_revision": git_revision(),
        }
