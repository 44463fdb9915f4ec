"""Bands and joint paths: ranks that keep their promise, and no error used before it was known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

import bands
from bands import (
    LEAST_ERRORS,
    LEVELS,
    MEMORY,
    Outlook,
    Pool,
    bands_of,
    calibrate,
    errors_of,
    finite_sample_quantiles,
    known_quantiles,
    sample_paths,
    share,
    templates,
)
from contracts import Calibration, NotEnoughHistory

STEPS = 4
LOW, MEDIAN, HIGH = (LEVELS.index(level) for level in (0.025, 0.5, 0.975))


def walk(count: int, seed: int = 0) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, count)))


def drawn(count: int, seed: int = 0) -> np.ndarray:
    """Errors (count, STEPS) that go together over the steps and widen with them."""
    rng = np.random.default_rng(seed)
    return rng.standard_t(4, (count, STEPS)).cumsum(axis=1)


def flat(level: float, scale: float = 0.02, steps: int = STEPS) -> Outlook:
    return Outlook(np.full((1, steps), level), scale * np.sqrt(np.arange(1.0, steps + 1))[None])


def test_the_rank_of_a_quantile_keeps_its_promise_on_few_errors():
    errors = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))  # rank of q is 100 q
    found = dict(zip(LEVELS, finite_sample_quantiles(errors), strict=True))
    assert (found[0.05], found[0.5], found[0.95]) == (5.0, 50.0, 95.0)
    assert (found[0.025], found[0.975]) == (2.0, 98.0)  # the nearest ranks outside 2.5 and 97.5


@given(st.integers(LEAST_ERRORS, 3000))
def test_each_band_leaves_out_no_more_ranks_than_it_may(count):
    ranks = finite_sample_quantiles(np.arange(1.0, count + 1))
    for below, above in ((0, -1), (2, -3)):  # 95 % and 80 %
        assert ranks[below] <= (count + 1) * LEVELS[below] + 1e-6
        assert ranks[above] >= (count + 1) * LEVELS[above] - 1e-6
    assert (np.diff(ranks) >= 0).all()
    assert ranks[0] + ranks[-1] == count + 1  # as far from one end as from the other


def test_too_few_errors_have_no_quantiles():
    with pytest.raises(NotEnoughHistory, match="only 38 known forecast errors where 39"):
        finite_sample_quantiles(np.zeros(LEAST_ERRORS - 1))
    assert finite_sample_quantiles(np.arange(39.0))[[LOW, HIGH]].tolist() == [0.0, 38.0]


def test_errors_match_the_obvious_loop():
    mids, origins = walk(60), np.arange(40, 59)
    rng = np.random.default_rng(1)
    outlook = Outlook(rng.uniform(50, 150, (19, STEPS)), rng.uniform(0.01, 0.1, (19, STEPS)))
    found = errors_of(outlook, mids, origins)
    for row, origin in enumerate(origins):
        for step in range(1, STEPS + 1):
            if origin + step >= 60:
                assert np.isnan(found[row, step - 1])
                continue
            point, scale = outlook.point[row, step - 1], outlook.scale[row, step - 1]
            expected = np.log(mids[origin + step] / point) / scale
            assert found[row, step - 1] == pytest.approx(expected)


def test_a_forecast_below_zero_is_wrong_by_any_width_once_its_outcome_is_known():
    outlook = Outlook(np.full((2, STEPS), -5.0), np.ones((2, STEPS)))
    found = errors_of(outlook, walk(60), np.array([10, 57]))
    assert (found[0] == np.inf).all()
    assert (found[1, :2] == np.inf).all() and np.isnan(found[1, 2:]).all()


def test_a_band_is_made_of_the_latest_known_errors_of_each_step():
    errors = drawn(300)
    errors[-10:, 3] = np.nan
    found = calibrate(errors, memory=100)
    assert (found.origins, found.levels, found.pooled) == (100, LEVELS, 0.0)
    np.testing.assert_array_equal(found.quantiles[0], finite_sample_quantiles(errors[-100:, 0]))
    np.testing.assert_array_equal(found.quantiles[3], finite_sample_quantiles(errors[190:290, 3]))


def test_errors_older_than_the_memory_are_forgotten():
    errors = drawn(MEMORY + 50)
    old = errors.copy()
    old[:50] = 99.0
    assert calibrate(old) == calibrate(errors)
    assert calibrate(old, memory=MEMORY + 50) != calibrate(errors, memory=MEMORY + 50)


def test_a_step_with_too_few_known_outcomes_has_no_quantiles():
    errors = drawn(50)
    errors[38:, 2] = np.nan
    found = calibrate(errors).quantiles
    assert [row is None for row in found] == [False, False, True, False]


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_a_pool_draws_each_step_towards_its_own_quantiles(weight):
    errors = drawn(200)
    others = np.sort(np.random.default_rng(9).normal(0, 3, (STEPS, len(LEVELS))), axis=1)
    mixed, own = calibrate(errors, Pool(others, weight)), calibrate(errors)
    expected = (1 - weight) * np.array(own.quantiles) + weight * others
    np.testing.assert_allclose(mixed.quantiles, expected)
    assert mixed.pooled == weight
    assert (np.diff(mixed.quantiles, axis=1) >= 0).all()


def obviously_known(errors, made_at, origin):
    rows = []
    for step in range(1, errors.shape[1] + 1):
        known = [
            e for at, e in zip(made_at, errors[:, step - 1], strict=True) if at + step <= origin
        ]
        rows.append(finite_sample_quantiles(np.array(known[-MEMORY:])))
    return rows


@pytest.mark.parametrize("pool", [None, Pool(np.zeros((STEPS, len(LEVELS))), 0.75)])
def test_known_quantiles_match_the_obvious_loop(pool):
    errors, made_at = drawn(1300), np.arange(70, 1370)
    origins = np.array([70 + LEAST_ERRORS + STEPS, 600, 1369, 1500])
    found = known_quantiles(errors, made_at, origins, pool)
    expected = np.array([obviously_known(errors, made_at, origin) for origin in origins])
    np.testing.assert_allclose(found, expected * (0.25 if pool else 1.0))


@pytest.mark.parametrize("origin", [150, 170])
def test_an_error_whose_outcome_is_later_than_the_origin_touches_no_band(origin):
    errors, made_at = drawn(300), np.arange(100, 400)
    later = (made_at[:, None] + np.arange(1, STEPS + 1)) > origin
    tampered = np.where(later, np.nan, errors)
    asked = np.array([origin])
    honest = known_quantiles(errors, made_at, asked)
    np.testing.assert_array_equal(known_quantiles(tampered, made_at, asked), honest)
    latest = ~later & np.roll(later, -1, axis=0)  # the last one known at each step does count
    moved = known_quantiles(np.where(latest, 1e6, errors), made_at, asked)
    assert (moved[0, :, HIGH] == 1e6).all()


def test_too_few_known_errors_make_no_band():
    errors, made_at = drawn(300), np.arange(100, 400)
    enough = 100 + LEAST_ERRORS + STEPS - 1
    known_quantiles(errors, made_at, np.array([enough]))
    with pytest.raises(NotEnoughHistory, match="known forecast errors"):
        known_quantiles(errors, made_at, np.array([enough - 1]))


def test_a_band_is_the_forecast_moved_by_its_quantiles():
    calibration, outlook = calibrate(drawn(300)), flat(50.0)
    found = bands_of(calibration, outlook)
    assert set(found) == {"80", "95"}
    table = np.array(calibration.quantiles)
    for name, (low, high) in {"80": (0.1, 0.9), "95": (0.025, 0.975)}.items():
        sides = (found[name].lower, found[name].upper)
        for side, level in zip(sides, (low, high), strict=True):
            expected = 50 * np.exp(outlook.scale[0] * table[:, LEVELS.index(level)])
            np.testing.assert_allclose(side, expected)


@pytest.mark.parametrize("bias", [-9.0, 0.0, 9.0])
def test_a_band_always_holds_its_own_forecast(bias):
    found = bands_of(calibrate(drawn(300) + bias), flat(50.0))
    for band in found.values():
        assert all(0 < low <= 50 <= up for low, up in zip(band.lower, band.upper, strict=True))
    narrow, wide = found["80"], found["95"]
    assert all(w <= n for w, n in zip(wide.lower, narrow.lower, strict=True))
    assert all(w >= n for w, n in zip(wide.upper, narrow.upper, strict=True))


def test_a_shorter_forecast_needs_the_quantiles_of_its_own_steps_only():
    known = calibrate(drawn(300)).quantiles
    gap = Calibration(origins=300, levels=LEVELS, quantiles=(*known[:2], None, known[3]))
    assert set(bands_of(gap, flat(50.0, steps=2))) == {"80", "95"}
    assert bands_of(gap, flat(50.0, steps=3)) == {}
    assert bands_of(gap, flat(50.0, steps=5)) == {}


def test_bands_cover_later_outcomes_as_promised():
    mids = walk(4000, seed=3)
    origins = np.arange(0, 3990)
    still = Outlook(np.repeat(mids[origins][:, None], STEPS, axis=1), np.ones((3990, STEPS)))
    early = slice(0, 1500)
    found = calibrate(errors_of(still.at(early), mids, origins[early]))
    for level, (low, high) in {0.8: (0.1, 0.9), 0.95: (0.025, 0.975)}.items():
        row = dict(zip(LEVELS, found.quantiles[STEPS - 1], strict=True))
        moves = np.log(mids[origins + STEPS] / mids[origins])[1510:]
        inside = (row[low] <= moves) & (moves <= row[high])
        assert inside.mean() == pytest.approx(level, abs=0.04)


@pytest.mark.parametrize("count", [39, 99, 400])
def test_templates_have_the_calibrated_quantiles_at_every_step(count):
    errors = drawn(count)
    pool = Pool(np.sort(np.random.default_rng(4).normal(1, 3, (STEPS, len(LEVELS))), axis=1), 0.5)
    calibration = calibrate(errors, pool)
    rows = templates(errors, calibration)
    assert rows.shape == errors.shape
    for step in range(STEPS):
        np.testing.assert_allclose(
            finite_sample_quantiles(rows[:, step]), calibration.quantiles[step], atol=1e-12
        )


def test_templates_keep_what_went_together():
    errors = drawn(400)
    pool = Pool(np.sort(np.random.default_rng(4).normal(1, 3, (STEPS, len(LEVELS))), axis=1), 0.5)
    rows = templates(errors, calibrate(errors, pool))
    for step in range(STEPS - 1):
        before, after = (spearmanr(side[:, step], side[:, step + 1])[0] for side in (errors, rows))
        assert after == pytest.approx(before, abs=1e-9)
        assert after > 0.5


def test_templates_of_ones_own_errors_are_those_errors():
    errors = drawn(200)
    np.testing.assert_allclose(templates(errors, calibrate(errors)), errors)


def test_templates_are_the_latest_origins_with_every_outcome_known():
    errors = drawn(300)
    errors[-5:, 3] = np.nan
    rows = templates(errors, calibrate(errors), memory=100)
    assert len(rows) == 100
    order = np.argsort(errors[195:295, 0])
    assert (np.diff(rows[order, 0]) >= 0).all()


def test_too_few_whole_origins_make_no_template():
    errors = drawn(300)
    errors[38:, 3] = np.nan
    assert templates(errors, calibrate(errors)).shape == (0, STEPS)


def test_every_sampled_path_is_positive_and_fits_its_band():
    errors, outlook = drawn(400), flat(50.0, scale=0.5)
    calibration = calibrate(errors)
    paths = sample_paths(outlook, templates(errors, calibration))
    assert paths.shape == (400, STEPS) and (paths > 0).all()
    band = bands_of(calibration, outlook)["80"]
    inside = (paths >= np.array(band.lower)) & (paths <= np.array(band.upper))
    np.testing.assert_allclose(inside.mean(axis=0), 0.8, atol=0.01)


def test_a_shorter_outlook_uses_the_first_steps_of_each_path():
    rows = drawn(50)
    np.testing.assert_array_equal(
        sample_paths(flat(50.0, steps=2), rows), sample_paths(flat(50.0), rows)[:, :2]
    )


@given(st.lists(st.booleans(), min_size=1, max_size=500))
def test_a_share_is_never_certain_and_leaves_the_rest_to_its_opposite(met):
    hits = np.array(met)
    assert 0 < share(hits) < 1
    assert share(hits) + share(~hits) == pytest.approx(1)
    assert share(hits) == pytest.approx((sum(met) + 0.5) / (len(met) + 1))


def test_some_origins_of_an_outlook_are_those_rows():
    outlook = Outlook(np.arange(12.0).reshape(3, 4), np.ones((3, 4)))
    assert outlook.at(np.array([2, 0])).point[:, 0].tolist() == [8.0, 0.0]
    assert outlook.at(slice(1, None)).scale.shape == (2, 4)


def test_the_quantiles_hold_both_bands_and_the_referees_levels():
    assert tuple(sorted(LEVELS)) == LEVELS
    assert {level for pair in bands.OF_BAND.values() for level in pair} <= set(LEVELS)


def test_forecasts_that_left_the_positive_prices_are_not_forgotten():
    errors = np.random.default_rng(0).normal(size=(200, 3))
    errors[:60, 1] = np.inf  # 30 % were wrong by any width: no band can promise 80 %
    errors[:1, 2] = np.inf  # one in 200 leaves every quantile that is asked for finite
    found = calibrate(errors)
    assert found.quantiles[0] is not None and found.quantiles[2] is not None
    assert found.quantiles[1] is None
    assert len(templates(errors, found)) == 0  # no whole path can be told
