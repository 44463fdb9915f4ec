"""Panel inputs and targets: causal, free of scale, finite on odd bars, and cut without overlap."""

import numpy as np
import pandas as pd
import pytest

from contracts import NotEnoughHistory
from generate_synthetic_data import Split, as_traded, generate_synthetic_stock_data
from panel import (
    CLIP,
    INPUTS,
    LONGEST_BLOCK,
    TARGET_CLIP,
    UNIT_FLOOR,
    WARM_UP,
    Windows,
    inputs_of_levels,
    panel_inputs,
    scale_at,
    stack,
    targets,
    training_windows,
)

BARS = generate_synthetic_stock_data("AAPL", "2020-01-01", "2023-12-29", 600)
PRICES = ["Open", "High", "Low", "Close"]
HORIZONS = (1, 3, 10)


def scaled(bars: pd.DataFrame, factor: float) -> pd.DataFrame:
    return bars.assign(**{name: bars[name] * factor for name in PRICES})


def obvious_mean(values, span):
    """The adjusted exponential mean, with every weight written out."""
    keep = 1 - 2 / (span + 1)
    means = []
    for t in range(len(values)):
        weights = keep ** np.arange(t, -1, -1)
        means.append((weights * values[: t + 1]).sum() / weights.sum())
    return np.array(means)


def obvious_row(bars: pd.DataFrame, t: int) -> list[float]:
    """One session's inputs, from the definition, nothing clipped."""
    open_, high, low, close, volume = (bars[n].to_numpy(float) for n in [*PRICES, "Volume"])
    overnight = np.array([0.0] + [np.log(open_[i] / close[i - 1]) for i in range(1, t + 1)])
    daily = np.log(high / low)[: t + 1] ** 2 / (4 * np.log(2)) + overnight**2
    unit, before = (np.sqrt(obvious_mean(daily[:n], 22)[-1]) for n in (t + 1, t))
    mid, last_mid = ((high[i] + low[i]) / 2 for i in (t, t - 1))
    traded = np.log(volume[: t + 1])
    return [
        np.log(mid / last_mid) / before,
        np.log(close[t] / mid) / unit,
        np.log(high[t] / low[t]) / before - 1.5,
        overnight[t] / before,
        traded[t] - obvious_mean(traded, 22)[-1],
        *(np.log(obvious_mean(daily, span)[-1] / unit**2) for span in (5, 66, 250)),
    ]


@pytest.mark.parametrize("t", [1, 70, 599])
def test_a_row_is_what_its_definition_says(t):
    expected = np.clip(obvious_row(BARS, t), -CLIP, CLIP)
    np.testing.assert_allclose(panel_inputs(BARS).x[t], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cut", [1, 80, 300, 599])
def test_no_bar_after_a_session_touches_its_row(cut):
    later = np.arange(len(BARS)) >= cut
    strange = {n: np.where(later, v, BARS[n]) for n, v in zip(PRICES, (7, 9, 5, 6), strict=True)}
    tampered = BARS.assign(**strange, Volume=np.where(later, 3, BARS["Volume"]))
    honest, altered = panel_inputs(BARS), panel_inputs(tampered)
    for name in ("x", "unit", "mids", "closes"):
        np.testing.assert_array_equal(getattr(honest, name)[:cut], getattr(altered, name)[:cut])
    assert (honest.x[cut] != altered.x[cut]).all()


@pytest.mark.parametrize("factor", [10, 0.001, 1e6])
def test_the_price_level_is_no_input(factor):
    plain, dear = panel_inputs(BARS), panel_inputs(scaled(BARS, factor))
    np.testing.assert_allclose(dear.x, plain.x, atol=1e-9)
    np.testing.assert_allclose(dear.unit, plain.unit, rtol=1e-9)


def test_a_split_that_rewrites_every_price_and_volume_changes_no_input():
    after = scaled(BARS, 1 / 4).assign(Volume=BARS["Volume"] * 4)
    np.testing.assert_allclose(panel_inputs(after).x, panel_inputs(BARS).x, atol=1e-9)


def test_a_split_left_in_the_prices_moves_the_inputs_by_no_more_than_the_clip():
    raw = as_traded(BARS, [Split(BARS["Date"][300].date(), 4)])
    honest, jumped = panel_inputs(BARS).x, panel_inputs(raw).x
    assert jumped[300, INPUTS.index("return")] == -CLIP
    assert np.abs(jumped).max() <= CLIP
    np.testing.assert_allclose(jumped[:300], honest[:300], atol=1e-5)  # volumes are whole numbers


@pytest.mark.parametrize("flat", [slice(None), slice(0, 100), slice(200, 400)])
def test_flat_bars_without_volume_give_finite_values(flat):
    still = BARS.copy()
    rows = still.index[flat]
    still.loc[rows, PRICES] = 42.0
    still.loc[rows, "Volume"] = 0
    inputs = panel_inputs(still)
    assert np.isfinite(inputs.x).all() and np.abs(inputs.x).max() <= CLIP
    assert (inputs.unit >= UNIT_FLOOR).all()
    assert np.isfinite(targets(inputs, HORIZONS, 600)[:590]).all()


def test_windows_end_with_the_asked_positions():
    inputs = panel_inputs(BARS)
    last = np.array([49, 300, 599])
    cut = inputs.windows(last, 50)
    assert cut.shape == (3, 50, len(INPUTS))
    for row, at in enumerate(last):
        np.testing.assert_array_equal(cut[row], inputs.x[at - 49 : at + 1])


def obvious_targets(inputs, horizons, known_until):
    found = np.full((len(inputs.mids), len(horizons)), np.nan)
    for t in range(len(inputs.mids)):
        for column, h in enumerate(horizons):
            if t + h < min(known_until, len(inputs.mids)):
                move = np.log(inputs.mids[t + h] / inputs.closes[t])
                found[t, column] = np.clip(move / inputs.unit[t] / h**0.5, -8, 8)
    return found


@pytest.mark.parametrize("known_until", [0, 2, 11, 400, 600, 700])
def test_targets_match_the_obvious_loop(known_until):
    inputs = panel_inputs(BARS)
    expected = obvious_targets(inputs, HORIZONS, known_until)
    np.testing.assert_allclose(targets(inputs, HORIZONS, known_until), expected, rtol=1e-12)


@pytest.mark.parametrize(("factor", "held"), [(1000.0, TARGET_CLIP), (0.001, -TARGET_CLIP)])
def test_a_freak_outcome_is_held_to_the_clip(factor, held):
    jump = np.where(np.arange(600) == 300, factor, 1.0)
    inputs = panel_inputs(BARS.assign(**{name: BARS[name] * jump for name in PRICES}))
    assert targets(inputs, (1,), 600)[299, 0] == held


def numbered(count: int):
    """Inputs of real bars with a target that says which origin it belongs to."""
    inputs = panel_inputs(BARS.head(count))
    return inputs, np.arange(count, dtype=float)[:, None]


@pytest.mark.parametrize(
    "part", [range(599), range(300), range(200, 450), range(116, 316), range(250, 257)]
)
def test_training_windows_count_each_origin_of_their_part_once(part):
    inputs, target = numbered(600)
    cut = training_windows(inputs, target, part, 50)
    counted = cut.y[np.isfinite(cut.y)].astype(int)
    assert sorted(counted) == list(range(max(part.start, 50 + WARM_UP), part.stop))
    assert cut.y.shape[1] <= LONGEST_BLOCK
    assert cut.x.shape[1] == 50 + cut.y.shape[1]


def test_each_target_stands_beside_its_own_row():
    inputs, target = numbered(600)
    cut = training_windows(inputs, target, range(200, 450), 50)
    for x, y in zip(cut.x, cut.y, strict=True):
        for place in np.flatnonzero(np.isfinite(y[:, 0])):
            origin = int(y[place, 0])
            np.testing.assert_array_equal(x[50 + place], inputs.x[origin].astype("float32"))


def test_a_part_of_one_origin_makes_one_window():
    inputs, target = numbered(600)
    cut = training_windows(inputs, target, range(300, 301), 50)
    assert cut.y.tolist() == [[[300.0]]]
    np.testing.assert_array_equal(cut.x[0], inputs.x[250:301].astype("float32"))


def test_a_part_that_ends_in_the_warm_up_is_refused():
    inputs, target = numbered(600)
    with pytest.raises(NotEnoughHistory, match="only 116 sessions where 117 are needed"):
        training_windows(inputs, target, range(116), 50)


def test_stacked_tickers_keep_their_ends_and_are_padded_in_front():
    inputs, target = numbered(600)
    long, short = (training_windows(inputs, target, r, 50) for r in (range(599), range(200, 230)))
    both = stack([long, short])
    assert both.x.shape == (len(long.x) + 1, 150, len(INPUTS))
    np.testing.assert_array_equal(both.x[-1, -80:], short.x[0])
    np.testing.assert_array_equal(both.y[-1, -30:], short.y[0])
    assert not both.x[-1, :-80].any() and np.isnan(both.y[-1, :-30]).all()
    np.testing.assert_array_equal(both.x[:-1], long.x)


def test_windows_of_one_size_are_stacked_as_they_are():
    one = Windows(np.ones((2, 5, 8)), np.zeros((2, 3, 1)))
    both = stack([one, one])
    assert both.x.shape == (4, 5, 8) and both.y.shape == (4, 3, 1)
    assert np.isfinite(both.y).all()


def test_a_scale_is_the_horizons_own_at_each_horizon_and_lies_between_elsewhere():
    horizons, said = (1, 2, 5, 30), np.array([[0.1, -0.2, 0.3, 0.0], [0.0, 0.0, 0.0, 0.0]])
    found = scale_at(said, horizons, 30)
    at = np.array(horizons) - 1
    np.testing.assert_allclose(found[:, at], np.exp(said) * np.sqrt(horizons), rtol=1e-12)
    share = np.log(3 / 2) / np.log(5 / 2)
    assert found[0, 2] == pytest.approx(np.exp(-0.2 + share * 0.5) * 3**0.5)
    np.testing.assert_allclose(found[1], np.sqrt(np.arange(1, 31)), rtol=1e-12)


def test_a_scale_grows_with_the_step_where_the_network_sees_no_change():
    found = scale_at(np.full((1, 9), 0.4), (1, 2, 3, 5, 10, 20, 30, 60, 90), 90)
    assert (np.diff(found[0]) > 0).all()


def test_a_wild_network_cannot_make_a_band_endless():
    found = scale_at(np.array([[99.0, 99.0], [-99.0, -99.0]]), (1, 90), 90)
    root = np.sqrt(np.arange(1, 91))
    np.testing.assert_allclose(found, [np.exp(3) * root, np.exp(-3) * root])


def test_a_scale_stops_at_the_last_horizon():
    found = scale_at(np.array([[0.0, 0.5]]), (1, 30), 90)
    np.testing.assert_allclose(found[0, 30:], np.exp(0.5) * np.sqrt(np.arange(31, 91)))


def test_levels_below_zero_are_inputs_too():
    levels = np.random.default_rng(1).normal(-5, 2, 80)
    x, unit = inputs_of_levels(levels)
    assert x.shape == (80, len(INPUTS)) and np.isfinite(x).all() and unit > 0
    np.testing.assert_allclose(inputs_of_levels(-levels)[0], -x)
    assert not x[:, 1:].any()


@pytest.mark.parametrize(("factor", "shift"), [(10, 0), (1, 3), (0.01, -7)])
def test_levels_may_be_on_any_scale(factor, shift):
    levels = np.random.default_rng(2).normal(0, 1, 80).cumsum()
    x, unit = inputs_of_levels(levels)
    other, wider = inputs_of_levels(levels * factor + shift)
    np.testing.assert_allclose(other, x, atol=1e-9)
    assert wider == pytest.approx(unit * factor)


@pytest.mark.parametrize("level", [0.0, 0.5, -3.0])
def test_levels_that_never_move_say_nothing(level):
    x, unit = inputs_of_levels(np.full(60, level))
    assert not x.any()
    assert np.isfinite(unit) and unit > 0
