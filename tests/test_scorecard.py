"""Scores recomputed from the rows, against the obvious loops."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from metrics import QUANTILES
from scorecard import QUANTILE_COLUMNS, ROW_COLUMNS, pooled, row_crps, score

STEPS, ORIGINS = 3, 80


def rows_of(model: str, noise: float, seed: int) -> pd.DataFrame:
    """A model that errs by Gaussian noise of a stated size and knows it."""
    path = 100 + np.random.default_rng(0).normal(0, 1, ORIGINS + STEPS).cumsum()
    rng = np.random.default_rng(seed)
    table = []
    for origin in range(ORIGINS):
        for step in range(1, STEPS + 1):
            actual = path[origin + step]
            point = actual + rng.normal(0, noise)
            fan = dict(zip(QUANTILE_COLUMNS, point + noise * norm.ppf(QUANTILES), strict=True))
            half = noise * norm.ppf([0.9, 0.975])
            band = {"lower_80": point - half[0], "upper_80": point + half[0]}
            band |= {"lower_95": point - half[1], "upper_95": point + half[1]}
            head = {"ticker": "AAPL", "model": model, "origin": origin, "step": step}
            table.append(
                head | {"date": origin + step, "point": point, "actual": actual} | fan | band
            )
    return pd.DataFrame(table)[list(ROW_COLUMNS)]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return pd.concat([rows_of("lstm", 2.0, 1), rows_of("last_close", 1.0, 2)], ignore_index=True)


@pytest.fixture(scope="module")
def known() -> pd.DataFrame:
    path = 100 + np.random.default_rng(0).normal(0, 1, ORIGINS + STEPS).cumsum()
    fixed = {"ticker": "AAPL", "lo": 50.0, "hi": 150.0, "mase_scale": 0.8}
    return pd.DataFrame([{"origin": o, "last_mid": path[o], **fixed} for o in range(ORIGINS)])


@pytest.fixture(scope="module")
def scores(rows, known):
    return score(rows, known, stride=1)


def test_each_step_is_scored_on_its_own_rows(rows, scores):
    own = rows[(rows["model"] == "lstm") & (rows["step"] == 2)]
    expected = np.sqrt(np.mean((own["point"] - own["actual"]) ** 2))
    assert scores["AAPL"]["lstm"]["steps"][2]["rmse"] == pytest.approx(expected)
    assert scores["AAPL"]["lstm"]["steps"][2]["rows"] == ORIGINS


def test_scaled_scores_are_price_scores_over_their_scale(scores):
    found = scores["AAPL"]["lstm"]["overall"]
    assert found["normalised_rmse"] == pytest.approx(found["rmse"] / 100)
    assert found["mase"] == pytest.approx(found["mae"] / 0.8)


def test_ratios_are_to_repeating_the_last_close(rows, scores):
    def squared(model):
        own = rows[(rows["model"] == model) & (rows["step"] == 1)]
        return np.mean((own["point"] - own["actual"]) ** 2)

    against = scores["AAPL"]["lstm"]["against"]
    expected = np.sqrt(squared("lstm") / squared("last_close"))
    assert against["one_step_rmse_ratio"] == pytest.approx(expected)
    assert against["one_step_rmse_ratio_low"] < expected < against["one_step_rmse_ratio_high"]
    assert against["one_step_p_value"] < 0.05
    assert against["crps_ratio"] == pytest.approx(2.0, rel=0.15)


def test_the_baseline_against_itself_is_one_and_no_evidence(scores):
    against = scores["AAPL"]["last_close"]["against"]
    assert against["one_step_rmse_ratio"] == against["crps_ratio"] == 1.0
    assert against["one_step_p_value"] == 1.0


def test_an_honest_band_covers_its_level(scores):
    found = scores["AAPL"]["last_close"]["overall"]
    assert found["coverage_80"] == pytest.approx(0.8, abs=0.07)
    assert found["coverage_95"] == pytest.approx(0.95, abs=0.04)
    assert found["winkler_80"] > found["width_80"]


def test_crps_of_a_row_is_twice_its_mean_pinball_loss(rows):
    row = rows.iloc[[7]]
    losses = [
        max(level * (row["actual"].item() - q), (level - 1) * (row["actual"].item() - q))
        for level, q in zip(QUANTILES, row[list(QUANTILE_COLUMNS)].to_numpy()[0], strict=True)
    ]
    assert row_crps(row)[0] == pytest.approx(2 * np.mean(losses))


def test_models_judged_on_other_rows_are_refused(rows, known):
    with pytest.raises(ValueError, match="not judged on the same rows"):
        score(rows.drop(index=5), known, stride=1)


def test_pooled_figures_are_means_over_tickers(scores):
    own = scores["AAPL"]["lstm"]
    ratio = own["against"]["one_step_rmse_ratio"]
    worse = {**own, "against": {**own["against"], "one_step_rmse_ratio": ratio + 1}}
    found = pooled([("A", {"lstm": own}), ("B", {"lstm": worse})])["lstm"]
    assert found["one_step_rmse_ratio"] == pytest.approx(ratio + 0.5)
    assert found["coverage_80"] == pytest.approx(own["overall"]["coverage_80"])
    unknown = {**own, "overall": {**own["overall"], "coverage_80": None}}
    assert pooled([("A", {"lstm": own}), ("B", {"lstm": unknown})])["lstm"]["coverage_80"] is None
