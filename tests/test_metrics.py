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


LEVELS = np.array(metrics.QUANTILES)
FAN = FORECAST[:, None] + 2 * np.linspace(-1.6, 1.6, 19)


def test_there_are_nineteen_quantiles():
    assert metrics.QUANTILES[0] == 0.05
    assert metrics.QUANTILES[-1] == 0.95
    assert len(metrics.QUANTILES) == 19


def test_pinball_matches_its_naive_twin_and_scikit_learn():
    from sklearn.metrics import mean_pinball_loss

    losses = metrics.pinball(ACTUAL, FAN, LEVELS)
    for column, level in enumerate(LEVELS):
        naive = [
            level * (a - q) if a >= q else (1 - level) * (q - a)
            for a, q in zip(ACTUAL, FAN[:, column], strict=True)
        ]
        np.testing.assert_allclose(losses[:, column], naive)
        library = mean_pinball_loss(ACTUAL, FAN[:, column], alpha=level)
        assert losses[:, column].mean() == pytest.approx(library)


def test_crps_of_many_quantiles_is_the_gaussian_closed_form():
    from scipy.stats import norm

    levels = (np.arange(999) + 0.5) / 999
    z = (ACTUAL - FORECAST) / 2
    closed = 2 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi))
    fan = FORECAST[:, None] + 2 * norm.ppf(levels)
    np.testing.assert_allclose(metrics.crps(ACTUAL, fan, levels), closed, rtol=0.01, atol=0.002)


def test_winkler_is_the_width_plus_a_fine_for_missing():
    scores = metrics.winkler(
        np.array([5.0, 1.0, 12.0]), np.full(3, 2.0), np.full(3, 10.0), level=0.8
    )
    np.testing.assert_allclose(scores, [8, 8 + 10 * 1, 8 + 10 * 2])


def test_mase_and_r2_match_their_naive_twins():
    scale = float(np.mean(np.abs(np.diff(ACTUAL))))
    naive = np.mean([abs(a - f) for a, f in zip(ACTUAL, FORECAST, strict=True)]) / scale
    assert metrics.mase(ACTUAL, FORECAST, scale) == pytest.approx(naive)
    spread = sum((a - ACTUAL.mean()) ** 2 for a in ACTUAL)
    lost = sum((a - f) ** 2 for a, f in zip(ACTUAL, FORECAST, strict=True))
    assert metrics.r2(ACTUAL, FORECAST) == pytest.approx(1 - lost / spread)
    assert math.isnan(metrics.mase(ACTUAL, FORECAST, 0.0))


@pytest.mark.parametrize("lags", [0, 3, 12])
def test_the_long_run_variance_is_that_of_statsmodels(lags):
    from statsmodels.api import OLS

    noise = np.random.default_rng(2).normal(size=300)
    values = noise + 0.6 * np.concatenate([[0.0], noise[:-1]])
    fitted = OLS(values, np.ones(300)).fit(cov_type="HAC", cov_kwds={"maxlags": lags})
    ours = math.sqrt(metrics.long_run_variance(values, lags) / 300)
    assert ours == pytest.approx(fitted.bse[0], rel=1e-9)


def test_overlapping_horizons_do_not_make_noise_significant():
    rng = np.random.default_rng(11)
    rejected = []
    for _ in range(300):
        days = rng.normal(size=(2, 420))
        paths = np.array([np.convolve(row, np.ones(20), "valid") for row in days])
        rejected.append(metrics.equal_accuracy(paths[0] ** 2, paths[1] ** 2, horizon=20) < 0.05)
    assert np.mean(rejected) < 0.12  # without the lags it is above 0.4


def test_a_block_bootstrap_of_one_block_length_one_is_the_plain_one():
    losses = np.random.default_rng(4).exponential(size=(500, 1))
    means = metrics.block_means(losses, 1, 4000, seed=0)
    assert means.std() == pytest.approx(losses.std() / math.sqrt(500), rel=0.05)
    assert means.mean() == pytest.approx(losses.mean(), rel=0.01)


def test_block_means_match_the_obvious_loop():
    losses = np.random.default_rng(5).normal(size=(23, 2))
    means = metrics.block_means(losses, 5, 3, seed=9)
    starts = np.random.default_rng(9).integers(0, 23, size=(3, 5))
    for draw in range(3):
        rows = [losses[(start + k) % 23] for start in starts[draw] for k in range(5)]
        np.testing.assert_allclose(means[draw], np.mean(rows, axis=0))


def test_a_ratio_interval_holds_the_true_ratio_about_as_often_as_it_says():
    rng, held = np.random.default_rng(6), 0
    for draw in range(200):
        ours, theirs = rng.exponential(1.1, 300), rng.exponential(1.0, 300)
        low, high = metrics.ratio_interval(ours, theirs, block=5, seed=draw)
        held += low <= 1.1 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_a_baseline_that_loses_nothing_has_no_ratio():
    assert all(math.isnan(v) for v in metrics.ratio_interval(np.ones(20), np.zeros(20), block=2))
