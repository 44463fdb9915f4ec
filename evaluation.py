"""One training's data and its judgement: prepare, hold against the baselines, rule.

Knows neither how the network was fitted nor where runs are tracked.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

import baseline_arima
from bands import (
    LEAST_ERRORS,
    Outlook,
    Pool,
    calibrate,
    errors_of,
    known_quantiles,
    templates,
)
from config import Settings
from contracts import (
    Calibration,
    ExportMismatch,
    FloatArray,
    ModelCard,
    Prices,
    Span,
    WalkForward,
)
from data_pipeline import training_bars, training_scale
from features import (
    Scale,
    Sequences,
    Split,
    mid_price,
    split_rows,
    trailing_scale,
)
from fitting import Parts
from forecasters import Fan, Series, arima, last_close, last_mid
from inference import TrainedModel
from recipes import Recipe
from referee import (
    BASELINE,
    MIN_JUDGED,
    STEPS,
    JudgedFans,
    JudgedRows,
    fan_losses,
    score_one_step,
)
from walk_scores import walk_scores

log = logging.getLogger(__name__)

PARITY = 1e-4  # largest |ONNX - Keras| on the normalised scale that is saved
RUINED = 1e6  # the relative loss of bands that are no numbers
CALIBRATED_STEPS = 90  # as far as a forecast may reach


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What one training uses: bars from the start date on, and their sequences by part."""

    prices: Prices
    bars: pd.DataFrame
    mids: FloatArray
    rows: Sequences
    split: Split

    def dates(self, part: slice) -> np.ndarray:
        """Target sessions of one part of the split."""
        return np.asarray(self.bars["Date"].to_numpy()[self.rows.last[part] + 1])

    @property
    def first_test(self) -> date:
        """The session that the first test row is forecast from."""
        last = int(self.rows.last[self.split.test][0])
        return pd.Timestamp(self.bars["Date"].iloc[last]).date()

    @property
    def parts(self) -> Parts:
        """Origins to fit to, and to stop and shrink by; the test part's are in neither."""
        return Parts(
            *(
                range(int(self.rows.last[part][0]), int(self.rows.last[part][-1]) + 1)
                for part in (self.split.train, self.split.validation)
            )
        )

    def span(self, part: slice) -> Span:
        """The same as first, last and count."""
        days = pd.DatetimeIndex(self.dates(part))
        return Span(first=days[0].date(), last=days[-1].date(), rows=len(days))


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A trained network held against the test rows and the baselines."""

    rows: JudgedRows
    fans: JudgedFans | None
    scores: dict[str, dict[str, float | None]]
    calibration: Calibration
    templates: FloatArray  # (n, CALIBRATED_STEPS), see bands.templates
    criteria: dict[str, float]  # aic and bic of the ARIMA baseline
    walk: WalkForward | None  # every model by step; None where there are too few origins
    said: FloatArray | None  # one step ahead from the model's first origin on, where asked


def prepare(prices: Prices, settings: Settings, recipe: Recipe) -> Prepared:
    """Bars from the start date on, cut into causal sequences and split by date.

    Raises:
        NotEnoughHistory: too few bars for the recipe.
    """
    scale = training_scale(prices, settings, recipe.window_size, recipe.scaling)
    return _cut(prices, settings.start_date, recipe, scale)


def prepared(prices: Prices, start_date: date, recipe: Recipe) -> Prepared:
    """The same without the kept file, for whoever has no data folder.

    Raises:
        NotEnoughHistory: too few bars for the recipe.
    """
    bars = training_bars(prices, start_date)
    mids = mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy())
    return _cut(
        prices, start_date, recipe, trailing_scale(mids, recipe.window_size, recipe.scaling)
    )


def _cut(prices: Prices, start_date: date, recipe: Recipe, scale: Scale) -> Prepared:
    bars = training_bars(prices, start_date)
    rows = scale.sequences(recipe.unrollings)
    split = split_rows(len(rows.y), recipe.train_test_split, recipe.validation_split)
    return Prepared(prices, bars, scale.mids, rows, split)


def judge_model(data: Prepared, model: TrainedModel, pool: Pool | None) -> Judged:
    """The model and every baseline on the same test rows, and what its own errors make bands of.

    Args:
        data: of one training.
        model: fitted without the test rows.
        pool: many tickers' quantiles, which its bands are drawn towards.
    """
    last = data.rows.last[data.split.test]
    begin = model.first_origin if model.mode == "direct" else int(last[0])
    made_at = np.arange(begin, len(data.mids) - 1)
    outlook = model.outlook(data.bars, made_at, CALIBRATED_STEPS)
    fitted = baseline_arima.fit_by(data.mids, int(last[0]))
    points, criteria = baseline_arima.one_step(data.mids, int(last[0]), fitted)
    rows = _one_step_rows(data, {"lstm": outlook.point[last - begin, 0], "arima": points})
    errors = errors_of(outlook, data.mids, made_at)
    calibration = calibrate(errors, pool)
    fans, walk = judged_fans(data, Past(made_at, outlook, errors, pool), fitted)
    return Judged(
        rows=rows,
        fans=fans,
        scores=score_one_step(rows),
        calibration=calibration,
        templates=templates(errors, calibration),
        criteria=criteria,
        walk=walk,
        said=outlook.point[:, 0] if begin == model.first_origin else None,
    )


def _one_step_rows(data: Prepared, further: dict[str, FloatArray]) -> JudgedRows:
    """The test rows with both naive forecasts and those of further models."""
    test = data.rows.rows(data.split.test)
    mids, closes = data.mids[test.last], data.bars["Close"].to_numpy(dtype=float)[test.last]
    return JudgedRows(
        last_mid=mids,
        last_close=closes,
        actual=data.mids[test.last + 1],
        lo=test.lo,
        hi=test.hi,
        forecasts={"last_mid": mids, BASELINE: closes, **further},
    )


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What a model said at consecutive origins, and how wrong it was."""

    made_at: np.ndarray
    outlook: Outlook
    errors: FloatArray
    pool: Pool | None

    def fan(self, origins: np.ndarray) -> Fan:
        """STEPS sessions from some of the origins, bands made of the errors known at each."""
        own = self.outlook.at(origins - int(self.made_at[0]))
        found = known_quantiles(self.errors[:, :STEPS], self.made_at, origins, self.pool)
        point, scale = own.point[:, :STEPS], own.scale[:, :STEPS]
        with np.errstate(all="ignore"):  # bands of a network that left the positive prices
            return Fan(point, point[:, :, None] * np.exp(scale[:, :, None] * found))


def losses_of(fan: Fan, mids: FloatArray, origins: np.ndarray) -> FloatArray:
    """Mean CRPS of a fan over its steps, relative to the last mid: shape (n,)."""
    with np.errstate(all="ignore"):
        lost = fan_losses(mids, origins, fan.quantiles[..., 1:-1])
    return np.nan_to_num(lost, nan=RUINED, posinf=RUINED)


def judged_fans(
    data: Prepared, past: Past, fitted: Any = None
) -> tuple[JudgedFans | None, WalkForward | None]:
    """The losses of the model's and last_close's bands, and every model's scores by step.

    At the test origins with STEPS outcomes, and enough errors known before them; None if they
    are too few. No table of a network whose bands are no numbers. `fitted` is the ARIMA of the
    first test origin.
    """
    first_test = int(data.rows.last[data.split.test][0])
    first = max(first_test, int(past.made_at[0]) + STEPS + LEAST_ERRORS)
    origins = np.arange(first, len(data.mids) - STEPS)
    if len(origins) < MIN_JUDGED:
        return None, None
    series = Series.of(data.bars)
    fans = {"lstm": past.fan(origins), BASELINE: last_close(series, origins, STEPS)}
    losses = {name: losses_of(fan, data.mids, origins) for name, fan in fans.items()}
    judged = JudgedFans(origins, losses)
    if not all(np.isfinite(fan.quantiles).all() for fan in fans.values()):
        return judged, None
    fans["last_mid"] = last_mid(series, origins, STEPS)
    fans["arima"] = arima(series, origins, STEPS, fitted if first == first_test else None)
    return judged, walk_scores(series, origins, fans)


def check_parity(onnx: FloatArray, keras: FloatArray) -> float:
    """Largest difference between both networks.

    Raises:
        ExportMismatch: more than PARITY; nothing is saved then.
    """
    gap = float(np.max(np.abs(onnx - keras)))
    if not gap <= PARITY:
        raise ExportMismatch(
            f"ONNX and Keras differ by {gap:.2e} (allowed {PARITY}); nothing saved"
        )
    return gap


def headline(card: ModelCard) -> dict[str, float]:
    """Metrics of a run, by the specification's names and then per model in prices."""
    own = card.scores["lstm"]
    named = {
        "test_loss": own["normalised_mse"],
        "test_mse": own["normalised_mse"],
        "test_mae": own["normalised_mae"],
        "test_rmse": own["normalised_rmse"],
        "direction_accuracy": own["direction_accuracy"],
        "direction_accuracy_spec": own["direction_accuracy_spec"],
        "rmse_ratio": card.skill.rmse_ratio,
        "p_value": card.skill.p_value,
        "crps_ratio": card.skill.crps_ratio,
        "crps_p_value": card.skill.crps_p_value,
        "shrinkage": card.shrinkage,
    }
    every = {f"{m}_{k}": v for m, scores in card.scores.items() for k, v in scores.items()}
    return {name: value for name, value in (named | every).items() if value is not None}
