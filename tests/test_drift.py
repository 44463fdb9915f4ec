"""Two samples compared once: bootstrap limits, and what they find: chance, shocks, broken feeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import drift
from contracts import BadPrices, NotEnoughHistory
from drift import (
    checked_frames,
    compare,
    error_ratio,
    longest_standstill,
    sequence_columns,
)


def feature_drift(reference, current, alpha, seed):
    return compare(reference, current, alpha, seed).features


def garch(seed: int, days: int) -> pd.DataFrame:
    """Returns and ranges of one process whose volatility clusters (daily deviation 1.5 %)."""
    rng = np.random.default_rng(seed)
    variance, rows = 1.0, []
    for _ in range(days + 200):
        shock = np.sqrt(variance) * rng.standard_t(6) * np.sqrt(4 / 6)
        rows.append((0.015 * shock, 0.02 * np.sqrt(variance) * rng.gamma(4, 0.25)))
        variance = 0.05 + 0.08 * shock**2 + 0.87 * variance
    return pd.DataFrame(rows[200:], columns=["return", "range"])


def outcomes(seed: int, days: int, error: float = 1.0) -> pd.DataFrame:
    """Prices with a model whose error is `error` times that of the last close."""
    rng = np.random.default_rng(seed)
    actual = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, days)))
    noise = rng.normal(0, 1, (2, days))
    return pd.DataFrame(
        {"prediction": actual + error * noise[0], "last_close": actual + noise[1], "actual": actual}
    )


def moved(entries) -> set[str]:
    return {entry.feature for entry in entries if entry.drifted}


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(drift, "DRAWS", 200)


@pytest.mark.parametrize(
    ("returns", "run"), [([], 0), ([0.1, 0.2], 0), ([0, 0.1, 0, 0, 0.1], 2), ([0, 0, 0], 3)]
)
def test_a_standstill_is_counted_in_consecutive_days(returns, run):
    assert longest_standstill(np.array(returns)) == run


def test_the_same_process_seldom_raises_an_alarm(few_draws):
    alarms = 0
    for seed in range(40):
        days = garch(seed, 1060)
        alarms += bool(moved(feature_drift(days[:1000], days[1000:], 0.05, seed)))
    assert alarms <= 6  # nominal 2


def test_thresholds_are_the_same_for_the_same_seed(few_draws):
    days = garch(0, 560)
    once, again, other = (feature_drift(days[:500], days[500:], 0.05, s) for s in (1, 1, 2))
    assert once == again
    assert once[0].threshold != other[0].threshold


def test_thresholds_are_wider_than_those_of_independent_days(few_draws):
    days = garch(3, 1060)
    shuffled = days[:1000].sample(frac=1, random_state=0)
    clustered = feature_drift(days[:1000], days[1000:], 0.05, 0)
    independent = feature_drift(shuffled, days[1000:], 0.05, 0)
    assert clustered[1].threshold > 1.15 * independent[1].threshold


def test_three_times_the_volatility_is_found_in_most_draws(few_draws):
    found = 0
    for seed in range(20):
        days = garch(seed, 1060)
        found += bool(moved(feature_drift(days[:1000], 3 * days[1000:], 0.05, seed)))
    assert found >= 17


def test_a_year_of_twice_the_volatility_is_found_in_most_draws(few_draws):
    found = 0
    for seed in range(20):
        days = garch(seed, 1250)
        found += bool(moved(feature_drift(days[:1000], 2 * days[1000:], 0.05, seed)))
    assert found >= 17


def test_returns_in_per_cent_are_found(few_draws):
    days = garch(0, 1060)
    assert {"return", "range"} <= moved(feature_drift(days[:1000], 100 * days[1000:], 0.05, 0))


def test_a_switch_from_pounds_to_pence_is_found(few_draws):
    days = garch(0, 1060)
    current = days[1000:].copy()
    current.iloc[30, 0] += np.log(100)  # the one day on which the unit changes
    assert moved(feature_drift(days[:1000], current, 0.05, 0)) == {"return"}


def test_a_feed_that_stands_still_for_a_week_is_found(few_draws):
    days = garch(0, 1060)
    current = days[1000:].copy()
    current.iloc[-5:, 0] = 0.0
    assert moved(feature_drift(days[:1000], current, 0.05, 0)) == {"unchanged"}


def test_one_day_without_movement_is_no_alarm(few_draws):
    days = garch(0, 1060)
    current = days[1000:].copy()
    current.iloc[-1, 0] = 0.0
    assert moved(feature_drift(days[:1000], current, 0.05, 0)) == set()


def test_a_share_that_often_stands_still_may_go_on_doing_so(few_draws):
    alarms = 0
    for seed in range(20):
        days = garch(seed, 1060)
        days.loc[np.random.default_rng(seed).random(1060) < 0.4, "return"] = 0.0
        alarms += "unchanged" in moved(feature_drift(days[:1000], days[1000:], 0.05, seed))
    assert alarms <= 3


def test_a_sample_without_returns_has_no_standstill(few_draws):
    entries = feature_drift(garch(0, 200)[["range"]], garch(1, 60)[["range"]], 0.05, 0)
    assert [entry.feature for entry in entries] == ["range"]


def test_the_error_ratio_is_that_of_the_two_rmse():
    rows = outcomes(0, 50, error=2.0)
    ours = np.sqrt(np.mean((rows["prediction"] - rows["actual"]) ** 2))
    theirs = np.sqrt(np.mean((rows["last_close"] - rows["actual"]) ** 2))
    assert error_ratio(rows) == pytest.approx(ours / theirs)


def test_the_error_ratio_does_not_depend_on_the_price_level():
    rows = outcomes(0, 50)
    assert error_ratio(100 * rows) == pytest.approx(error_ratio(rows))


def test_the_error_ratio_of_a_stuck_feed_is_finite():
    stuck = pd.DataFrame({"prediction": [101.0] * 30, "last_close": 100.0, "actual": 100.0})
    assert error_ratio(stuck) == pytest.approx(1e4)
    assert error_ratio(stuck.assign(prediction=100.0)) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 1])
def test_what_is_not_a_number_is_named(bad, where):
    samples = [garch(0, 100), garch(1, 60)]
    samples[where].iloc[5, 1] = bad
    name = ("reference", "current")[where]
    with pytest.raises(BadPrices, match=f"the {name} sample holds NaN or infinity in range"):
        feature_drift(*samples, 0.05, 0)


def test_empty_and_tiny_samples_are_refused():
    with pytest.raises(NotEnoughHistory, match="only 0 current rows where 20"):
        checked_frames(garch(0, 100), garch(1, 0))
    with pytest.raises(NotEnoughHistory, match="only 5 reference rows"):
        checked_frames(np.arange(5.0), np.arange(50.0))


def test_columns_that_differ_are_refused():
    with pytest.raises(BadPrices, match="same numeric columns"):
        checked_frames(garch(0, 100), garch(0, 100)[["range"]])
    with pytest.raises(BadPrices, match="same numeric columns"):
        checked_frames(pd.DataFrame({"day": ["a"] * 30}), pd.DataFrame({"day": ["b"] * 30}))


def test_arrays_of_one_and_two_dimensions_are_samples():
    one, two = checked_frames(np.arange(30.0), list(range(40)))
    assert (list(one), len(two)) == (["value"], 40)
    wide, _ = checked_frames(np.ones((30, 2)), np.ones((30, 2)))
    assert list(wide) == ["x0", "x1"]
    with pytest.raises(BadPrices, match="one or two dimensions"):
        checked_frames(np.ones((3, 3, 3)), np.ones((3, 3, 3)))


def test_sequences_become_changes_and_spreads_free_of_the_price_level():
    x = np.random.default_rng(0).normal(size=(30, 50, 1))
    columns = sequence_columns(x)
    np.testing.assert_allclose(columns["change0"], x[:, -1, 0] - x[:, -2, 0])
    np.testing.assert_allclose(columns["spread0"], np.ptp(x[:, :, 0], axis=1))
    pd.testing.assert_frame_equal(sequence_columns(x + 7), columns)


def test_flat_inputs_stay_as_they_are():
    frame = garch(0, 30)
    pd.testing.assert_frame_equal(sequence_columns(frame), frame)
    assert sequence_columns(np.ones((30, 3))).shape == (30, 3)


def test_sequences_of_one_step_are_refused():
    with pytest.raises(NotEnoughHistory, match="only 1 steps per sequence"):
        sequence_columns(np.ones((30, 1, 1)))


def test_real_volatility_seldom_raises_more_alarms_than_stated(real_data, few_draws):
    """Each year's first quarter against the five years before, four shares: real regimes change,
    so some alarms are right; far more than one in four would make them useless."""
    from features import daily_features

    verdicts = []
    for ticker in ("AAPL", "GOOGL", "IBM", "MSFT"):
        days = daily_features(pd.read_csv(real_data / "yahoo" / f"{ticker}.csv"))
        for year in range(2011, 2025, 2):
            start = int(days["Date"].searchsorted(f"{year}-01-01"))
            before, after = days[start - 1260 : start], days[start : start + 60]
            verdicts.append(bool(moved(feature_drift(before, after, 0.05, 0))))
    assert len(verdicts) == 28
    assert np.mean(verdicts) <= 0.25


def test_a_comparison_says_how_often_its_thresholds_are_passed_by_chance(few_draws):
    days = garch(0, 560)
    found = compare(days[:500], days[500:], 0.05, 0)
    assert found.draws == 200
    assert 0 < found.false_alarms < 0.15
