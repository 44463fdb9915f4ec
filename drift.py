"""Two samples of anything compared once, and how far chance alone would move the second.

Every threshold is a quantile of the same distance in a block bootstrap of the former sample, so
the rate of false alarms is chosen and not inherited from a library's defaults. Frames in, numbers
out; knows no ticker, no file, no Evidently. What is watched day by day is `watching`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from contracts import BadPrices, FeatureDrift, FloatArray, NotEnoughHistory
from watching.calibration import Blocks, joint_thresholds
from watching.distances import distance
from watching.measures import run_lengths

FALSE_ALARMS = 0.05  # nominal share of comparisons that find drift though nothing changed
DEPENDENCE = 60  # rows over which volatility remembers; the longest block drawn as a whole
DRAWS = 1000
LEAST_ROWS = 20  # of either sample; a handful of rows differs from anything
LEAST_STANDSTILL = 2  # two equal mids in a row happen to any cheap share
METHOD = "wasserstein"  # Evidently's name: distance of the distributions / reference deviation
RETURN, STUCK = "return", "unchanged"

Measure = Callable[[FloatArray, FloatArray], list[float]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Each column of a sample against the same of another."""

    features: tuple[FeatureDrift, ...]
    false_alarms: float  # share of draws, others than the thresholds', in which any is passed
    draws: int


def longest_standstill(returns: FloatArray) -> int:
    """Most consecutive returns of exactly zero: how long a feed may have been stuck."""
    runs = run_lengths(np.asarray(returns) == 0)
    return int(runs.max()) if len(runs) else 0


def compare(reference: pd.DataFrame, current: pd.DataFrame, alpha: float, seed: int) -> Comparison:
    """Each column of `current` against the same of `reference`, and whether the feed stands still.

    Args:
        reference: n rows in time order, see `checked_frames`.
        current: m rows of the same columns.
        alpha: nominal probability that any entry is called drifted though both samples come
            from one process that remembers no longer than DEPENDENCE rows.
        seed: of the bootstrap; the same seed gives the same thresholds.

    Returns:
        One entry per column, then `unchanged` where there is a column `return`; and the rate of
        false alarms of these thresholds in other draws.

    Raises:
        NotEnoughHistory: fewer than LEAST_ROWS rows.
        BadPrices: NaN, infinity, or columns that differ.
    """
    reference, current = checked_frames(reference, current)
    names = [str(name) for name in reference]
    measure = _measure(names.index(RETURN) if RETURN in names else None)
    then, now = reference.to_numpy(), current.to_numpy()
    found = measure(then, now)
    first, second = (_by_chance(then, len(now), measure, (seed, part)) for part in (0, 1))
    thresholds = joint_thresholds(first, alpha, np.ones(len(found)))
    if len(found) > len(names):
        names.append(STUCK)
        thresholds[-1] = max(thresholds[-1], LEAST_STANDSTILL)
    entries = tuple(
        FeatureDrift(
            feature=name,
            method="longest run of zero returns" if name == STUCK else METHOD,
            distance=float(value),
            threshold=float(limit),
            drifted=bool(value > limit),
        )
        for name, value, limit in zip(names, found, thresholds, strict=True)
    )
    return Comparison(entries, float((second > thresholds).any(axis=1).mean()), len(second))


def _measure(returns: int | None) -> Measure:
    """Distances of all columns of two matrices, then the standstill of column `returns`."""

    def of(reference: FloatArray, current: FloatArray) -> list[float]:
        values = [distance(then, now) for then, now in zip(reference.T, current.T, strict=True)]
        return values if returns is None else [*values, longest_standstill(current[:, returns])]

    return of


def _by_chance(
    sample: FloatArray, current_rows: int, measure: Measure, seed: tuple[int, int]
) -> FloatArray:
    """(DRAWS, entries): what `measure` says of two samples drawn from one. Both are drawn, since
    the reference is itself but one course that events could have taken."""
    rng = np.random.default_rng(seed)
    blocks = Blocks(len(sample), min(DEPENDENCE, current_rows, len(sample) // 4))
    then = blocks.draw(rng, DRAWS, len(sample))
    now = blocks.draw(rng, DRAWS, current_rows)
    pairs = zip(then, now, strict=True)
    return np.array([measure(sample[former], sample[recent]) for former, recent in pairs])


def error_ratio(rows: pd.DataFrame) -> float:
    """One-step RMSE of the model over that of repeating the last close, both in price units.

    A millionth of the price is the least error, so that a feed that stands still gives a huge
    but finite ratio.

    Args:
        rows: columns `prediction last_close actual`, prices.
    """
    actual = rows["actual"].to_numpy(dtype=float)
    errors = rows[["prediction", "last_close"]].to_numpy(dtype=float) - actual[:, None]
    squares = np.maximum(np.square(errors), np.square(1e-6 * actual)[:, None])
    ours, baseline = squares.mean(axis=0)
    return float(np.sqrt(ours / baseline))


def checked_frames(reference: object, current: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both samples as frames of finite numbers with the same columns, rows in time order.

    Args:
        reference: a frame, of which the numeric columns count, or an array of shape (n,) or
            (n, columns), named `value` or `x0 x1 ...`.
        current: the same with m rows.

    Raises:
        NotEnoughHistory: fewer than LEAST_ROWS rows.
        BadPrices: NaN, infinity, or columns that differ.
    """
    former, recent = as_frame(reference), as_frame(current)
    for name, frame in (("reference", former), ("current", recent)):
        if len(frame) < LEAST_ROWS:
            raise NotEnoughHistory(have=len(frame), need=LEAST_ROWS, what=f"{name} rows")
        bad = [str(c) for c in frame if not np.isfinite(frame[c].to_numpy()).all()]
        if bad:
            raise BadPrices(f"the {name} sample holds NaN or infinity in {', '.join(bad)}")
    if list(former.columns) != list(recent.columns) or former.columns.empty:
        raise BadPrices("both samples must have the same numeric columns, at least one")
    return former, recent


def as_frame(sample: object) -> pd.DataFrame:
    """A frame's numeric columns, or an array's, as floats; see `checked_frames`."""
    if isinstance(sample, pd.DataFrame):
        return sample.select_dtypes("number").astype(float).reset_index(drop=True)
    values = np.asarray(sample, dtype=float)
    if values.ndim == 1:
        return pd.DataFrame({"value": values})
    if values.ndim != 2:
        raise BadPrices(f"a sample has one or two dimensions, not {values.ndim}")
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(values.shape[1])])


def sequence_columns(x: object) -> pd.DataFrame:
    """Network inputs as columns that do not depend on the price level.

    Args:
        x: shape (n, steps, features): per feature its newest change (`change0`) and the spread
            between its largest and smallest step (`spread0`). Anything flatter is `as_frame`d.

    Raises:
        NotEnoughHistory: fewer than two steps.
    """
    values = x if isinstance(x, pd.DataFrame) else np.asarray(x, dtype=float)
    if isinstance(values, pd.DataFrame) or values.ndim != 3:
        return as_frame(values)
    if values.shape[1] < 2:
        raise NotEnoughHistory(have=values.shape[1], need=2, what="steps per sequence")
    columns = {}
    for feature in range(values.shape[2]):
        steps = values[:, :, feature]
        columns[f"change{feature}"] = steps[:, -1] - steps[:, -2]
        columns[f"spread{feature}"] = steps.max(axis=1) - steps.min(axis=1)
    return pd.DataFrame(columns)
