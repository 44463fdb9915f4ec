"""Every score against a naive twin, or against what it must say of a known case."""

import math

import numpy as np
import pytest

import metrics

RNG = np.random.default_rng(1)
ACTUAL = 100 + RNG.normal(0, 3, 200).cumsum()
FORECAST = ACTUAL + RNG.normal(0, 2, 200)
LAST = np.concatenate([[100.0], ACTUAL[:-1]])


def test_errors_match_their_naive_twins():
    gaps = [f - a for f, a in zip(FORECAST, ACTUAL, strict=True)]
    assert metrics.mse(ACTUAL, FORECAST) == pytest.approx(sum(g * g for g in gaps) / len(gaps))
    assert metrics.mae(ACTUAL, FORECAST) == pytest.approx(sum(abs(g) for g in gaps) / len(gaps))
    assert metrics.rmse(ACTUAL, FORECAST) == pytest.approx(math.sqrt(metrics.mse(ACTUAL, FORECAST)))


def test_direction_is_measured_from_the_last_known_price():
    rows = zip(LAST, ACTUAL, FORECAST, strict=True)
    hits = [(f > last) == (a > last) for last, a, f in rows]
    assert metrics.direction_accuracy(LAST, ACTUAL, FORECAST) == pytest.approx(np.mean(hits))


def test_a_forecast_wrong_by_fifty_every_day_fools_only_the_specifications_form():
    wrong = ACTUAL - 50
    assert metrics.direction_accuracy_spec(ACTUAL, wrong) == 1.0
    assert metrics.direction_accuracy(LAST, ACTUAL, wrong) == pytest.approx(np.mean(ACTUAL < LAST))


def test_repeating_the_last_price_names_no_direction():
    assert math.isnan(metrics.direction_accuracy(LAST, ACTUAL, LAST))


def test_days_without_a_move_are_left_out():
    last = np.array([10.0, 10.0])
    score = metrics.direction_accuracy(last, np.array([10.0, 11.0]), np.array([12.0, 12.0]))
    assert score == 1.0


def newey_west_p(errors, others):
    """Diebold-Mariano written out term by term for horizon 1."""
    loss = [e * e - o * o for e, o in zip(errors, others, strict=True)]
    n, mean = len(loss), sum(loss) / len(loss)
    lags = int(n ** (1 / 3))
    variance = sum((d - mean) ** 2 for d in loss) / n
    for k in range(1, lags + 1):
        gamma = sum((loss[i] - mean) * (loss[i - k] - mean) for i in range(k, n)) / n
        variance += 2 * (1 - k / (lags + 1)) * gamma
    from scipy.stats import t

    return 2 * t.sf(abs(mean / math.sqrt(variance / n) * math.sqrt((n - 1) / n)), n - 1)


def test_diebold_mariano_matches_its_naive_twin():
    errors, others = RNG.normal(0, 1.2, 150), RNG.normal(0, 1, 150)
    assert metrics.diebold_mariano(errors, others) == pytest.approx(newey_west_p(errors, others))


def test_diebold_mariano_rejects_about_as_often_as_it_says():
    draws = np.random.default_rng(7).normal(size=(400, 2, 250))
    rejected = [metrics.diebold_mariano(a, b) < 0.05 for a, b in draws]
    assert 0.02 <= np.mean(rejected) <= 0.09


def test_equal_forecasts_and_tiny_samples_are_no_evidence():
    errors = RNG.normal(size=100)
    assert metrics.diebold_mariano(errors, errors) == 1.0
    assert metrics.diebold_mariano(errors[:5], errors[5:10]) == 1.0


@pytest.mark.parametrize(("count", "level"), [(30, 0.9), (99, 0.8), (292, 0.95)])
def test_a_conformal_width_covers_what_it_promises(count, level):
    rng = np.random.default_rng(count)
    covered = []
    for _ in range(2000):
        scores = np.abs(rng.normal(size=count + 1))
        width = metrics.conformal_width(scores[:count], level)
        covered.append(scores[count] <= width)
    assert level - 0.02 <= np.mean(covered) <= level + 1 / count + 0.02


def test_too_few_scores_give_no_finite_band():
    assert metrics.conformal_width(np.ones(8), 0.9) is None
    assert metrics.conformal_width(np.array([1.0, 3.0, 2.0, 5.0]), 0.8) == 5.0
    assert metrics.conformal_width(np.array([1.0, np.inf, np.inf, np.inf]), 0.8) is None


def test_coverage_counts_the_edges():
    actual = np.array([1.0, 2.0, 3.0, 4.0])
    assert metrics.coverage(actual, np.full(4, 2.0), np.full(4, 3.0)) == 0.5


@pytest.mark.parametrize(
    ("ratio", "p", "words"),
    [
        (3.0, 0.001, "worse than the last price"),
        (0.9, 0.001, "better than the last price"),
        (0.9, 0.3, "no better than the last price"),
        (1.1, 0.3, "no better than the last price"),
    ],
)
def test_the_verdict_claims_only_what_is_significant(ratio, p, words):
    assert metrics.verdict(ratio, p) == words
