"""The daily procedure: what is measured, what chance does to it, what it finds and when."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from watched_days import from_session, raw_days, span

from contracts import NotEnoughHistory
from watching import calibration, measures
from watching.calibration import (
    FALSE_ALARMS,
    Blocks,
    calibrate,
    false_alarm_rate,
    joint_thresholds,
)
from watching.distances import distance, distances, many_distances, ratios
from watching.episodes import CONSECUTIVE, COOL_DOWN, raised, ranks
from watching.kept import kept, key_of
from watching.measures import LONGEST, run_lengths
from watching.reasons import summarise
from watching.replays import replay
from watching.samples import Samples, page_of, reasons_of, samples_of

TRAIN, TEST = 800, 300  # sessions of training, then of test; what follows is new


def gathered(days: pd.DataFrame, kept_days: pd.DataFrame | None = None) -> Samples:
    known = (days if kept_days is None else kept_days)[: TRAIN + TEST]
    spans = span(known[:TRAIN]), span(known[TRAIN:])
    return samples_of(known, days, spans)


@pytest.fixture(scope="module")
def calm():
    """1,300 sessions of one process, and what they allow."""
    days = raw_days(1, 1300)
    return days, calibrate(gathered(days).references, 0)


def replayed(days: pd.DataFrame, calm) -> tuple[Samples, object]:
    samples = gathered(days, calm[0])
    return samples, replay(samples.references, samples.days, calm[1].thresholds)


def found_after(days: pd.DataFrame, calm, first: int) -> tuple[str, int]:
    """Which feature raises the first alarm from a session on, and how many sessions it took."""
    _, run = replayed(days, calm)
    at = [day >= days["date"][first].date() for day in run.dates].index(True)
    session = int(np.flatnonzero(run.raised[at:])[0])
    strain = {name: run.distances[name][at + session] / run.limits[name] for name in run.limits}
    worst = max(strain, key=lambda name: strain[name])
    return worst, session + 1


def test_the_distance_is_the_area_between_the_two_distributions():
    reference, current = np.arange(10.0), np.arange(10.0) + 3
    assert distance(reference, current) == pytest.approx(3 / reference.std())
    assert distance(reference, reference) == 0
    assert distance(np.zeros(30), np.full(30, 0.01)) == pytest.approx(10)  # a constant has a unit


def test_the_fast_distance_is_that_of_evidently_within_two_per_cent():
    rng = np.random.default_rng(0)
    series, reference = rng.standard_t(4, 90), rng.normal(size=700)
    exact = distances(series, reference, 20)
    fast = many_distances(series[None], reference[None], 20)[0]
    np.testing.assert_allclose(fast, exact, rtol=0.02)


def test_a_ratio_of_errors_is_that_of_the_rmse_now_over_then():
    own, baseline = np.random.default_rng(0).random((2, 50))
    now = np.sqrt(own[-20:].mean() / baseline[-20:].mean())
    assert ratios(own, baseline, 0.9, 20)[-1] == pytest.approx(now / 0.9)


@pytest.mark.parametrize(("flags", "runs"), [([0, 1, 1, 0, 1], [0, 1, 2, 0, 1]), ([1, 1], [1, 2])])
def test_runs_are_counted_up_to_each_position(flags, runs):
    assert run_lengths(np.array(flags, dtype=bool)).tolist() == runs


def test_nothing_after_a_session_touches_its_measures():
    days = raw_days(0, 200)
    tampered = from_session(days, 150, range=9.0, volume=5.0, prediction=2.0)
    before, after = (measures.measures(table)[:150] for table in (days, tampered))
    pd.testing.assert_frame_equal(before, after)


def test_measures_hold_no_price_level():
    days = raw_days(0, 100)
    prices = ["last_mid", "last_close", "prediction", "actual"]
    dearer = days.assign(**{name: 100 * days[name] for name in prices})
    pd.testing.assert_frame_equal(measures.measures(days), measures.measures(dearer))


def test_blocks_keep_neighbours_together_and_stay_inside():
    drawn = Blocks(rows=100, length=7).draw(np.random.default_rng(0), 3, 1000)
    assert (drawn.shape, drawn.min(), drawn.max()) == ((3, 1000), 0, 99)
    whole = drawn[:, :994].reshape(-1, 7)
    np.testing.assert_array_equal(whole - whole[:, :1], np.tile(np.arange(7), (len(whole), 1)))


@pytest.mark.parametrize("alpha", [0.025, 0.1])
def test_joint_thresholds_are_passed_by_the_chosen_share_of_draws(alpha):
    rng = np.random.default_rng(1)
    shared = rng.exponential(size=(4000, 1))
    chance = np.hstack([shared, shared + rng.normal(size=(4000, 1)), rng.normal(size=(4000, 1))])
    passed = (chance > joint_thresholds(chance, alpha, np.ones(3))).any(axis=1).mean()
    assert alpha * 0.85 <= passed <= alpha


def test_a_column_of_three_times_the_weight_is_passed_three_times_as_often():
    chance = np.random.default_rng(0).random((20_000, 2))
    limits = joint_thresholds(chance, 0.04, np.array([3.0, 1.0]))
    np.testing.assert_allclose((chance > limits).mean(axis=0), [0.03, 0.01], atol=0.0015)


def flags(text: str) -> np.ndarray:
    return np.array([letter == "x" for letter in text])


def test_an_alarm_waits_for_consecutive_sessions_of_one_feature():
    rank = ranks({"return": flags("x.xxxx."), "range": flags(".x....x")})
    assert rank.tolist() == [1, 1, 1, 1, 2, 2, 1]


def test_a_broken_feed_does_not_wait():
    assert ranks({"repeated": flags(".x"), "range": flags("..")}).tolist() == [0, 3]


def test_an_alarm_that_stands_is_raised_again_only_after_the_cool_down():
    new = raised(np.full(COOL_DOWN + 5, 2))
    assert np.flatnonzero(new).tolist() == [0, COOL_DOWN]


def test_something_worse_is_raised_during_the_cool_down():
    assert raised(np.array([2, 0, 3, 2, 3])).tolist() == [True, False, True, False, False]


def test_the_same_rule_holds_for_many_paths_at_once():
    rank = np.random.default_rng(0).integers(0, 4, (5, 80))
    np.testing.assert_array_equal(raised(rank), [raised(path) for path in rank])


def test_the_stated_rate_is_that_of_other_draws_and_no_more_than_allowed(calm):
    days, calibrated = calm
    assert 0 < calibrated.false_alarms <= FALSE_ALARMS
    again = calibration.drawn(gathered(days).references, np.random.default_rng(99))
    assert false_alarm_rate(again, calibrated.thresholds) <= 1.6 * FALSE_ALARMS


def test_a_calibration_is_the_same_for_the_same_seed(calm):
    days, calibrated = calm
    assert calibrate(gathered(days).references, 0) == calibrated
    assert calibrate(gathered(days).references, 1) != calibrated


def alarm_months(seeds: range) -> float:
    """Share of months of new sessions with an alarm: one process all along, other draws of it."""
    months = []
    for seed in seeds:
        days = raw_days(seed, TRAIN + TEST + LONGEST + 210)
        samples = gathered(days)
        limits = calibrate(samples.references, 0).thresholds
        new = replay(samples.references, samples.days, limits).raised[-210:]
        months += new.reshape(-1, 21).any(axis=1).tolist()
    return float(np.mean(months))


def test_one_process_all_along_seldom_raises_an_alarm():
    assert alarm_months(range(100, 106)) <= 0.12


@pytest.mark.long
def test_one_process_all_along_raises_an_alarm_in_few_months():
    assert alarm_months(range(200, 260)) <= 0.08


@pytest.mark.parametrize(
    ("change", "within"),
    [
        ({"return": 2.0, "range": 2.0, "gap": 2.0}, 30),
        ({"gap": 4.0}, 40),
        ({"range": 1 / 3}, 30),
    ],
    ids=["volatility", "gaps", "narrow ranges"],
)
def test_a_lasting_change_is_found(calm, change, within):
    changed = from_session(calm[0], 1150, **change)
    assert found_after(changed, calm, 1150)[1] <= within


def test_volume_that_triples_is_found(calm):
    days = calm[0].copy()
    days.loc[1150:, "volume"] += np.log(3)
    feature, sessions = found_after(days, calm, 1150)
    assert (feature, sessions <= 30) == ("volume", True)


def test_a_worse_model_is_found_though_the_market_is_calm(calm):
    days = calm[0].copy()
    days.loc[1150:, "prediction"] = raw_days(1, 1300, error=2.0)["prediction"][1150:]
    feature, sessions = found_after(days, calm, 1150)
    assert (feature, sessions <= 45) == ("rmse_ratio", True)


def test_a_repeated_bar_is_critical_on_its_first_day(calm):
    days = calm[0].copy()
    days.loc[1299, ["return", "range"]] = 0.0, days.loc[1298, "range"]
    _, run = replayed(days, calm)
    assert (run.severity, run.episode) == ("critical", days["date"][1299].date())


def test_a_price_in_other_units_is_critical_on_its_first_day(calm):
    days = calm[0].copy()
    days.loc[1299, "return"] += np.log(100)
    samples, run = replayed(days, calm)
    assert run.severity == "critical"
    assert "changed 100-fold" in reasons_of(samples, run)["jump"]


def test_as_of_a_past_day_the_check_says_what_the_replay_says(calm):
    days = from_session(calm[0], 1200, range=2.5)
    _, whole = replayed(days, calm)
    _, cut = replayed(days[:1240], calm)
    at = len(cut.dates)
    assert whole.dates[:at] == cut.dates
    np.testing.assert_array_equal(whole.rank[:at], cut.rank)
    np.testing.assert_array_equal(whole.raised[:at], cut.raised)
    assert cut.severity == "alarm"


def test_sessions_are_counted_not_calls(calm):
    days = from_session(calm[0], 1200, range=2.5)
    runs = [replayed(days[:last], calm)[1].consecutive["range"] for last in (1240, 1240, 1245)]
    assert runs[1] == runs[0]
    assert runs[2] == runs[0] + 5


def test_what_moved_is_said_with_its_size(calm):
    samples, run = replayed(from_session(calm[0], 1200, range=2.5), calm)
    reason = reasons_of(samples, run)["range"]
    assert reason.startswith("daily ranges are 2.")
    assert reason.endswith(f"for {run.consecutive['range']} sessions")


def test_the_summary_states_what_an_alarm_is_worth():
    text = summarise("none", (), 0.031, None)
    assert text.endswith("Chance alone raises an alarm in 3.1% of months.")
    assert summarise("none", (), 0.031, "a split undone").startswith("Feed quarantined")


def test_a_bundle_without_gaps_and_volume_is_watched_by_the_rest(calm):
    old = calm[0].drop(columns=["gap", "volume"])
    samples = gathered(calm[0], old)
    limits = calibrate(samples.references, 0).thresholds
    assert {"gap", "volume"} & set(limits) == set()
    run = replay(samples.references, samples.days, limits)
    assert {"return", "range", "target"} <= set(run.distances)


def test_every_session_after_training_is_replayed(calm):
    samples, run = replayed(calm[0], calm)
    assert run.dates[0] == calm[0]["date"][TRAIN].date()
    assert len(run.dates) == 1300 - TRAIN
    assert [row.session for row in run.history(3)] == list(run.dates[-3:])


def test_the_page_shows_each_feature_only_its_own_window(calm):
    reference, recent = page_of(gathered(calm[0]))
    assert recent.notna().sum().to_dict()["range"] == 20
    assert recent.notna().sum().to_dict()["return"] == LONGEST
    assert len(reference) == TRAIN - calibration.WARM_UP


def test_a_reference_that_is_too_short_is_refused(calm):
    days = raw_days(0, 120)
    with pytest.raises(NotEnoughHistory, match="unseen reference rows"):
        calibrate(samples_of(days, days, (span(days[:80]), span(days[80:110]))).references, 0)


def test_without_sessions_after_training_there_is_nothing_to_check():
    days = raw_days(0, 120)
    with pytest.raises(NotEnoughHistory, match="sessions of forecasts"):
        samples_of(days, days, (span(days), span(days)))


def test_a_calibration_is_made_once_per_reference(calm, tmp_path):
    days, calibrated = calm
    references, path = gathered(days).references, tmp_path / "drift" / "AAPL.json"
    key = key_of(references, 0)
    assert kept(path, key, lambda: calibrated) == calibrated
    assert kept(path, key, lambda: pytest.fail("made again")) == calibrated
    assert key_of(references, 1) != key


def test_a_damaged_calibration_is_made_anew(calm, tmp_path):
    (path := tmp_path / "AAPL.json").write_text('["key", {"thresholds"')
    assert kept(path, "key", lambda: calm[1]) == calm[1]
    assert kept(path, "key", lambda: pytest.fail("made again")) == calm[1]


def test_the_rate_counts_months_with_an_alarm():
    paths = {"return": np.zeros((2, CONSECUTIVE - 1 + 42)), "repeated": np.zeros((2, 44))}
    paths["repeated"][0, 10] = 1.0
    assert false_alarm_rate(paths, {"return": 1.0, "repeated": 0.5}) == 0.25
