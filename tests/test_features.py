"""Mid-price, causal MinMax and its inverse, sequences and splits, against the obvious loops."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from contracts import NotEnoughHistory
from features import (
    create_sequences,
    daily_features,
    denormalise,
    exponential_average,
    mid_price,
    normalise,
    scaled_sequences,
    split_rows,
    trailing_extremes,
    trailing_moments,
    windowed_normalize,
)

PRICES = arrays(float, st.integers(12, 60), elements=st.floats(0.01, 1e6))


def walk(count: int, seed: int = 0) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, count)))


def obvious_pairs(mid, length, window):
    rows = []
    for last in range(length - 1, len(mid) - 1):
        known = mid[max(0, last + 1 - window) : last + 1]
        lo, hi = known.min(), known.max()

        def scale(v, lo=lo, hi=hi):
            return (v - lo) / (hi - lo) if hi > lo else v * 0.0

        rows.append((scale(mid[last + 1 - length : last + 1]), scale(mid[last + 1])))
    return np.array([x for x, _ in rows])[:, :, None], np.array([y for _, y in rows])


def test_mid_price_is_halfway_between_high_and_low():
    np.testing.assert_array_equal(
        mid_price(np.array([3.0, 10.0]), np.array([1.0, 5.0])), [2.0, 7.5]
    )


def test_trailing_moments_are_z_scores_of_what_was_known():
    values = np.random.default_rng(3).normal(50, 5, 120)
    lo, hi = trailing_moments(values, 30)
    for at in (0, 10, 29, 119):
        known = values[max(0, at - 29) : at + 1]
        expected = (values[at] - known.mean()) / (known.std() or np.inf)
        assert normalise(values[at : at + 1], lo[at], hi[at])[0] == pytest.approx(
            expected, abs=1e-9
        )


@pytest.mark.parametrize("window", [1, 7, 30, 2500])
def test_trailing_extremes_match_the_obvious_loop(window):
    mid = walk(80)
    lo, hi = trailing_extremes(mid, window)
    pasts = [mid[max(0, t + 1 - window) : t + 1] for t in range(80)]
    np.testing.assert_array_equal(lo, [past.min() for past in pasts])
    np.testing.assert_array_equal(hi, [past.max() for past in pasts])


@pytest.mark.parametrize(("length", "window"), [(5, 2500), (5, 9), (50, 60)])
def test_scaled_sequences_match_the_obvious_loop(length, window):
    mid = walk(100)
    rows = scaled_sequences(mid, length, window)
    x, y = obvious_pairs(mid, length, window)
    np.testing.assert_array_equal(rows.x, x)
    np.testing.assert_array_equal(rows.y, y)


@pytest.mark.parametrize("cut", [25, 60, 99])
def test_tomorrow_cannot_reach_todays_input(cut):
    honest = walk(100)
    tampered = np.where(np.arange(100) < cut, honest, 1e6)
    before, after = (scaled_sequences(series, 20, 40) for series in (honest, tampered))
    known = before.last < cut
    np.testing.assert_array_equal(before.x[known], after.x[known])
    np.testing.assert_array_equal(before.lo[known], after.lo[known])
    settled = before.last + 1 < cut  # the target is the next day's price
    np.testing.assert_array_equal(before.y[settled], after.y[settled])


@given(PRICES)
def test_the_inverse_gives_the_prices_back(mid):
    lo, hi = trailing_extremes(mid, 2500)
    back = denormalise(normalise(mid, lo, hi), lo, hi)
    np.testing.assert_allclose(back, mid, rtol=1e-12)


def test_a_flat_window_maps_to_zero_and_back():
    flat = np.full(10, 42.0)
    np.testing.assert_array_equal(windowed_normalize(flat), np.zeros(10))
    np.testing.assert_array_equal(denormalise(np.array([0.0, 3.0]), 42.0, 42.0), [42.0, 42.0])


@given(PRICES)
def test_windowed_normalize_stays_between_zero_and_one(mid):
    scaled = windowed_normalize(mid, 10)
    assert len(scaled) == len(mid)
    assert ((scaled >= 0) & (scaled <= 1)).all()


def test_sequences_are_views_and_the_target_follows_its_input():
    values = np.arange(10.0)
    x, y = create_sequences(values, 4)
    assert x.shape == (6, 4, 1)
    np.testing.assert_array_equal(y, [4, 5, 6, 7, 8, 9])
    np.testing.assert_array_equal(x[2, :, 0], [2, 3, 4, 5])
    assert np.shares_memory(x, values)


def test_a_series_as_short_as_one_sequence_is_refused():
    with pytest.raises(NotEnoughHistory, match="only 50 sessions where 51 are needed"):
        create_sequences(np.ones(50), 50)


@pytest.mark.parametrize("count", [4, 10, 999, 1458])
def test_a_split_covers_every_row_once_in_time_order(count):
    split = split_rows(count, 0.8, 0.1)
    parts = [split.train, split.validation, split.test]
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    assert all(len(range(count)[part]) > 0 for part in parts)


def test_a_split_without_a_test_part_is_refused():
    with pytest.raises(NotEnoughHistory):
        split_rows(1, 0.8, 0.1)


def test_the_average_starts_at_the_first_value_and_has_no_bias_adjustment():
    values = np.array([1.0, 2.0, 4.0])
    alpha = 2 / 11
    second = alpha * 2 + (1 - alpha) * 1
    expected = [1.0, second, alpha * 4 + (1 - alpha) * second]
    np.testing.assert_allclose(exponential_average(values, 10), expected, rtol=1e-15)


def test_drift_features_hold_no_price_level():
    dates = pd.bdate_range("2024-01-01", periods=4)
    bars = pd.DataFrame({"Date": dates, "High": [11.0, 12, 13, 14], "Low": [9.0, 10, 11, 12]})
    bars = bars.assign(Open=bars["Low"], Close=bars["High"], Volume=[100, 200, 400, 100])
    ten_times = bars.assign(**{name: bars[name] * 10 for name in ("Open", "High", "Low", "Close")})
    pd.testing.assert_frame_equal(daily_features(bars), daily_features(ten_times))
    np.testing.assert_allclose(daily_features(bars)["return"], np.log([11 / 10, 12 / 11, 13 / 12]))
    np.testing.assert_allclose(daily_features(bars)["gap"], np.log([10 / 11, 11 / 12, 12 / 13]))
    assert list(daily_features(bars)["Date"]) == list(dates[1:])


def test_volume_is_held_against_the_median_of_the_sessions_before_it():
    volume = [100.0, 200, 400, 100, 0]
    bars = pd.DataFrame({"Date": pd.bdate_range("2024-01-01", periods=5), "Volume": volume})
    bars = bars.assign(Open=1.0, High=1.0, Low=1.0, Close=1.0)
    halved = bars.assign(Volume=bars["Volume"] / 2)
    expected = np.log([2, 4 / np.sqrt(2), 0.5, 1 / np.sqrt(2) / 100])
    np.testing.assert_allclose(daily_features(bars)["volume"], expected)
    np.testing.assert_allclose(daily_features(halved)["volume"][:3], expected[:3])
