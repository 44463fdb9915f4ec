"""The gate judges bands beside points: CRPS of fans, against last_close and the champion."""

import numpy as np
import pytest

from contracts import NotEnoughHistory
from metrics import QUANTILES
from referee import (
    BASELINE,
    MIN_JUDGED,
    NOISE,
    STEPS,
    JudgedFans,
    JudgedRows,
    fan_losses,
    gate,
    judge,
)

COUNT = 400


def judged_rows(sizes: dict[str, float], count: int = COUNT) -> JudgedRows:
    """Rows on which each model errs by the same Gaussian noise, times a size of its own."""
    rng = np.random.default_rng(3)
    actual = 100 + rng.normal(0, 1, count).cumsum()
    noise = rng.normal(0, 1, count)
    forecasts = {name: actual + size * noise for name, size in sizes.items()}
    return JudgedRows(
        last_mid=np.concatenate([[100.0], actual[:-1]]),
        last_close=forecasts[BASELINE],
        actual=actual,
        lo=np.full(count, 50.0),
        hi=np.full(count, 150.0),
        forecasts=forecasts,
    )


def judged_fans(sizes: dict[str, float], count: int = COUNT) -> JudgedFans:
    """Losses that are the same noise for every model, times a size of its own."""
    noise = np.random.default_rng(4).uniform(0.9, 1.1, count)
    return JudgedFans(np.arange(count), {name: size * noise for name, size in sizes.items()})


LEVEL = {"lstm": 1.0, "champion": 1.0, BASELINE: 1.0}


def obvious_fan_loss(mids, origin, quantiles):
    """Mean over the steps of twice the mean pinball loss, over the last mid."""
    losses = []
    for step, row in enumerate(quantiles, start=1):
        gaps = [mids[origin + step] - q for q in row]
        pinball = [max(p * g, (p - 1) * g) for p, g in zip(QUANTILES, gaps, strict=True)]
        losses.append(2 * sum(pinball) / len(pinball))
    return sum(losses) / len(losses) / mids[origin]


def test_fan_losses_match_the_obvious_loop():
    rng = np.random.default_rng(1)
    mids, origins = rng.uniform(50, 150, 80), np.array([0, 17, 49])
    quantiles = np.sort(rng.uniform(50, 150, (3, STEPS, len(QUANTILES))), axis=2)
    expected = [obvious_fan_loss(mids, o, q) for o, q in zip(origins, quantiles, strict=True)]
    np.testing.assert_allclose(fan_losses(mids, origins, quantiles), expected)


def test_a_fan_that_is_right_and_certain_loses_nothing():
    mids = np.arange(50.0, 100.0)
    sure = np.repeat((mids[4 : 4 + STEPS])[None, :, None], len(QUANTILES), axis=2)
    assert fan_losses(mids, np.array([3]), sure).tolist() == [0.0]


def test_chosen_fans_keep_their_origins_beside_the_champions():
    fans, chosen = judged_fans({"lstm": 1.2, BASELINE: 1.0}), np.arange(COUNT) >= 300
    champion = np.full(100, 3.0)
    kept = fans.only(chosen, {"champion": champion})
    assert kept.origins.tolist() == list(range(300, 400))
    np.testing.assert_array_equal(kept.losses["lstm"], fans.losses["lstm"][300:])
    assert kept.losses["champion"] is champion
    assert set(fans.losses) == {"lstm", BASELINE}


def test_a_ratio_is_of_mean_losses():
    fans = JudgedFans(np.arange(2), {"lstm": np.array([1.0, 3.0]), BASELINE: np.array([4.0, 1.0])})
    assert fans.ratio("lstm", BASELINE) == pytest.approx(4 / 5)


@pytest.mark.parametrize(("ours", "ratio"), [(0.0, 1.0), (0.1, 1e9)])
def test_a_baseline_that_loses_nothing_makes_no_division(ours, ratio):
    assert judged_fans({"lstm": ours, BASELINE: 0.0}).ratio("lstm", BASELINE) == ratio


def test_losses_that_share_days_need_more_origins_to_differ():
    origins = np.arange(60)
    clustered = 1 + 0.5 * np.sin(origins / 15)  # a month of luck, then a month without
    fans = JudgedFans(origins, {"lstm": clustered, BASELINE: np.ones(60)})
    apart = np.random.default_rng(2).permutation(clustered)
    mixed = JudgedFans(np.arange(600), {"lstm": np.tile(apart, 10), BASELINE: np.ones(600)})
    assert fans.p_value("lstm", BASELINE) > 0.05 > mixed.p_value("lstm", BASELINE)


def test_a_skill_says_how_the_bands_did():
    rows, fans = judged_rows(LEVEL), judged_fans({"lstm": 0.9, BASELINE: 1.0})
    skill = judge(rows, "lstm", fans)
    assert skill.crps_ratio == pytest.approx(0.9)
    assert skill.crps_p_value == fans.p_value("lstm", BASELINE) < 0.05
    without = judge(rows, "lstm")
    assert (without.crps_ratio, without.crps_p_value) == (None, None)
    assert without.rmse_ratio == skill.rmse_ratio


def test_too_few_rows_allow_no_judgement_whatever_the_bands():
    with pytest.raises(NotEnoughHistory, match="held-out sessions"):
        judge(judged_rows(LEVEL, MIN_JUDGED - 1), "lstm", judged_fans(LEVEL))


@pytest.mark.parametrize(
    ("points", "bands", "promoted"),
    [
        ((1.0, 1.0), (1.0, 1.0), True),  # the same twice
        ((0.9, 1.0), (0.9, 1.0), True),  # better twice
        ((0.9, 1.0), (1.1, 1.0), False),  # better points do not pay for worse bands
        ((1.1, 1.0), (0.9, 1.0), False),  # nor better bands for worse points
        ((1.0, 1.0), (1.2, 1.3), True),  # both lag behind the last close, the new one less so
        ((1.2, 1.3), (1.0, 1.0), True),
    ],
)
def test_the_gate_lets_nothing_worse_through(points, bands, promoted):
    rows = judged_rows({"lstm": points[0], "champion": points[1], BASELINE: 1.0})
    fans = judged_fans({"lstm": bands[0], "champion": bands[1], BASELINE: 1.0})
    ruling = gate(rows, "champion", fans)
    assert ruling.promoted is promoted
    assert f"CRPS {bands[0]:.4f} against {bands[1]:.4f}" in ruling.reason


@pytest.mark.parametrize(("over", "promoted"), [(0.5, True), (1.5, False)])
@pytest.mark.parametrize("side", ["points", "bands"])
def test_noise_is_forgiven_and_no_more(side, over, promoted):
    nearly = {**LEVEL, "lstm": 0.9 * (1 + over * (NOISE - 1)), "champion": 0.9}
    rows = judged_rows(nearly if side == "points" else LEVEL)
    fans = judged_fans(nearly if side == "bands" else LEVEL)
    assert gate(rows, "champion", fans).promoted is promoted


@pytest.mark.parametrize("side", ["points", "bands"])
def test_what_falls_behind_the_last_close_within_the_noise_is_still_refused(side):
    """A step at a time, each within the noise, no model may slide behind the last close."""
    slid = {"lstm": 1.0004, "champion": 1.0, BASELINE: 1.0}
    rows = judged_rows(slid if side == "points" else LEVEL)
    fans = judged_fans(slid if side == "bands" else LEVEL)
    ruling = gate(rows, "champion", fans)
    assert not ruling.promoted
    assert ruling.reason.startswith("significantly worse than the last price")


def test_a_first_champion_is_published_whatever_its_bands():
    fans = judged_fans({"lstm": 9.0, BASELINE: 1.0})
    assert gate(judged_rows({"lstm": 1.0, BASELINE: 1.0}), None, fans).promoted


@pytest.mark.parametrize("fans", [None, judged_fans({**LEVEL, "lstm": 9.0}, MIN_JUDGED - 1)])
def test_too_few_fans_leave_the_points_to_decide(fans):
    ruling = gate(judged_rows(LEVEL), "champion", fans)
    assert ruling.promoted
    assert "CRPS" not in ruling.reason


def test_too_few_common_rows_keep_the_champion():
    ruling = gate(judged_rows(LEVEL, 12), "champion", judged_fans(LEVEL))
    assert not ruling.promoted
    assert "only 12 sessions" in ruling.reason
