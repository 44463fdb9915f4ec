"""Fit many tickers' networks at once, as one graph with an axis of tickers. Knows no MLflow.

Each is fitted as `fitting.fit` fits one: from its base, by its own batches, schedule and best
epoch, back to the base if nothing helped. A ticker that is done leaves the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bases import Base
from contracts import FloatArray, ForecastingError, NoBase
from fitting import Fitted, Lesson, Seen, fit, trusted, windows_of
from panel import Windows
from recipes import Recipe

if TYPE_CHECKING:
    from networks.stacked import Stack

LEAST_GAIN = 1e-4  # of the loss, below which the plateau schedule sees none; Keras' default
Weights = list[np.ndarray]


@dataclass(slots=True, eq=False)
class Learner:
    """One ticker on its way: what it learns from, and what came of every epoch."""

    lesson: Lesson
    base: Base
    seen: Seen
    rate: float
    begun: Weights  # the base's
    best: Weights
    started: float = math.inf  # the base's own validation loss
    waited: int = 0
    plateau: tuple[float, int] = (math.inf, 0)  # the lowest loss it has seen, epochs since
    history: dict[str, list[float]] = field(default_factory=dict)

    def took(self, losses: tuple[float, float], weights: Weights, recipe: Recipe) -> bool:
        """Note an epoch's losses and weights; whether to go on. As Keras' callbacks do."""
        before = min(self.history.get("val_loss", [math.inf]))
        epoch = len(self.history.get("loss", []))
        for name, value in zip(
            ("loss", "val_loss", "learning_rate"), (*losses, self.rate), strict=True
        ):
            self.history.setdefault(name, []).append(value)
        if epoch == 0 or losses[1] < before:
            self.best, self.waited = weights, 0
        else:
            self.waited += 1
        self._schedule(epoch + 1, losses[1], recipe)
        return self.waited == 0 or self.waited < recipe.patience

    def _schedule(self, epoch: int, loss: float, recipe: Recipe) -> None:
        if recipe.lr_schedule == "step":
            falls = epoch // recipe.lr_step_epochs
            self.rate = recipe.learning_rate * recipe.lr_step_factor**falls
            return
        lowest, waited = self.plateau
        self.plateau = (loss, 0) if loss < lowest - LEAST_GAIN else (lowest, waited + 1)
        if self.plateau[1] >= max(1, recipe.lr_patience) and self.rate > recipe.lr_floor:
            self.rate = max(self.rate * recipe.lr_factor, recipe.lr_floor)
            self.plateau = (self.plateau[0], 0)


def fit_many(
    lessons: Sequence[Lesson], recipe: Recipe, seed: int
) -> list[Fitted | ForecastingError]:
    """What `fitting.fit` makes of each lesson, in their order; a failed one costs only itself.

    Args:
        lessons: of as many tickers as shall be fitted at once; their bars are held in memory.
        recipe: what to fit; one without a base is fitted one by one.
        seed: of dropout and shuffling, each ticker's own, as in `fit`.
    """
    if not recipe.has_base:
        return [_or_error(lesson, recipe, seed) for lesson in lessons]
    known: dict[Path, Weights] = {}  # of bases; most lessons have the same
    prepared = [_learner(lesson, recipe, known) for lesson in lessons]
    learners = [one for one in prepared if isinstance(one, Learner)]
    if learners:
        _learn(learners, recipe, seed)
    return [_fitted(one, recipe, seed) if isinstance(one, Learner) else one for one in prepared]


def _or_error(lesson: Lesson, recipe: Recipe, seed: int) -> Fitted | ForecastingError:
    try:
        return fit(lesson, recipe, seed)
    except ForecastingError as error:
        return error


def _learner(
    lesson: Lesson, recipe: Recipe, known: dict[Path, Weights]
) -> Learner | ForecastingError:
    if (base := lesson.base) is None:
        return NoBase(f"recipe {recipe.name} starts from a base of many tickers and there is none")
    try:
        seen = windows_of(lesson, recipe)
    except ForecastingError as error:
        return error
    if base.weights not in known:
        known[base.weights] = _weights(recipe, base.weights)
    begun = known[base.weights]
    return Learner(lesson, base, seen, recipe.learning_rate, begun, begun)


def _weights(recipe: Recipe, path: Path) -> Weights:
    from model import LSTMStockModel

    network = LSTMStockModel(recipe)
    network.load(path)
    weights: Weights = network.model.get_weights()
    return weights


def _fitted(learner: Learner, recipe: Recipe, seed: int) -> Fitted:
    from model import LSTMStockModel

    helped = min(learner.history["val_loss"]) < learner.started
    network = LSTMStockModel(recipe, seed=seed)
    network.model.set_weights(learner.best if helped else learner.begun)
    return trusted(network, learner.seen, learner.lesson, learner.base, learner.history)


def _learn(learners: Sequence[Learner], recipe: Recipe, seed: int) -> None:
    """Epochs of all, until each is done; those that are done are calculated no more."""
    from networks.stacked import kept, table, tables

    stack, learning = _stack(recipe), list(learners)
    state = tables([one.best for one in learning], stack.dtype)
    for one, loss in zip(learning, _held(stack, state, learning), strict=True):
        one.started = loss
    for epoch in range(recipe.epochs):
        state, losses = _epoch(stack, state, learning, (recipe.batch_size, seed, epoch))
        both = zip(losses, _held(stack, state, learning), strict=True)
        goes_on = [
            one.took(pair, table(state, place), recipe)
            for place, (one, pair) in enumerate(zip(learning, both, strict=True))
        ]
        learning = [one for one, more in zip(learning, goes_on, strict=True) if more]
        if not learning:
            return
        state = kept(state, np.flatnonzero(goes_on))


def _stack(recipe: Recipe) -> Stack:
    layers = tuple((str(layer[0]), recipe.size(layer[1])) for layer in recipe.layers)
    return _stack_of(layers, recipe.horizons, recipe.unrollings)


@lru_cache(maxsize=2)
def _stack_of(
    layers: tuple[tuple[str, float], ...], horizons: tuple[int, ...], burn_in: int
) -> Stack:
    """The graphs of a form, traced once in a process."""
    from networks.stacked import Stack

    return Stack(layers, horizons, burn_in)


def _epoch(
    stack: Stack, state: Any, learning: Sequence[Learner], how: tuple[int, int, int]
) -> tuple[Any, list[float]]:
    """Each ticker's batches once, in an order of its own; the mean loss of its rows."""
    size, seed, epoch = how
    parts = [one.seen.train for one in learning]
    orders = [np.random.default_rng([seed, epoch]).permutation(len(part.x)) for part in parts]
    sums, steps = np.zeros(len(parts)), math.ceil(max(map(len, orders)) / size)
    rates = np.array([one.rate for one in learning], stack.dtype)
    for step in range(steps):
        chosen = [order[step * size : (step + 1) * size] for order in orders]
        rows = padded([Windows(p.x[at], p.y[at]) for p, at in zip(parts, chosen, strict=True)])
        drawn = np.array([seed, epoch * steps + step], "int32")
        state, losses = stack.update(state, rates, stack.cast(rows), drawn)
        sums += losses.numpy() * [len(at) for at in chosen]
    return state, [float(v) for v in sums / [len(order) for order in orders]]


def _held(stack: Stack, state: Any, learning: Sequence[Learner]) -> list[float]:
    rows = padded([one.seen.held for one in learning])
    return [float(v) for v in stack.losses(state[0], *stack.cast(rows)).numpy()]


def padded(parts: Sequence[Windows]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Windows of B tickers, (B, T, N, ...), and over how many positions each one's loss is a mean.

    Fewer windows and shorter blocks are filled up at their ends, where nothing is known: no
    position says anything of what comes after it.
    """
    rows = max(len(part.x) for part in parts)
    length, block = (max(getattr(part, side).shape[1] for part in parts) for side in ("x", "y"))
    x = np.zeros((len(parts), length, rows, parts[0].x.shape[2]), "float32")
    y = np.full((len(parts), block, rows, parts[0].y.shape[2]), np.nan, "float32")
    for at, part in enumerate(parts):
        x[at, : part.x.shape[1], : len(part.x)] = part.x.transpose(1, 0, 2)
        y[at, : part.y.shape[1], : len(part.y)] = part.y.transpose(1, 0, 2)
    count = np.array([part.y.shape[0] * part.y.shape[1] for part in parts], "float32")
    return x, y, count
