"""A recipe and prepared data in, a judged bundle on disk out; neither registered nor published."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from base_training import base_for
from bases import Base
from config import Settings
from contracts import FloatArray, ModelCard
from evaluation import Judged, Prepared, check_parity, headline, judge_model
from figures import forecast_figure, history_figure
from fitting import Fitted, Lesson, fit
from inference import Network, TrainedModel, one_step_table
from model_store import (
    CARD,
    NETWORK,
    REFERENCE,
    TEMPLATES,
    WALK,
    WEIGHTS,
    ModelStore,
    card_json,
    walk_json,
)
from panel import panel_inputs
from recipes import Recipe
from referee import judge
from registry import TrainingRun
from versions import git_revision, library_versions


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A bundle on disk, not yet registered, with what it was judged on."""

    folder: Path
    card: ModelCard
    judged: Judged
    data: Prepared


class Bundler:
    """Makes bundles of one ticker."""

    def __init__(self, ticker: str, settings: Settings) -> None:
        self.ticker = ticker
        self.settings = settings
        self.store = ModelStore(settings.models_dir)

    def make(self, data: Prepared, recipe: Recipe, run: TrainingRun) -> Trained:
        """Fit, export, judge and write the bundle; the run has the history.

        Raises:
            ForecastingError: no base to start from, too little history, or an export that
                differs; nothing is written then.
        """
        first_test = pd.Timestamp(data.bars["Date"].iloc[int(data.rows.last[data.split.test][0])])
        base = base_for(first_test.date(), recipe, self.settings, data.prices)
        with tempfile.TemporaryDirectory() as scratch:
            weights, exported = Path(scratch) / WEIGHTS, Path(scratch) / NETWORK
            fitted = self._fit(data, recipe, base, (run, weights))
            fitted.network.export_onnx(exported)
            model = TrainedModel(Network(exported), recipe.as_dict())
            parity = check_parity(*both_networks(data, model, fitted))
            judged = judge_model(data, model, fitted.pool)
            card = self._card(data, fitted, judged, (parity, run.run_id))
            np.save(Path(scratch) / TEMPLATES, judged.templates.astype("float16"))
            files: dict[str, Path | bytes] = {
                CARD: card_json(card),
                NETWORK: exported,
                WEIGHTS: weights,
                REFERENCE: one_step_table(model, data.bars).to_csv(index=False).encode(),
                TEMPLATES: Path(scratch) / TEMPLATES,
            }
            if judged.walk is not None:
                files[WALK] = walk_json(judged.walk)
            return Trained(
                self.store.write(self.ticker, card.trained_at, files), card, judged, data
            )

    def log_scores(self, trained: Trained, run: TrainingRun) -> None:
        """Metrics and the figure of actual and predicted, for the MLflow UI."""
        criteria = {f"arima_{name}": v for name, v in trained.judged.criteria.items()}
        run.log_metrics(headline(trained.card) | criteria)
        figure = forecast_figure(
            trained.data.dates(trained.data.split.test),
            trained.judged.rows.actual,
            trained.judged.rows.forecasts,
            f"{self.ticker}: one step ahead, {trained.card.data.source} prices",
        )
        run.log_figure(figure, "actual_vs_predicted.png")

    def _fit(
        self, data: Prepared, recipe: Recipe, base: Base | None, into: tuple[TrainingRun, Path]
    ) -> Fitted:
        """Fit with a progress bar; the weights are written and the run has the history."""
        run, weights = into
        with epoch_bar(self.ticker, recipe.epochs) as bar:

            def ended(epoch: int, logs: Mapping[str, float]) -> None:
                run.log_epoch(epoch, {"train_loss": logs["loss"], "val_loss": logs["val_loss"]})
                bar.set_postfix_str(f"validation loss {logs['val_loss']:.5f}", refresh=False)
                bar.update()

            lesson = Lesson(data.bars, data.rows, data.parts, base)
            fitted = fit(lesson, recipe, self.settings.seed, ended, weights)
        fitted.network.save(weights)  # the restored best ones
        run.log_figure(history_figure(fitted.history, self.ticker), "training_history.png")
        run.log_keras_model(fitted.network.model)
        return fitted

    def _card(
        self, data: Prepared, fitted: Fitted, judged: Judged, facts: tuple[float, str]
    ) -> ModelCard:
        parity, run_id = facts
        return ModelCard(
            ticker=self.ticker,
            recipe=fitted.network.recipe.as_dict(),
            seed=self.settings.seed,
            trained_at=datetime.now(UTC).replace(microsecond=0),
            trained_through=data.prices.provenance.last_session,
            start_date=self.settings.start_date,
            train=data.span(data.split.train),
            validation=data.span(data.split.validation),
            test=data.span(data.split.test),
            data=data.prices.provenance,
            calibration=judged.calibration,
            scores=judged.scores,
            skill=judge(judged.rows, "lstm", judged.fans),
            parity=parity,
            base=fitted.base.identity() if fitted.base else None,
            shrinkage=fitted.shrinkage,
            versions=library_versions(),
            git_revision=git_revision(),
            run_id=run_id,
        )


def both_networks(
    data: Prepared, model: TrainedModel, fitted: Fitted
) -> tuple[FloatArray, FloatArray]:
    """What ONNX and Keras say of the test rows, to be held against each other."""
    test = data.rows.rows(data.split.test)
    if fitted.network.recipe.inputs == "panel":
        x = panel_inputs(data.bars).windows(test.last, model.length)
    else:
        x = test.x
    return model.network.run(x), fitted.network.outputs(x)


def parameters(data: Prepared, recipe: Recipe, settings: Settings) -> dict[str, object]:
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


@contextmanager
def epoch_bar(ticker: str, epochs: int) -> Iterator[Any]:
    """A progress bar over epochs that ends full when training stops early."""
    with tqdm(total=epochs, desc=f"{ticker} training", unit="epoch") as bar:
        yield bar
        bar.total = bar.n
        bar.refresh()
