"""Fit one ticker's network, by whichever way its recipe says. Knows no MLflow, no store, no clock.

A recursive recipe starts from random weights; one with a base starts from the base's, learns a
little more, and is drawn back to the last close as far as its corrections have not earned trust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bands import Pool
from bases import Base
from contracts import FloatArray, NoBase
from features import Sequences
from panel import PanelInputs, Windows, panel_inputs, targets, training_windows
from recipes import Recipe

if TYPE_CHECKING:
    from model import EpochListener, LSTMStockModel

LEAST_HELD = 20  # rows after everything learnt, below which the base's own weight stands
PRIOR_SPREAD = 0.25  # standard deviation of a ticker's weight around the base's


@dataclass(frozen=True, slots=True)
class Parts:
    """Consecutive origins, oldest first: to fit to, and to stop and shrink by."""

    train: range
    validation: range


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A network that is ready to be exported."""

    network: LSTMStockModel
    history: Mapping[str, Sequence[float]]  # by epoch: loss, val_loss, learning_rate
    base: Base | None
    shrinkage: float

    @property
    def pool(self) -> Pool | None:
        """The base's error quantiles, with the weight the recipe gives them."""
        return self.base.pool(self.network.recipe.pool_weight) if self.base else None


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What a ticker's network is fitted to."""

    bars: pd.DataFrame
    rows: Sequences  # of every origin, as the recursive recipes see them
    parts: Parts
    base: Base | None  # for recipes that have one


def fit(
    lesson: Lesson,
    recipe: Recipe,
    seed: int,
    on_epoch_end: EpochListener | None = None,
    checkpoint: Path | None = None,
) -> Fitted:
    """Fit to the training part; the weights of the best validation epoch stay.

    Args:
        lesson: bars and parts; outcomes after the validation part are not looked at.
        recipe: what to fit.
        seed: of weights, dropout and shuffling.
        on_epoch_end: called with the epoch, from 0, and Keras' logs of it.
        checkpoint: where the best weights are kept while training runs.

    Raises:
        NoBase: the recipe starts from a base and the lesson brings none.
        NotEnoughHistory: a part holds no row.
    """
    from model import LSTMStockModel

    network = LSTMStockModel(recipe, seed=seed)
    given: dict[str, Any] = {
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "on_epoch_end": on_epoch_end,
        "model_path": checkpoint,
    }
    if not recipe.has_base:
        train, held = (_rows(lesson.rows, p) for p in (lesson.parts.train, lesson.parts.validation))
        history = network.train(train.x, train.y, held.x, held.y, **given)
        return Fitted(network, history.history, None, 1.0)
    if lesson.base is None:
        raise NoBase(f"recipe {recipe.name} starts from a base of many tickers and there is none")
    return _adapt(network, lesson, lesson.base, given)


def _rows(rows: Sequences, origins: range) -> Sequences:
    first = int(rows.last[0])
    return rows.rows(slice(max(0, origins.start - first), origins.stop - first))


def _adapt(network: LSTMStockModel, lesson: Lesson, base: Base, given: Mapping[str, Any]) -> Fitted:
    """From the base's weights, in few epochs at a low rate; back to them if that helped nothing."""
    network.load(base.weights)
    seen = windows_of(lesson, network.recipe)
    before = network.model.get_weights()
    started = network.loss(seen.held.x, seen.held.y)
    parts = (seen.train.x, seen.train.y, seen.held.x, seen.held.y)
    history = network.train(*parts, **given).history
    if not min(history["val_loss"]) < started:
        network.model.set_weights(before)
    return trusted(network, seen, lesson, base, history)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A lesson as a network with a base sees it."""

    inputs: PanelInputs
    train: Windows
    held: Windows


def windows_of(lesson: Lesson, recipe: Recipe) -> Seen:
    """Cut both parts; an outcome is used where it is known by the end of its own part.

    Raises:
        NotEnoughHistory: a part holds no row.
    """
    inputs = panel_inputs(lesson.bars)
    train, held = (
        training_windows(
            inputs, targets(inputs, recipe.horizons, part.stop + 1), part, recipe.unrollings
        )
        for part in (lesson.parts.train, lesson.parts.validation)
    )
    return Seen(inputs, train, held)


def trusted(
    network: LSTMStockModel,
    seen: Seen,
    lesson: Lesson,
    base: Base,
    history: Mapping[str, Sequence[float]],
) -> Fitted:
    """A network with its correction shrunk to what it has earned."""
    weight = earned_weight(network, seen.inputs, _unseen(lesson, base), base.card.shrinkage)
    network.shrink(weight)
    return Fitted(network, history, base, weight)


def _unseen(lesson: Lesson, base: Base) -> range:
    """Validation origins that the base has not seen either: they may say what a model earned."""
    days = lesson.bars["Date"].to_numpy()
    after = int(np.searchsorted(days, np.datetime64(base.card.trained_through), side="right"))
    part = lesson.parts.validation
    return range(max(part.start, after), part.stop)


def earned_weight(
    network: LSTMStockModel, inputs: PanelInputs, origins: range, prior: float
) -> float:
    """How much of the network's correction to use: 0 repeats the last close, 1 trusts it whole.

    The least-squares slope of what came on what was said, drawn towards the base's weight as a
    normal prior of PRIOR_SPREAD would (a ridge regression): a hundred days of one share say
    little about a correction this small.
    """
    if len(origins) < LEAST_HELD:
        return prior
    last = np.arange(origins.start, origins.stop)
    said = network.outputs(inputs.windows(last, network.recipe.unrollings))[:, 0]
    came = targets(inputs, (1,), origins.stop + 1)[last, 0]
    known = np.isfinite(came)
    return shrinkage(said[known], came[known], prior)


def shrinkage(said: FloatArray, came: FloatArray, prior: float) -> float:
    """The slope of `came` on `said`, both (n,), under a prior, held between 0 and 1."""
    noise = float(np.mean(came**2))
    if noise == 0:
        return prior
    trust = 1 / PRIOR_SPREAD**2
    slope = (prior * trust + float(said @ came) / noise) / (trust + float(said @ said) / noise)
    return float(np.clip(slope, 0.0, 1.0))
