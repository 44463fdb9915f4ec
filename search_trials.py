"""The trials of a search, drawn by Keras Tuner and fitted one after the other: a pure task.

Knows no MLflow, no settings and no store; a trial that has ended is kept in the ledger's folder
where that is within reach.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bases import Base, PackedBase
from contracts import Prices
from evaluation import prepared
from fitting import Lesson, Parts, fit
from recipes import Recipe
from search_space import Between, Space, is_whole
from trial_ledger import Ledger, Tried, Values

OBJECTIVE = "best_val_loss"  # lower is better
Ended = Callable[[int, float, float], None]  # an epoch, from 0, and both its losses


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """All that the trials of one ticker depend on."""

    prices: Prices
    recipe: Recipe  # fields that are not varied
    space: Space
    parts: Parts  # the same sessions for every trial
    base: PackedBase | None
    seed: int
    trials: int
    known: tuple[Tried, ...]  # what earlier calls have found
    ledger: Path  # where trials are kept, if this machine has that folder


def search_ticker(_: str, asked: Asked) -> tuple[Tried, ...]:
    """Every trial, in the order they are drawn; those that are known are not fitted again."""
    found: list[Tried] = []
    known = {tried.number: tried for tried in asked.known}
    ledger = Ledger(asked.ledger) if asked.ledger.is_dir() else None
    with tempfile.TemporaryDirectory() as scratch:
        base = asked.base.unpacked(Path(scratch) / "base") if asked.base else None

        def judge(number: int, values: Values) -> float:
            tried = known.get(number)
            if tried is None or tried.values != values:
                tried = _fitted(asked, base, number, values)
                if ledger is not None:
                    ledger.keep(tried)
            found.append(tried)
            return tried.best

        explore(asked.space, asked.trials, asked.seed, judge)
    return tuple(found)


def _fitted(asked: Asked, base: Base | None, number: int, values: Values) -> Tried:
    recipe = replace(asked.recipe, **values)  # type: ignore[arg-type]
    start = asked.prices.bars["Date"].iloc[0].date()  # they were cut before they were sent
    data = prepared(asked.prices, start, recipe)
    lesson = Lesson(data.bars, data.rows, asked.parts, base)
    return fit_trial(lesson, recipe, asked.seed, (number, values))


def fit_trial(
    lesson: Lesson,
    recipe: Recipe,
    seed: int,
    drawn: tuple[int, Values],
    heard: Ended | None = None,
) -> Tried:
    """Fit one configuration; `drawn` is its number and the values of what is varied."""

    def ended(epoch: int, logs: Mapping[str, float]) -> None:
        if heard is not None:
            heard(epoch, logs["loss"], logs["val_loss"])

    history = fit(lesson, recipe, seed, ended).history
    losses, val_losses = ([float(v) for v in history[k]] for k in ("loss", "val_loss"))
    number, values = drawn
    return Tried(number=number, values=values, losses=losses, val_losses=val_losses)


def explore(space: Space, trials: int, seed: int, judge: Callable[[int, Values], float]) -> None:
    """Let Keras Tuner draw configurations, each once; the same ones in order for the same seed.

    Args:
        space: what is varied.
        trials: at most so many; a small space may hold fewer different ones.
        seed: of the draw.
        judge: from a trial's number, from 0, and its values to its loss. What it raises ends the
            search and is raised here.
    """
    import keras_tuner

    class Explorer(keras_tuner.Tuner):  # type: ignore[misc]
        def run_trial(self, trial: Any, *_: Any, **__: Any) -> dict[str, float]:
            try:
                loss = judge(int(trial.trial_id), dict(trial.hyperparameters.values))
            except Exception as error:  # the tuner would take it for a bad configuration
                raise keras_tuner.errors.FatalError from error
            return {OBJECTIVE: loss}

    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective(OBJECTIVE, "min"),
        max_trials=trials,
        seed=seed + 1,  # it takes 0 for none
        hyperparameters=_hyperparameters(keras_tuner.HyperParameters(), space),
        allow_new_entries=False,
        tune_new_entries=False,
    )
    oracle.verbose = 0
    with tempfile.TemporaryDirectory() as scratch:
        try:
            Explorer(oracle, directory=scratch, project_name="search").search()
        except keras_tuner.errors.FatalError as stop:
            raise (stop.__cause__ or stop) from None


def _hyperparameters(declared: Any, space: Space) -> Any:
    for field, dimension in space.items():
        if not isinstance(dimension, Between):
            declared.Choice(field, list(dimension.choices))
            continue
        sampling = "log" if dimension.log else "linear"
        low, high, step = dimension.low, dimension.high, dimension.step
        if is_whole(field):
            whole = {"step": int(step)} if step else {}
            declared.Int(field, int(low), int(high), sampling=sampling, **whole)
        else:
            declared.Float(field, low, high, step=step, sampling=sampling)
    return declared
