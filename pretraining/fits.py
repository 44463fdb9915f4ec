"""Fit one network to many tickers' windows: resumable after each epoch, on one device or many.

The loop is our own because Keras' fit (3.15) cannot begin under a MultiWorkerMirroredStrategy: it
reduces a first batch to see its shape and gets one value per replica. Each step is Keras'.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

# before TensorFlow, as in `model`
import curl_cffi  # noqa: F401
import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from contracts import NoBase, WorkerLost
from model import LSTMStockModel
from pretraining.batches import dataset, dealt, keras_order
from pretraining.rows import WindowTable
from pretraining.strategies import Spread
from pretraining.unfinished import Unfinished
from recipes import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One fit: its name, what to, by which recipe and seed."""

    name: str
    table: WindowTable
    recipe: Recipe
    seed: int

    @property
    def batch(self) -> int:
        """Windows per update, over all replicas."""
        return min(self.recipe.base_batch_size, max(8, len(self.table) // 8))

    @property
    def updates(self) -> int:
        """Of one epoch."""
        return math.ceil(len(self.table) / self.batch)

    @property
    def epochs(self) -> int:
        """Few tickers are gone over more often."""
        least = math.ceil(self.recipe.base_least_updates / self.updates)
        return max(self.recipe.base_epochs, least)


@contextmanager
def _together() -> Iterator[None]:
    """Says that a worker has gone in words of ours."""
    try:
        yield
    except tf.errors.UnavailableError as error:
        raise WorkerLost(
            "another worker has gone; start the same command on every worker again, and they go "
            "on after the last epoch that all of them had done"
        ) from error


@_together()
def fit_network(lesson: Lesson, spread: Spread, work: Unfinished) -> LSTMStockModel:
    """Fit to every window for a fixed number of epochs, the learning rate falling to zero.

    The weights are those of Keras' own `fit` on all windows at once, bit for bit, whether it was
    interrupted or not; with several replicas they are the same on each, and close to those of one.

    Args:
        lesson: what is fitted.
        spread: over which devices; every worker calls this with the same lesson.
        work: where the state after each epoch goes, and an earlier run's is found.

    Raises:
        NoBase: the workers hold different windows.
        WorkerLost: one of them has gone.
    """
    with spread.strategy.scope():
        network = _fresh(lesson, spread)
    _agreed(lesson, spread)
    order = keras_order(len(lesson.table), lesson.seed)
    fed = _fed(lesson, order, spread)
    step = _step(network.model, spread)
    done = _resumed(lesson.name, network.model, spread, work)
    what = f"{lesson.name} of {len(lesson.table.rows.tickers)} tickers"
    with tqdm(total=lesson.epochs, initial=done, desc=what, unit="epoch") as bar:
        for epoch in range(done + 1, lesson.epochs + 1):
            network.model.reset_metrics()
            loss = _epoch(step, fed, lesson.updates)
            work.keep(lesson.name, epoch, _state(network.model))
            log.info("fitted what=%s epoch=%d loss=%.6f", lesson.name, epoch, loss)
            bar.update()
    return network if spread.replicas == 1 else _alone(network)


def _fresh(lesson: Lesson, spread: Spread) -> LSTMStockModel:
    """A network as it is before the first update, its optimizer ready."""
    recipe = replace(lesson.recipe, learning_rate=lesson.recipe.base_learning_rate)
    network = LSTMStockModel(recipe, seed=lesson.seed)
    optimizer = network.model.optimizer
    optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate, lesson.epochs * lesson.updates
    )
    # Keras cuts the gradient of each replica, a share of the whole, before it adds them up
    optimizer.clipnorm /= spread.replicas
    optimizer.build(network.model.trainable_variables)
    return network


def _alone(network: LSTMStockModel) -> LSTMStockModel:
    """The same weights in a network of this process: what is asked of it waits for nobody."""
    alone = LSTMStockModel(network.recipe, seed=network.seed)
    alone.model.set_weights(network.model.get_weights())
    return alone


def _agreed(lesson: Lesson, spread: Spread) -> None:
    if len(set(spread.said_by_all(len(lesson.table)))) > 1:
        raise NoBase(
            "the workers do not hold the same prices; give each the same files, --tickers-file "
            "and STOCK_AS_OF"
        )


def _fed(lesson: Lesson, order: np.ndarray, spread: Spread) -> Any:
    parts = dealt(order, lesson.batch, spread.deal)
    if spread.replicas == 1:
        return dataset(lesson.table, parts)
    return spread.strategy.distribute_datasets_from_function(lambda _: dataset(lesson.table, parts))


def _step(network: Any, spread: Spread) -> Any:
    """One update on every replica, from an iterator; the mean loss of the epoch so far."""

    def one(data: Any) -> Any:
        return network.train_step(data)["loss"]

    def step(batches: Iterator[Any]) -> Any:
        losses = spread.strategy.run(one, args=(next(batches),))
        return spread.strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)

    return tf.function(step, reduce_retracing=True)


def _epoch(step: Any, fed: Any, updates: int) -> float:
    batches, loss = iter(fed), math.nan
    for _ in range(updates):
        loss = step(batches)
    return float(loss)


def _variables(network: Any) -> list[Any]:
    """Weights, the state of dropout's random numbers, and all that the optimizer remembers."""
    scores = {id(variable) for variable in network.metrics_variables}
    own = [variable for variable in network.variables if id(variable) not in scores]
    return [*own, *network.optimizer.variables]


def _state(network: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in _variables(network)]


def _resumed(name: str, network: Any, spread: Spread, work: Unfinished) -> int:
    """Take over the latest state that every worker has; the epochs it has behind it."""
    newest = min(spread.said_by_all(max(work.epochs(name), default=0)))
    state = work.state(name, newest) if newest else None
    fits = state is not None and [a.shape for a in state] == [v.shape for v in _variables(network)]
    if not all(spread.said_by_all(int(fits))) or state is None:
        return 0
    for variable, value in zip(_variables(network), state, strict=True):
        variable.assign(value)
    log.warning("resuming what=%s epochs_done=%d", name, newest)
    return newest
