"""Several tickers' trainings as one pure task: their networks are fitted as one graph.

Knows no MLflow, no store, no settings; each ticker is judged and exported as by itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batched_fitting import fit_many
from bundling import Assignment, Clock, Trained, finished, taught
from contracts import ForecastingError
from evaluation import Prepared
from fitting import Fitted, Lesson


@dataclass(frozen=True, slots=True, eq=False)
class _Pupil:
    """One ticker of the group."""

    assignment: Assignment
    data: Prepared
    lesson: Lesson
    scratch: Path


def train_group(_: str, assignments: Sequence[Assignment]) -> list[Trained | ForecastingError]:
    """Fit together, export and judge each: what `bundling.train_ticker` gives, in their order.

    A ticker that cannot be trained costs only itself.

    Args:
        _: the task's name, which decides nothing.
        assignments: all of one recipe and seed.
    """
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        begun = [_begun(a, Path(folder) / str(n)) for n, a in enumerate(assignments)]
        pupils = [one for one in begun if isinstance(one, _Pupil)]
        first = assignments[0]
        fits = iter(fit_many([one.lesson for one in pupils], first.recipe, first.seed))
        return [_ended(one, next(fits), clock) if isinstance(one, _Pupil) else one for one in begun]


def _begun(assignment: Assignment, scratch: Path) -> _Pupil | ForecastingError:
    scratch.mkdir()
    try:
        data, lesson = taught(assignment, scratch)
    except ForecastingError as error:
        return error
    return _Pupil(assignment, data, lesson, scratch)


def _ended(
    pupil: _Pupil, fitted: Fitted | ForecastingError, clock: Clock
) -> Trained | ForecastingError:
    if isinstance(fitted, ForecastingError):
        return fitted
    losses = (fitted.history[name] for name in ("loss", "val_loss"))
    epochs = [(float(loss), float(held)) for loss, held in zip(*losses, strict=True)]
    try:
        return finished(pupil.assignment, pupil.data, fitted, pupil.scratch, (clock, epochs))
    except ForecastingError as error:
        return error
