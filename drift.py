"""How far a recent sample has moved from a former one, and how far chance alone would move it.

Every threshold is a quantile of the same distance in a block bootstrap of the former sample, so
the rate of false alarms is chosen and not inherited from a library's defaults. Frames in, numbers
out; knows no ticker, no file, no Evidently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import wasserstein_distance

from contracts import BadPrices, DriftVerdict, FeatureDrift, FloatArray, NotEnoughHistory

FALSE_ALARMS = 0.05  # nominal share of checks that alarm though nothing changed
DEPENDENCE = 60  # rows over which volatility remembers; the longest block drawn as a whole
ERROR_DEPENDENCE = 20  # the ratio of two errors of one day forgets sooner than volatility
DRAWS = 1000
LEAST_ROWS = 20  # of either sample; a handful of rows differs from anything
LEAST_STANDSTILL = 2  # two equal mids in a row happen to any cheap share
METHOD = "wasserstein"  # Evidently's name: distance of the distributions / reference deviation
RETURN, STUCK, ERROR_RATIO = "return", "unchanged", "rmse_ratio"

FEATURES = [RETURN, "range"]
WORDS = {
    RETURN: "daily returns",
    "range": "daily ranges",
    STUCK: "days without movement",
    ERROR_RATIO: "error against the last close",
}

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Random samples of rows that keep neighbours together (moving blocks, Kuensch 1989)."""

    rows: int  # of the sample drawn from
    length: int  # consecutive rows per block

    def draw(self, rng: np.random.Generator, count: int) -> Positions:
        """Positions of `count` rows: whole blocks, the last one cut."""
        starts = rng.integers(0, self.rows - self.length + 1, -(-count // self.length))
        positions: Positions = (starts[:, None] + np.arange(self.length)).ravel()[:count]
        return positions


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What one check compares: rows with `date return range last_mid last_close prediction actual`
    in time order."""

    training: pd.DataFrame  # the champion's own training sessions
    held_out: pd.DataFrame  # its test sessions, as far as they are not recent
    recent: pd.DataFrame


def judge(samples: Samples, seed: int) -> tuple[FeatureDrift, ...]:
    """Every comparison of one check; the inputs and the error share FALSE_ALARMS evenly."""
    share = FALSE_ALARMS / 2
    return (
        *feature_drift(samples.training[FEATURES], samples.recent[FEATURES], share, seed),
        error_drift(samples.held_out, samples.recent, share, seed),
    )


def summarise(
    drift: Sequence[FeatureDrift], current_rows: int, quarantined: str | None = None
) -> str:
    """What moved, if anything, in plain words, and the chance of a false alarm; before that, why
    newer bars were refused, if they were."""
    if quarantined is not None:
        return (
            f"Feed quarantined: newer bars were refused ({quarantined}), so these are old ones. "
            f"{summarise(drift, current_rows)}"
        )
    chance = f"(about {FALSE_ALARMS:.0%} of checks alarm by chance)"
    moved = [WORDS.get(row.feature, row.feature) for row in drift if row.drifted]
    if not moved:
        return f"No drift: the last {current_rows} sessions look like the reference {chance}."
    return (
        f"Drift: over the last {current_rows} sessions {' and '.join(moved)} moved beyond what "
        f"chance explains {chance}."
    )


def as_table(verdict: DriftVerdict) -> str:
    """The verdict as people read it."""
    head = [
        f"{verdict.ticker}  model version {verdict.model_version}, {verdict.current_rows} sessions "
        f"through {verdict.as_of} against {verdict.reference_rows} of training",
        f"prices: {verdict.data_source}",
        "",
        f"{'what':30} {'distance':>9} {'threshold':>9}  verdict",
    ]
    rows = [
        f"{WORDS.get(row.feature, row.feature):30} {row.distance:9.3f} {row.threshold:9.3f}  "
        f"{'MOVED' if row.drifted else 'as before'}"
        for row in verdict.features
    ]
    tail = [
        "",
        f"one-step error over that of the last close: {verdict.rmse_ratio_reference:.2f} held out "
        f"then, {verdict.rmse_ratio_current:.2f} now",
        verdict.summary,
        f"reports: {', '.join(verdict.reports)}",
    ]
    return "\n".join([*head, *rows, *tail])


def distance(reference: FloatArray, current: FloatArray) -> float:
    """First Wasserstein distance in standard deviations of the reference, as Evidently has it."""
    unit = max(float(np.std(reference)), 0.001)
    return float(wasserstein_distance(reference, current)) / unit


def longest_standstill(returns: FloatArray) -> int:
    """Most consecutive returns of exactly zero: how long a feed may have been stuck."""
    longest = run = 0
    for still in np.asarray(returns) == 0:
        run = run + 1 if still else 0
        longest = max(longest, run)
    return longest


def feature_drift(
    reference: pd.DataFrame, current: pd.DataFrame, alpha: float, seed: int
) -> tuple[FeatureDrift, ...]:
    """Each column of `current` against the same of `reference`, and whether the feed stands still.

    Args:
        reference: n rows in time order, see `checked_frames`.
        current: m rows of the same columns.
        alpha: nominal probability that any entry is called drifted though both samples come
            from one process that remembers no longer than DEPENDENCE rows.
        seed: of the bootstrap; the same seed gives the same thresholds.

    Returns:
        One entry per column, then `unchanged` where there is a column `return`.

    Raises:
        NotEnoughHistory: fewer than LEAST_ROWS rows.
        BadPrices: NaN, infinity, or columns that differ.
    """
    reference, current = checked_frames(reference, current)
    names = list(reference.columns)
    measure = _measure(names.index(RETURN) if RETURN in names else None)
    then, now = reference.to_numpy(), current.to_numpy()
    found = measure(then, now)
    thresholds = joint_thresholds(_by_chance(then, len(now), measure, seed), alpha)
    if len(found) > len(names):
        names.append(STUCK)
        thresholds[-1] = max(thresholds[-1], LEAST_STANDSTILL)
    return tuple(
        FeatureDrift(
            feature=str(name),
            method="longest run of zero returns" if name == STUCK else METHOD,
            distance=float(value),
            threshold=float(limit),
            drifted=bool(value > limit),
        )
        for name, value, limit in zip(names, found, thresholds, strict=True)
    )


def _measure(returns: int | None) -> Callable[[FloatArray, FloatArray], list[float]]:
    """Distances of all columns of two matrices, then the standstill of column `returns`."""

    def of(reference: FloatArray, current: FloatArray) -> list[float]:
        values = [distance(then, now) for then, now in zip(reference.T, current.T, strict=True)]
        return values if returns is None else [*values, longest_standstill(current[:, returns])]

    return of


def _by_chance(
    sample: FloatArray,
    current_rows: int,
    measure: Callable[[FloatArray, FloatArray], list[float]],
    seed: int,
) -> FloatArray:
    """(DRAWS, entries): what `measure` says of two samples drawn from one. Both are drawn, since
    the reference is itself but one course that events could have taken."""
    rng = np.random.default_rng(seed)
    blocks = Blocks(len(sample), min(DEPENDENCE, current_rows, len(sample) // 4))
    return np.array(
        [
            measure(sample[blocks.draw(rng, len(sample))], sample[blocks.draw(rng, current_rows)])
            for _ in range(DRAWS)
        ]
    )


def joint_thresholds(chance: FloatArray, alpha: float) -> FloatArray:
    """Limits, one per column, that at most a share `alpha` of the rows passes anywhere.

    Every column gets the same level, the largest that keeps the joint share; columns that move
    together therefore cost less than Bonferroni's alpha / columns.

    Args:
        chance: shape (draws, columns), distances without drift.
        alpha: joint share, between 0 and 1.
    """
    tail = np.empty_like(chance)  # share of draws at least as large
    for column, values in enumerate(chance.T):
        tail[:, column] = 1 - np.searchsorted(np.sort(values), values, side="left") / len(values)
    level = np.quantile(tail.min(axis=1), alpha, method="lower")
    return np.asarray(np.quantile(chance, 1 - level, axis=0, method="higher"))


def error_ratio(rows: pd.DataFrame) -> float:
    """One-step RMSE of the model over that of repeating the last close, both in price units.

    Args:
        rows: columns `prediction last_close actual`, prices.
    """
    return _ratio(_squares(rows))


def _squares(rows: pd.DataFrame) -> FloatArray:
    """(n, 2) squared errors: the model's, the last close's.

    A millionth of the price is the least error, so that a feed that stands still gives a huge
    but finite ratio.
    """
    actual = rows["actual"].to_numpy(dtype=float)
    errors = rows[["prediction", "last_close"]].to_numpy(dtype=float) - actual[:, None]
    return np.asarray(np.maximum(np.square(errors), np.square(1e-6 * actual)[:, None]))


def _ratio(squares: FloatArray) -> float:
    ours, baseline = squares.mean(axis=0)
    return float(np.sqrt(ours / baseline))


def error_drift(
    reference: pd.DataFrame, current: pd.DataFrame, alpha: float, seed: int
) -> FeatureDrift:
    """Has the model worsened against the last close? `distance` is now's ratio over then's.

    Args:
        reference: held-out rows as `error_ratio` takes them, in time order.
        current: recent rows of the same.
        alpha: nominal probability of a false alarm, one-sided.
        seed: of the bootstrap.

    Raises:
        NotEnoughHistory, BadPrices: as `feature_drift`.
    """
    columns = ["prediction", "last_close", "actual"]
    checked_frames(reference[columns], current[columns])
    rng, squares = np.random.default_rng(seed), _squares(reference)
    blocks = Blocks(len(squares), min(ERROR_DEPENDENCE, len(current), len(squares) // 4))
    chance = [
        _ratio(squares[blocks.draw(rng, len(current))])
        / _ratio(squares[blocks.draw(rng, len(squares))])
        for _ in range(DRAWS)
    ]
    limit = float(np.quantile(chance, 1 - alpha, method="higher"))
    worsening = error_ratio(current) / error_ratio(reference)
    return FeatureDrift(
        feature=ERROR_RATIO,
        method="RMSE over the last close's, now over then",
        distance=worsening,
        threshold=limit,
        drifted=worsening > limit,
    )


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
