"""Every forecaster: what it says, what its bands promise, and that it never looks ahead."""

import numpy as np
import pandas as pd
import pytest

import forecasters
from bands import LEVELS, finite_sample_quantiles
from contracts import NotEnoughHistory
from features import denormalise, scaled_sequences
from forecasters import Segment, Series
from inference import Network, TrainedModel
from model import LSTMStockModel
from recipes import find_recipe

STEPS = 6
MEDIAN = LEVELS.index(0.5)


def walk(count: int = 1500, seed: int = 0) -> Series:
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(rng.normal(0, 0.015, count).cumsum())
    mids = closes * np.exp(rng.normal(0, 0.004, count))
    spread = np.abs(rng.normal(0, 0.006, count)) * mids
    bars = {
        "Date": pd.Timestamp("2019-01-01") + pd.to_timedelta(np.arange(count), "D"),
        "Open": mids - 0.3 * spread,
        "High": mids + spread,
        "Low": mids - spread,
        "Close": closes,
        "Volume": np.exp(rng.normal(14, 0.3, count)),
    }
    return Series.of(pd.DataFrame(bars))


def tampered(series: Series, after: int) -> Series:
    """The same series with every price after a position replaced."""
    bars = series.bars.copy()
    bars.loc[bars.index > after, ["Open", "High", "Low", "Close"]] = 7.0
    return Series.of(bars)


@pytest.fixture(scope="module")
def segment(tmp_path_factory) -> Segment:
    small = {"lstm_units_1": 4, "lstm_units_2": 4, "dense_units": 4, "unrollings": 10}
    recipe = find_recipe("mlops_64_64_32", small)
    path = tmp_path_factory.mktemp("network") / "model.onnx"
    network = LSTMStockModel(recipe, seed=2)
    # half-way between the extremes of its window: a positive price whatever the prices are
    network.model.layers[-1].bias.assign([0.5])
    network.export_onnx(path)
    model = TrainedModel(Network(path), {**recipe.as_dict(), "window_size": 300})
    return Segment(model, None, errors_from=600, first=0, until=5000)


def every_fan(series, origins, segment):
    fans = {
        name: getattr(forecasters, name)(series, origins, STEPS)
        for name in ("last_mid", "last_close", "drift", "arima")
    }
    return fans | {"lstm": forecasters.lstm(series, origins, STEPS, [segment])}


def test_the_naive_points_are_the_last_prices(segment):
    series, origins = walk(), np.array([1200, 1300])
    fans = every_fan(series, origins, segment)
    np.testing.assert_array_equal(fans["last_mid"].point[:, 3], series.mids[origins])
    np.testing.assert_array_equal(fans["last_close"].point[:, 0], series.closes[origins])
    slope = np.log(series.mids[1300] / series.mids[300]) / 1000
    expected = series.closes[1300] * np.exp(slope * 6)
    assert fans["drift"].point[1, 5] == pytest.approx(expected)


def test_the_lstm_point_is_its_recursive_forecast(segment):
    series, origins = walk(), np.array([1200])
    rows = scaled_sequences(series.mids, 10, 300)
    row = int(np.flatnonzero(rows.last == 1200)[0])
    path = segment.model.network.recurse(rows.x[row : row + 1], STEPS)[0]
    fan = forecasters.lstm(series, origins, STEPS, [segment])
    np.testing.assert_allclose(fan.point[0], denormalise(path, rows.lo[row], rows.hi[row]))


@pytest.mark.parametrize("model", ["last_mid", "last_close", "drift", "arima", "lstm"])
def test_no_price_after_an_origin_touches_its_fan(model, segment):
    series, origins = walk(), np.array([1200, 1250, 1300])
    honest = every_fan(series, origins, segment)[model]
    for row, origin in enumerate(origins):
        altered = every_fan(tampered(series, int(origin)), origins[: row + 1], segment)[model]
        np.testing.assert_array_equal(altered.point[row], honest.point[row])
        np.testing.assert_array_equal(altered.quantiles[row], honest.quantiles[row])


@pytest.mark.parametrize("model", ["last_mid", "last_close", "drift"])
def test_bands_cover_what_they_promise(model, segment):
    series, origins = walk(count=4000, seed=5), np.arange(2000, 3990)
    fan = every_fan(series, origins, segment)[model]
    for step in (1, STEPS):
        actual = series.mids[origins + step]
        for level in (0.1, 0.5, 0.9):
            below = fan.quantiles[:, step - 1, LEVELS.index(level)] >= actual
            assert below.mean() == pytest.approx(level, abs=0.05)


@pytest.mark.parametrize("model", ["last_mid", "last_close", "drift", "arima", "lstm"])
def test_quantiles_rise_with_their_level(model, segment):
    fan = every_fan(walk(), np.array([1200, 1400]), segment)[model]
    assert (np.diff(fan.quantiles, axis=2) >= 0).all()
    assert (fan.quantiles > 0).all()


def test_an_errors_outcome_must_be_known_before_it_makes_a_band():
    series, origins = walk(), np.array([1200])
    fan = forecasters.last_mid(series, origins, STEPS)
    known = [
        np.log(series.mids[at + STEPS] / series.mids[at])
        for at in range(1200 - STEPS - 1000 + 1, 1200 - STEPS + 1)
    ]
    expected = series.mids[1200] * np.exp(finite_sample_quantiles(np.array(known)))
    np.testing.assert_allclose(fan.quantiles[0, STEPS - 1], expected)


def test_the_rank_of_a_quantile_keeps_its_promise_on_few_errors():
    errors = np.arange(1.0, 100.0)  # 99 errors: rank of q is 100 q
    found = dict(zip(LEVELS, finite_sample_quantiles(errors), strict=True))
    assert (found[0.05], found[0.5], found[0.95]) == (5.0, 50.0, 95.0)
    assert (found[0.025], found[0.975]) == (2.0, 98.0)


def test_too_few_known_errors_make_no_band():
    with pytest.raises(NotEnoughHistory, match="known forecast errors"):
        forecasters.last_mid(walk(), np.array([20]), STEPS)
