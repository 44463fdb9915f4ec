"""The referee: scores, bands and the gate."""

import numpy as np
import pytest

from contracts import NotEnoughHistory
from referee import JudgedRows, gate, judge, score_one_step

RNG = np.random.default_rng(3)


def judged(noise: dict[str, float], count: int = 200) -> JudgedRows:
    """Rows on which each model errs by Gaussian noise of a stated size."""
    actual = 100 + RNG.normal(0, 1, count).cumsum()
    last = np.concatenate([[100.0], actual[:-1]])
    forecasts = {name: actual + RNG.normal(0, size, count) for name, size in noise.items()}
    return JudgedRows(
        last_mid=last,
        last_close=forecasts["last_close"],
        actual=actual,
        lo=np.full(count, 50.0),
        hi=np.full(count, 150.0),
        forecasts=forecasts,
    )


def test_normalised_scores_are_price_scores_on_the_rows_own_scale():
    rows = judged({"lstm": 2.0, "last_close": 1.0})
    scores = score_one_step(rows)["lstm"]
    assert scores["normalised_rmse"] == pytest.approx(scores["rmse"] / 100)
    assert scores["normalised_mse"] == pytest.approx(scores["mse"] / 100**2)


def test_the_last_close_is_its_own_measure():
    scores = score_one_step(judged({"lstm": 2.0, "last_close": 1.0}))
    assert scores["last_close"]["rmse_ratio"] == 1.0
    assert scores["lstm"]["rmse_ratio"] == pytest.approx(2.0, rel=0.2)


def test_repeating_the_last_mid_has_no_direction_score():
    rows = judged({"last_close": 1.0})
    with_mid = rows.only(np.full(200, True), {"last_mid": rows.last_mid})
    assert score_one_step(with_mid)["last_mid"]["direction_accuracy"] is None


def test_a_model_that_errs_three_times_as_much_is_called_worse():
    skill = judge(judged({"lstm": 3.0, "last_close": 1.0}), "lstm")
    assert skill.verdict == "worse than the last price"
    assert skill.rmse_ratio == pytest.approx(3.0, rel=0.2)


def test_too_few_rows_allow_no_judgement():
    with pytest.raises(NotEnoughHistory, match="held-out sessions"):
        judge(judged({"lstm": 1.0, "last_close": 1.0}, count=10), "lstm")


def test_a_first_champion_is_always_published():
    assert gate(judged({"lstm": 9.0, "last_close": 1.0}), None).promoted


@pytest.mark.parametrize(
    ("lstm", "champion", "promoted"),
    [
        (1.0, 1.5, True),  # as good as the last close, better than the champion
        (1.5, 1.0, False),  # worse than the champion
        (3.0, 5.0, True),  # both worse than the last close, the new one less so
        (5.0, 3.0, False),
    ],
)
def test_the_gate_lets_nothing_worse_through(lstm, champion, promoted):
    rows = judged({"lstm": lstm, "champion": champion, "last_close": 1.0})
    ruling = gate(rows, "champion")
    assert ruling.promoted is promoted
    assert "champion" in ruling.reason


def test_too_few_common_rows_keep_the_champion():
    rows = judged({"lstm": 1.0, "champion": 9.0, "last_close": 1.0}, count=12)
    ruling = gate(rows, "champion")
    assert not ruling.promoted
    assert "only 12 sessions" in ruling.reason
