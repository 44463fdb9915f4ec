"""The referee: same origins, same steps, same prices for every forecaster.

Knows forecasts and what happened, not how a forecast is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import metrics
from contracts import FloatArray, NotEnoughHistory, Skill
from features import normalise

BASELINE = "last_close"
MIN_JUDGED = 30  # rows under which no comparison is made
NOISE = 1.001  # ratio of two models' errors within which neither is called worse
STEPS = 30  # that a CRPS is the mean of


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


@dataclass(frozen=True, slots=True, eq=False)
class JudgedFans:
    """Mean CRPS over steps 1 to STEPS, relative to the last mid, of several models.

    `origins` (n,) are consecutive positions; each array of `losses` has the shape (n,).
    """

    origins: np.ndarray
    losses: Mapping[str, FloatArray]

    def only(self, chosen: np.ndarray, further: Mapping[str, FloatArray]) -> JudgedFans:
        """The origins where `chosen` (n,) is true; `further` holds values for just those."""
        kept = {name: values[chosen] for name, values in self.losses.items()}
        return JudgedFans(self.origins[chosen], {**kept, **further})

    def ratio(self, model: str, baseline: str) -> float:
        """One model's mean loss over another's; 1 where both lose nothing."""
        return _over(float(self.losses[model].mean()), float(self.losses[baseline].mean()))

    def p_value(self, model: str, baseline: str) -> float:
        """Two-sided p-value that both lose the same; neighbours share STEPS - 1 days."""
        return metrics.equal_accuracy(self.losses[model], self.losses[baseline], STEPS)


def fan_losses(mids: FloatArray, origins: np.ndarray, quantiles: FloatArray) -> FloatArray:
    """Mean CRPS over the steps, relative to the last mid: shape (n,).

    Args:
        mids: shape (T,), the whole series.
        origins: shape (n,), positions with an outcome at each step.
        quantiles: shape (n, H, Q), prices at metrics.QUANTILES.
    """
    levels = np.array(metrics.QUANTILES)
    by_step = [
        metrics.crps(mids[origins + step + 1], quantiles[:, step], levels)
        for step in range(quantiles.shape[1])
    ]
    return np.asarray(np.mean(by_step, axis=0) / mids[origins])


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


def judge(rows: JudgedRows, model: str, fans: JudgedFans | None = None) -> Skill:
    """How one model did against repeating the last close.

    Args:
        rows: one step ahead.
        model: its name in both.
        fans: up to STEPS ahead; None where too few origins were left to judge bands on.

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
        crps_ratio=fans.ratio(model, BASELINE) if fans else None,
        crps_p_value=fans.p_value(model, BASELINE) if fans else None,
    )


def _ratio(errors: FloatArray, baseline_errors: FloatArray) -> float:
    """Root mean squares divided; 1 where both are zero (a price that never moves)."""
    ours, theirs = (float(np.sqrt(np.mean(side**2))) for side in (errors, baseline_errors))
    return _over(ours, theirs)


def _over(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else (1.0 if ours == 0 else 1e9)


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether a new version becomes champion, and why."""

    promoted: bool
    reason: str


def gate(rows: JudgedRows, champion: str | None, fans: JudgedFans | None = None) -> Ruling:
    """Decide between `lstm` and the present champion on rows that neither was fitted on.

    A first champion is always published. A later version must not be significantly worse than
    the last close, in points (squared error one step ahead) and in bands (CRPS), and not worse
    than the champion on the same rows by more than NOISE; where the champion itself is
    significantly worse than the last close, the second is enough.

    Args:
        rows: forecasts named `lstm`, BASELINE and, if there is one, the champion's.
        champion: the champion's name in `rows.forecasts`; None for none.
        fans: losses by the same names; None where there are too few to judge bands by.
    """
    if champion is None:
        return Ruling(True, "first champion")
    if len(rows.actual) < MIN_JUDGED:
        return Ruling(False, f"only {len(rows.actual)} sessions that neither model was fitted on")
    if fans is not None and len(fans.origins) < MIN_JUDGED:
        fans = None
    new, old = judge(rows, "lstm", fans), judge(rows, champion, fans)
    against = (
        f"RMSE {new.rmse_ratio:.4f} of last_close's against the champion's {old.rmse_ratio:.4f}"
    )
    if new.crps_ratio is not None:
        against += f", CRPS {new.crps_ratio:.4f} against {old.crps_ratio:.4f}"
    if _worse(new.rmse_ratio, old.rmse_ratio) or _worse(new.crps_ratio, old.crps_ratio):
        return Ruling(False, f"worse than the champion: {against}")
    if _behind(new) and not _behind(old):
        return Ruling(False, f"significantly worse than the last price: {against}")
    return Ruling(True, f"not worse than the champion: {against}")


def _worse(new: float | None, old: float | None) -> bool:
    return new is not None and old is not None and new > old * NOISE


def _behind(skill: Skill) -> bool:
    """Significantly worse than repeating the last close, in points or in bands."""
    ratio, p_value = skill.crps_ratio, skill.crps_p_value
    lost = ratio is not None and ratio > 1
    bands = lost and p_value is not None and p_value < metrics.SIGNIFICANCE
    return bands or skill.verdict == "worse than the last price"
