"""One ticker's training as a pure task: prices and a recipe in, a judged bundle out, as bytes.

Knows no MLflow, no store, no settings and no folder but a scratch one of its own, so that it runs
in any process of any machine, and twice without leaving anything twice.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bases import PackedBase
from contest import PackedChampion, rule
from contracts import FloatArray, ModelCard, Prices
from evaluation import Judged, Prepared, check_parity, judge_model, prepared
from figures import as_png, forecast_figure, history_figure
from fitting import Fitted, Lesson, fit
from inference import Network, TrainedModel, one_step_table
from model_store import NETWORK, REFERENCE, TEMPLATES, WALK, WEIGHTS, walk_json
from panel import panel_inputs
from recipes import Recipe
from referee import JudgedFans, JudgedRows, Ruling, judge
from versions import git_revision, library_versions

Losses = tuple[float, float]  # of one epoch: training, validation
Heard = Callable[[Losses], None]


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """All that decides what is trained."""

    prices: Prices
    recipe: Recipe
    seed: int
    start_date: date  # earlier bars take no part
    base: PackedBase | None  # for recipes that have one
    champion: PackedChampion | None = None  # that the gate holds it against; it decides no weight


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A bundle that lies nowhere yet, and everything there is to say about its training."""

    files: Mapping[str, bytes]  # of the bundle, all but its card
    card: ModelCard  # of no run yet
    rows: JudgedRows
    fans: JudgedFans | None
    ruling: Ruling  # of the gate, against
    against: str | None  # the champion of this bundle; None where there was none
    criteria: Mapping[str, float]  # aic and bic of the ARIMA baseline
    epochs: tuple[Losses, ...]
    figures: Mapping[str, bytes]  # PNG, by file name
    began: float  # seconds since 1970
    seconds: float  # that it took


def train_ticker(_: str, assignment: Assignment, heard: Heard | None = None) -> Trained:
    """Fit, export and judge.

    Args:
        _: the task's name, which decides nothing.
        assignment: what to train.
        heard: called with the losses of each epoch as it ends.

    Raises:
        ForecastingError: no base to start from, too little history, or an export that differs.
    """
    clock = Clock()
    epochs: list[Losses] = []

    def ended(_: int, logs: Mapping[str, float]) -> None:
        epochs.append((float(logs["loss"]), float(logs["val_loss"])))
        if heard is not None:
            heard(epochs[-1])

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        data, lesson = taught(assignment, scratch)
        fitted = fit(lesson, assignment.recipe, assignment.seed, ended, scratch / WEIGHTS)
        return finished(assignment, data, fitted, scratch, (clock, epochs))


class Clock:
    """When a training began, and how long it has taken."""

    def __init__(self) -> None:
        self.began, self._from = time.time(), time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self._from


def taught(assignment: Assignment, scratch: Path) -> tuple[Prepared, Lesson]:
    """The data of one training, and what of it the network is fitted to.

    Raises:
        NotEnoughHistory: too few bars.
    """
    data = prepared(assignment.prices, assignment.start_date, assignment.recipe)
    base = assignment.base.unpacked(scratch / "base") if assignment.base else None
    return data, Lesson(data.bars, data.rows, data.parts, base)


def finished(
    assignment: Assignment,
    data: Prepared,
    fitted: Fitted,
    scratch: Path,
    told: tuple[Clock, Sequence[Losses]],
) -> Trained:
    """A fitted network exported and judged; `told` has the clock and the epochs' losses.

    Raises:
        ExportMismatch: the exported network says something else than the fitted one.
    """
    clock, epochs = told
    files, model, parity = exported(data, fitted, scratch)
    judged = judge_model(data, model, fitted.pool)
    return Trained(
        files=files | judged_files(judged, model, data),
        card=_card(assignment, data, fitted, (judged, parity)),
        rows=judged.rows,
        fans=judged.fans,
        ruling=rule(assignment.champion, (judged.rows, judged.fans), data),
        against=assignment.champion.bundle if assignment.champion else None,
        criteria=judged.criteria,
        epochs=tuple(epochs),
        figures=_figures(data, fitted, judged),
        began=clock.began,
        seconds=clock.seconds,
    )


def exported(
    data: Prepared, fitted: Fitted, scratch: Path
) -> tuple[dict[str, bytes], TrainedModel, float]:
    """Weights and ONNX network, that network loaded, and how far it is from the Keras one.

    Raises:
        ExportMismatch: too far.
    """
    weights, network = scratch / WEIGHTS, scratch / NETWORK
    fitted.network.save(weights)  # the restored best ones
    fitted.network.export_onnx(network)
    model = TrainedModel(Network(network), fitted.network.recipe.as_dict())
    parity = check_parity(*both_networks(data, model, fitted))
    return {path.name: path.read_bytes() for path in (weights, network)}, model, parity


def judged_files(judged: Judged, model: TrainedModel, data: Prepared) -> dict[str, bytes]:
    """What a bundle keeps of how it was judged, by file name."""
    rows = BytesIO()
    np.save(rows, judged.templates.astype("float16"))
    files = {
        REFERENCE: one_step_table(model, data.bars, judged.said).to_csv(index=False).encode(),
        TEMPLATES: rows.getvalue(),
    }
    if judged.walk is not None:
        files[WALK] = walk_json(judged.walk)
    return files


def _figures(data: Prepared, fitted: Fitted, judged: Judged) -> dict[str, bytes]:
    ticker, source = data.prices.ticker, data.prices.provenance.source
    test = forecast_figure(
        data.dates(data.split.test),
        judged.rows.actual,
        judged.rows.forecasts,
        f"{ticker}: one step ahead, {source} prices",
    )
    return {
        "training_history.png": as_png(history_figure(fitted.history, ticker)),
        "actual_vs_predicted.png": as_png(test),
    }


def _card(
    assignment: Assignment, data: Prepared, fitted: Fitted, found: tuple[Judged, float]
) -> ModelCard:
    judged, parity = found
    return ModelCard(
        ticker=data.prices.ticker,
        recipe=fitted.network.recipe.as_dict(),
        seed=assignment.seed,
        trained_at=datetime.now(UTC).replace(microsecond=0),
        trained_through=data.prices.provenance.last_session,
        start_date=assignment.start_date,
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


@contextmanager
def epoch_bar(ticker: str, epochs: int) -> Iterator[Heard]:
    """A progress bar over epochs, to be told the losses of each; full when training stops early."""
    with tqdm(total=epochs, desc=f"{ticker} training", unit="epoch") as bar:

        def heard(losses: Losses) -> None:
            bar.set_postfix_str(f"validation loss {losses[1]:.5f}", refresh=False)
            bar.update()

        yield heard
        bar.total = bar.n
        bar.refresh()
