"""The referee: same origins, same steps, same prices for every forecaster.

Knows forecasts and what happened, not how a forecast is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import metrics
from contracts import Calibration, FloatArray, NotEnoughHistory, Skill
from features import normalise

BASELINE = "last_close"
MIN_JUDGED = 30  # rows under which no comparison is made


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRows:
    """One-step forecasts of several models on the same held-out rows, in prices.

    Every array has shape (n,). `lo` and `hi` are each row's MinMax, for the normalised scale.
    """

    last_mid: FloatArray
    last_close: FloatArray
    actual: FloatArray
    lo: FloatArray
    hi: FloatArray
    forecasts: Mapping[str, FloatArray]

    def error(self, model: str) -> FloatArray:
        """Forecast minus outcome of one model, shape (n,), in price units."""
        return np.asarray(self.forecasts[model] - self.actual)

    def only(self, chosen: np.ndarray, further: Mapping[str, FloatArray]) -> JudgedRows:
        """The rows where `chosen` (n,) is true, with further models' forecasts beside."""
        forecasts = {**self.forecasts, **further}
        return JudgedRows(
            last_mid=self.last_mid[chosen],
            last_close=self.last_close[chosen],
            actual=self.actual[chosen],
            lo=self.lo[chosen],
            hi=self.hi[chosen],
            forecasts={name: values[chosen] for name, values in forecasts.items()},
        )


def score_one_step(rows: JudgedRows) -> dict[str, dict[str, float | None]]:
    """Every metric of every model: in price units, and `normalised_*` on the MinMax scale."""
    return {model: _scores(rows, forecast) for model, forecast in rows.forecasts.items()}


def _scores(rows: JudgedRows, forecast: FloatArray) -> dict[str, float | None]:
    scaled_actual = normalise(rows.actual, rows.lo, rows.hi)
    scaled = normalise(forecast, rows.lo, rows.hi)
    found = {
        "mse": metrics.mse(rows.actual, forecast),
        "mae": metrics.mae(rows.actual, forecast),
        "rmse": metrics.rmse(rows.actual, forecast),
        "normalised_mse": metrics.mse(scaled_actual, scaled),
        "normalised_mae": metrics.mae(scaled_actual, scaled),
        "normalised_rmse": metrics.rmse(scaled_actual, scaled),
        "direction_accuracy": metrics.direction_accuracy(rows.last_mid, rows.actual, forecast),
        "direction_accuracy_spec": metrics.direction_accuracy_spec(rows.actual, forecast),
        "rmse_ratio": metrics.rmse(rows.actual, forecast)
        / metrics.rmse(rows.actual, rows.forecasts[BASELINE]),
    }
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def judge(rows: JudgedRows, model: str) -> Skill:
    """How one model did against repeating the last close.

    Raises:
        NotEnoughHistory: fewer than MIN_JUDGED rows.
    """
    if len(rows.actual) < MIN_JUDGED:
        raise NotEnoughHistory(have=len(rows.actual), need=MIN_JUDGED, what="held-out sessions")
    p_value = metrics.diebold_mariano(rows.error(model), rows.error(BASELINE))
    ratio = _ratio(rows.error(model), rows.error(BASELINE))
    direction = metrics.direction_accuracy(rows.last_mid, rows.actual, rows.forecasts[model])
    return Skill(
        baseline=BASELINE,
        rmse_ratio=ratio,
        direction_accuracy=0.0 if math.isnan(direction) else direction,
        p_value=p_value,
        verdict=metrics.verdict(ratio, p_value),
    )


def _ratio(errors: FloatArray, baseline_errors: FloatArray) -> float:
    """Root mean squares divided; 1 where both are zero (a price that never moves)."""
    ours, theirs = (float(np.sqrt(np.mean(side**2))) for side in (errors, baseline_errors))
    return ours / theirs if theirs else (1.0 if ours == 0 else 1e9)


def calibrate(
    mids: FloatArray, origins: np.ndarray, paths: FloatArray, levels: tuple[str, ...]
) -> Calibration:
    """Band half-widths per step from held-out recursive forecasts.

    Args:
        mids: shape (T,), the whole series; only positions after an origin are outcomes.
        origins: shape (n,), positions the forecasts were made at.
        paths: shape (n, steps), forecast mids of origin + 1, origin + 2, ...
        levels: per cent, such as ("80", "95").

    Returns:
        Per level one width per step: the finite-sample quantile of |log(actual / forecast)|,
        made non-decreasing in the step; None where too few outcomes are known.
    """
    widths: dict[str, list[float | None]] = {level: [] for level in levels}
    for step in range(1, paths.shape[1] + 1):
        known = origins + step < len(mids)
        forecast = paths[known, step - 1]
        # a path that left the positive prices is wrong by any width
        with np.errstate(divide="ignore", invalid="ignore"):
            score = np.abs(np.log(mids[origins[known] + step] / forecast))
        score = np.where(forecast > 0, score, np.inf)
        for level in levels:
            widths[level].append(metrics.conformal_width(score, float(level) / 100))
    return Calibration(
        origins=len(origins), widths={level: _growing(rows) for level, rows in widths.items()}
    )


def _growing(widths: list[float | None]) -> tuple[float | None, ...]:
    """A later step is never surer than an earlier one; unknown stays unknown from there on."""
    grown: list[float | None] = []
    for width in widths:
        before = grown[-1] if grown else 0.0
        grown.append(None if width is None or before is None else max(width, before))
    return tuple(grown)


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether a new version becomes champion, and why."""

    promoted: bool
    reason: str


def gate(rows: JudgedRows, champion: str | None) -> Ruling:
    """Decide between `lstm` and the present champion on rows that neither was fitted on.

    A first champion is always published. A later version must not be significantly worse than
    the last close and must not err more than the champion on the same rows; where the champion
    itself is significantly worse than the last close, the second is enough.

    Args:
        rows: forecasts named `lstm`, BASELINE and, if there is one, the champion's.
        champion: the champion's name in `rows.forecasts`; None for none.
    """
    if champion is None:
        return Ruling(True, "first champion")
    if len(rows.actual) < MIN_JUDGED:
        return Ruling(False, f"only {len(rows.actual)} sessions that neither model was fitted on")
    new, old = judge(rows, "lstm"), judge(rows, champion)
    against = (
        f"RMSE {new.rmse_ratio:.4f} of last_close's against the champion's {old.rmse_ratio:.4f}"
    )
    if new.rmse_ratio > old.rmse_ratio:
        return Ruling(False, f"worse than the champion: {against}")
    if new.verdict == "worse than the last price" and old.verdict != new.verdict:
        return Ruling(False, f"significantly worse than the last price: {against}")
    return Ruling(True, f"not worse than the champion: {against}")
