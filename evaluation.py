"""One training's data and its judgement: prepare, hold against the baselines, rule.

Knows neither how the network was fitted nor where runs are tracked.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd

import baseline_arima
from config import Settings
from contracts import (
    LEVELS,
    Calibration,
    ExportMismatch,
    FloatArray,
    ForecastingError,
    ModelCard,
    Prices,
    Span,
)
from data_pipeline import training_bars
from features import Sequences, Split, denormalise, mid_price, scaled_sequences, split_rows
from inference import Network, one_step_table
from model_store import NETWORK, ModelStore, Published
from predict import check_match
from recipes import Recipe
from referee import BASELINE, JudgedRows, Ruling, calibrate, gate, score_one_step

log = logging.getLogger(__name__)

PARITY = 1e-4  # largest |ONNX - Keras| on the normalised scale that is saved
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

    def span(self, part: slice) -> Span:
        """The same as first, last and count."""
        days = pd.DatetimeIndex(self.dates(part))
        return Span(first=days[0].date(), last=days[-1].date(), rows=len(days))


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A trained network held against the test rows and the baselines."""

    rows: JudgedRows
    scores: dict[str, dict[str, float | None]]
    calibration: Calibration
    criteria: dict[str, float]  # aic and bic of the ARIMA baseline


def prepare(prices: Prices, settings: Settings, recipe: Recipe) -> Prepared:
    """Bars from the start date on, cut into causal sequences and split by date.

    Raises:
        NotEnoughHistory: too few bars for the recipe.
    """
    bars = training_bars(prices, settings.start_date)
    mids = mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy())
    rows = scaled_sequences(mids, recipe.unrollings, recipe.window_size)
    split = split_rows(len(rows.y), recipe.train_test_split, recipe.validation_split)
    return Prepared(prices, bars, mids, rows, split)


def judge_network(data: Prepared, network: Network) -> Judged:
    """One-step forecasts of the network and every baseline on the same test rows, and the bands."""
    test = data.rows.rows(data.split.test)
    last, closes = test.last, data.bars["Close"].to_numpy(dtype=float)
    arima, criteria = baseline_arima.one_step(data.mids, int(last[0]))
    rows = JudgedRows(
        last_mid=data.mids[last],
        last_close=closes[last],
        actual=data.mids[last + 1],
        lo=test.lo,
        hi=test.hi,
        forecasts={
            "lstm": denormalise(network.one_step(test.x), test.lo, test.hi),
            "last_mid": data.mids[last],
            BASELINE: closes[last],
            "arima": arima,
        },
    )
    paths = denormalise(
        network.recurse(test.x, CALIBRATED_STEPS), test.lo[:, None], test.hi[:, None]
    )
    calibration = calibrate(data.mids, last, paths, LEVELS)
    return Judged(rows, score_one_step(rows), calibration, criteria)


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


def usable_champion(store: ModelStore, prices: Prices) -> Published | None:
    """The champion; a damaged one, or one of another kind of prices, counts as none."""
    try:
        champion = store.champion(prices.ticker)
        if champion is not None:
            check_match(champion, prices)
    except ForecastingError as error:
        log.warning(
            "champion_set_aside ticker=%s code=%s reason=%s", prices.ticker, error.code, error
        )
        return None
    return champion


def rule(champion: Published | None, judged: Judged, data: Prepared) -> Ruling:
    """The gate, on the test rows that the champion was not fitted on either."""
    if champion is None:
        return gate(judged.rows, None)
    bars = training_bars(data.prices, champion.card.start_date)
    network = Network(champion.path / NETWORK)
    theirs = one_step_table(network, champion.card.recipe, bars).set_index("date")["prediction"]
    dates = pd.DatetimeIndex(data.dates(data.split.test))
    fresh = (dates > pd.Timestamp(champion.card.validation.last)) & dates.isin(theirs.index)
    rows = judged.rows.only(np.asarray(fresh), {"champion": theirs.reindex(dates).to_numpy()})
    return gate(rows, "champion")


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
    }
    every = {f"{m}_{k}": v for m, scores in card.scores.items() for k, v in scores.items()}
    return {name: value for name, value in (named | every).items() if value is not None}
