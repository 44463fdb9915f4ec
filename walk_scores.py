"""The walk-forward table of a bundle: every model's scores step by step at the same past origins.

Knows prices and fans of quantiles, not how a forecast is made, no file and no ticker.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

import metrics
from bands import LEVELS, OF_BAND
from contracts import FloatArray, Reliability, StepScore, Verdict, WalkForward
from forecasters import Fan, Series
from referee import BASELINE

OWN = "lstm"
STEPS_SHOWN = (1, 5, 10, 20, 30)
PLACE = {level: column for column, level in enumerate(LEVELS)}
INNER = slice(1, -1)  # columns of LEVELS that are metrics.QUANTILES


def walk_scores(series: Series, origins: np.ndarray, fans: Mapping[str, Fan]) -> WalkForward:
    """The table of several models, among them OWN and BASELINE.

    Args:
        series: the prices.
        origins: shape (n,), ascending positions with an outcome at each step.
        fans: n rows of as many steps as the last of STEPS_SHOWN, made of what was known at each.
    """
    asked = {
        step: {name: _at(series, origins, fan, step) for name, fan in fans.items()}
        for step in STEPS_SHOWN
    }
    days = pd.DatetimeIndex(series.days[origins])
    return WalkForward(
        baseline=BASELINE,
        first_origin=days[0].date(),
        last_origin=days[-1].date(),
        origins=len(origins),
        steps=STEPS_SHOWN,
        scores=tuple(
            _score(name, step, answers) for step, answers in asked.items() for name in answers
        ),
        reliability=tuple(_reliability(step, answers[OWN]) for step, answers in asked.items()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """What one model said of one step at each origin, and what came: every array has n rows."""

    last: FloatArray
    actual: FloatArray
    point: FloatArray
    quantiles: FloatArray  # (n, len(LEVELS))

    @property
    def squared(self) -> FloatArray:
        return np.asarray(np.square(self.point - self.actual))

    @property
    def losses(self) -> FloatArray:
        """CRPS of each row, in price units."""
        levels = np.array(metrics.QUANTILES)
        return metrics.crps(self.actual, self.quantiles[:, INNER], levels)

    def covered(self, name: str) -> float:
        """Share of outcomes inside one band, which always holds its own forecast."""
        low, high = (self.quantiles[:, PLACE[level]] for level in OF_BAND[name])
        lower, upper = np.minimum(low, self.point), np.maximum(high, self.point)
        return metrics.coverage(self.actual, lower, upper)


def _at(series: Series, origins: np.ndarray, fan: Fan, step: int) -> _Answers:
    return _Answers(
        last=series.mids[origins],
        actual=series.mids[origins + step],
        point=fan.point[:, step - 1],
        quantiles=fan.quantiles[:, step - 1],
    )


def _score(name: str, step: int, answers: Mapping[str, _Answers]) -> StepScore:
    own, baseline = answers[name], answers[BASELINE]
    points = _against(own.squared, baseline.squared, step)
    # relative to the price, so that a rising series does not weigh its end more
    bands = _against(own.losses / own.last, baseline.losses / own.last, step)
    direction = metrics.direction_accuracy(own.last, own.actual, own.point)
    itself = name == BASELINE
    return StepScore(
        model=name,
        step=step,
        rmse=metrics.rmse(own.actual, own.point),
        mae=metrics.mae(own.actual, own.point),
        direction_accuracy=None if math.isnan(direction) else direction,
        crps=float(own.losses.mean()),
        coverage_80=own.covered("80"),
        coverage_95=own.covered("95"),
        rmse_ratio=math.sqrt(points[0]),
        p_value=points[1],
        verdict=None if itself else _verdict(points),
        crps_ratio=bands[0],
        crps_p_value=bands[1],
        crps_verdict=None if itself else _verdict(bands),
    )


def _against(loss: FloatArray, baseline: FloatArray, step: int) -> tuple[float, float]:
    """Mean loss over the baseline's, and the p-value that both lose the same."""
    ours, theirs = float(loss.mean()), float(baseline.mean())
    ratio = ours / theirs if theirs else (1.0 if ours == 0 else 1e9)
    return ratio, metrics.equal_accuracy(loss, baseline, step)


def _verdict(found: tuple[float, float]) -> Verdict:
    return metrics.verdict(*found)


def _reliability(step: int, own: _Answers) -> Reliability:
    below = (own.actual[:, None] <= own.quantiles).mean(axis=0)
    return Reliability(step=step, nominal=LEVELS, observed=tuple(float(v) for v in below))
