"""Thresholds that chance alone passes in few months, and how many those are, by a block bootstrap.

The null: the sessions to come are drawn from the process that made the reference, volatility
clusters included. Whole stretches of the reference (moving blocks, Kuensch 1989) are put together
to years of sessions and to other references; the complete procedure, from overlapping windows
and sessions in a row to the cool-down, is run over them. Its weakness: a level that the
reference never saw counts as a change, though next year's market may simply be another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from contracts import FloatArray, NotEnoughHistory
from watching.distances import many_distances, ratios
from watching.episodes import CONSECUTIVE, raised, ranks
from watching.measures import (
    BASELINE,
    ERROR_RATIO,
    FEED,
    INPUTS,
    JUMP,
    LONGEST,
    MODEL,
    OWN,
    REPEATED,
    UNCHANGED,
    Watched,
)

FALSE_ALARMS = 0.05  # of months, at most
MONTH, MONTHS = 21, 12  # sessions of a month; months of a drawn path
PATHS = 100
BLOCK = 60  # sessions that keep their neighbours: three windows of ranges
ERROR_BLOCK = 20  # errors in units of volatility forget sooner, and fewer of them are at hand
LEAST_ROWS = 40  # of a reference; a handful of rows differs from anything
WARM_UP = 60  # first rows of a reference, without a history behind their units
# Tried until the rate is met. They start at less than half of FALSE_ALARMS: the extremes of a few
# years are soon surpassed by the next ones (docs/DRIFT.md has the rates out of sample).
LEVELS = (0.02, 0.016, 0.012, 0.008, 0.004, 0.002)
MODELS_SHARE = 0.1  # of the false alarms: its errors, on rows that it has not seen
LEAST_JUMP = float(np.log(5.0))  # shares have risen fourfold in a day; units differ by 10 or 100

Positions = npt.NDArray[np.intp]
Paths = Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class References:
    """Measured sessions that the newest are compared with, see `measures`."""

    training: pd.DataFrame
    unseen: pd.DataFrame  # by the model when it was fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What one reference allows."""

    thresholds: Mapping[str, float]
    false_alarms: float  # share of drawn months in which the whole procedure raises an alarm
    months: int  # drawn for that, others than those the thresholds come from


@dataclass(frozen=True, slots=True)
class Blocks:
    """Random samples of rows that keep neighbours together."""

    rows: int  # of the sample drawn from
    length: int  # consecutive rows per block

    def draw(self, rng: np.random.Generator, paths: int, count: int) -> Positions:
        """(paths, count) positions: whole blocks, the last one cut."""
        starts = rng.integers(0, self.rows - self.length + 1, (paths, -(-count // self.length)))
        drawn: Positions = (starts[..., None] + np.arange(self.length)).reshape(paths, -1)
        return drawn[:, :count]


def calibrate(references: References, seed: int) -> Calibrated:
    """Thresholds for every feature of the references, and the rate of false alarms they give.

    Raises:
        NotEnoughHistory: fewer than LEAST_ROWS rows of either kind.
    """
    for name, rows in (("training", references.training), ("unseen", references.unseen)):
        if len(rows) < LEAST_ROWS:
            raise NotEnoughHistory(have=len(rows), need=LEAST_ROWS, what=f"{name} reference rows")
    first, second = (drawn(references, np.random.default_rng([seed, draw])) for draw in (0, 1))
    limits, rate = {}, 1.0
    for level in LEVELS:
        limits = feed_limits(references.training) | {
            **thresholds(first, INPUTS, level * (1 - MODELS_SHARE)),
            **thresholds(first, MODEL, level * MODELS_SHARE),
        }
        rate = false_alarm_rate(second, limits)
        if rate <= FALSE_ALARMS:
            break
    return Calibrated(thresholds=limits, false_alarms=rate, months=PATHS * MONTHS)


def drawn(references: References, rng: np.random.Generator) -> Paths:
    """Every feature's distance at every session of many drawn years: name -> (PATHS, sessions)."""
    return {
        **_drawn_inputs(references.training, rng),
        **_drawn_model(references.unseen, rng),
    }


def _drawn_inputs(rows: pd.DataFrame, rng: np.random.Generator) -> Paths:
    path, other = _positions(Blocks(len(rows), min(BLOCK, len(rows) // 4)), rng)
    paths = {
        name: many_distances(
            rows[name].to_numpy()[path[:, LONGEST - entry.window :]],
            rows[name].to_numpy()[other],
            entry.window,
        )
        for name, entry in INPUTS.items()
        if name in rows
    }
    return paths | {name: rows[name].to_numpy()[path[:, LONGEST - 1 :]] for name in FEED}


def _drawn_model(rows: pd.DataFrame, rng: np.random.Generator) -> Paths:
    path, other = _positions(Blocks(len(rows), min(ERROR_BLOCK, len(rows) // 4)), rng)
    own, baseline = rows[OWN].to_numpy(), rows[BASELINE].to_numpy()
    then = np.sqrt(own[other].sum(axis=1) / baseline[other].sum(axis=1))
    return {ERROR_RATIO: ratios(own[path], baseline[path], then, MODEL[ERROR_RATIO].window)}


def _positions(blocks: Blocks, rng: np.random.Generator) -> tuple[Positions, Positions]:
    """Rows of PATHS years with the windows before them, and of as many references: the reference
    is itself but one course that events could have taken."""
    sessions = LONGEST - 1 + CONSECUTIVE - 1 + MONTH * MONTHS
    return blocks.draw(rng, PATHS, sessions), blocks.draw(rng, PATHS, blocks.rows)


def thresholds(paths: Paths, group: Mapping[str, Watched], alpha: float) -> dict[str, float]:
    """Limits that at most a share `alpha` of the months passes CONSECUTIVE times running.

    The features of a group share `alpha` by their weights; those that move together cost less
    than it would take were they independent.
    """
    names = [name for name in group if name in paths]
    monthly = np.stack([_worst_of_months(paths[name]) for name in names], axis=1)
    weights = np.array([group[name].weight for name in names])
    found = joint_thresholds(monthly, alpha, weights)
    return dict(zip(names, found.tolist(), strict=True))


def _worst_of_months(path: FloatArray) -> FloatArray:
    """(paths, sessions) -> (paths * months,): what CONSECUTIVE sessions all reach, at most."""
    view = np.lib.stride_tricks.sliding_window_view(path, CONSECUTIVE, axis=1)
    lasting = view.min(axis=-1)
    return np.asarray(lasting.reshape(len(path), -1, MONTH).max(axis=-1).ravel())


def joint_thresholds(chance: FloatArray, alpha: float, weights: FloatArray) -> FloatArray:
    """Limits, one per column, that at most a share `alpha` of the rows passes anywhere.

    Args:
        chance: (draws, columns), distances without drift.
        alpha: joint share, between 0 and 1.
        weights: (columns,), how the shares of single columns relate.
    """
    tail = np.empty_like(chance)  # share of draws at least as large, in units of the weight
    for column, values in enumerate(chance.T):
        tail[:, column] = 1 - np.searchsorted(np.sort(values), values, side="left") / len(values)
    level = np.quantile((tail / weights).min(axis=1), alpha, method="lower")
    shares = np.minimum(level * weights, 1.0)
    pairs = zip(chance.T, shares, strict=True)
    return np.array([np.quantile(values, 1 - share, method="higher") for values, share in pairs])


def feed_limits(training: pd.DataFrame) -> dict[str, float]:
    """What no session of the reference did: longer runs than its longest, a larger leap."""
    most = training[list(FEED)].max()
    return {
        UNCHANGED: max(2.0, float(most[UNCHANGED])) + 0.5,  # two equal mids happen to any share
        REPEATED: float(most[REPEATED]) + 0.5,
        JUMP: max(LEAST_JUMP, 1.5 * float(most[JUMP])),
    }


def false_alarm_rate(paths: Paths, limits: Mapping[str, float]) -> float:
    """Share of months of the drawn paths in which the complete procedure raises an alarm."""
    moved = {name: path > limits[name] for name, path in paths.items()}
    new = raised(ranks(moved))[:, CONSECUTIVE - 1 :]
    return float(new.reshape(len(new), -1, MONTH).any(axis=-1).mean())
