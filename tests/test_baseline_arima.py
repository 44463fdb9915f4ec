"""ARIMA: the specification's calls, and one-step forecasts that never look ahead."""

import numpy as np
import pytest

from baseline_arima import ARIMABaseline, fit, last_value, one_step, paths
from contracts import ForecastingError, NotEnoughHistory


@pytest.fixture(scope="module")
def mids():
    noise = np.random.default_rng(5).normal(0, 1, 400)
    moves = noise.copy()
    for t in range(1, 400):
        moves[t] += 0.5 * moves[t - 1]
    return 200 + moves.cumsum()


def test_the_specifications_calls(mids):
    baseline = ARIMABaseline("AAPL")
    baseline.train(mids, order=(5, 1, 0))
    assert baseline.predict(steps=30).shape == (30,)
    assert set(baseline.get_metrics()) == {"aic", "bic"}


def test_one_step_forecasts_match_a_walk_with_fixed_parameters(mids):
    forecasts, _ = one_step(mids, 299)
    fitted = fit(mids[:300])
    for origin in (299, 320, 398):
        walked = fitted.append(mids[300 : origin + 1], refit=False) if origin > 299 else fitted
        assert forecasts[origin - 299] == pytest.approx(walked.forecast(1)[0])
    assert len(forecasts) == 100


def test_a_price_after_the_origin_cannot_move_its_forecast(mids):
    tampered = np.where(np.arange(400) < 350, mids, 1e4)
    before, after = one_step(mids, 299)[0], one_step(tampered, 299)[0]
    np.testing.assert_array_equal(before[:51], after[:51])  # origins 299 .. 349
    assert abs(before[60] - after[60]) > 100


def test_it_finds_the_momentum_that_the_last_price_misses(mids):
    forecasts, _ = one_step(mids, 299)
    actual, last = mids[300:], mids[299:-1]
    assert np.mean((forecasts - actual) ** 2) < 0.9 * np.mean((last - actual) ** 2)


def test_many_origins_at_once_match_the_kalman_filter(mids):
    fitted = fit(mids[:300])
    origins = np.array([299, 310, 360])
    mean, spread = paths(fitted, mids, origins, 30)
    for row, origin in enumerate(origins):
        walked = fitted.append(mids[300 : origin + 1], refit=False) if origin > 299 else fitted
        ahead = walked.get_forecast(30)
        np.testing.assert_allclose(mean[row], ahead.predicted_mean, rtol=1e-6)
        np.testing.assert_allclose(spread, ahead.se_mean, rtol=1e-5)


def test_the_naive_forecast_repeats_itself():
    np.testing.assert_array_equal(last_value(np.array([1.0, 2.0]), 3), [[1, 1, 1], [2, 2, 2]])


def test_too_short_a_history_is_refused():
    with pytest.raises(NotEnoughHistory, match="30 are needed"):
        ARIMABaseline("AAPL").train(np.arange(10.0))


def test_a_forecast_before_training_says_what_to_do():
    with pytest.raises(ForecastingError, match="call train"):
        ARIMABaseline("AAPL").predict()
