"""The walk-forward table of a bundle: held against the loop anyone would write first."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from bands import LEVELS
from contracts import BadBundle, WalkForward
from forecasters import Fan, Series, last_close, last_mid
from metrics import QUANTILES
from model_store import WALK, WALK_FORM, read_walk, walk_json
from walk_scores import STEPS_SHOWN, walk_scores

COUNT = 400


def series() -> Series:
    rng = np.random.default_rng(5)
    mids = 100 * np.exp(rng.normal(0, 0.01, COUNT).cumsum())
    bars = {
        "Date": pd.bdate_range("2023-01-02", periods=COUNT),
        "High": mids * 1.01,
        "Low": mids * 0.99,
        "Close": mids * np.exp(rng.normal(0, 0.003, COUNT)),
    }
    return Series.of(pd.DataFrame(bars))


def walked(spread: float = 1.0, shift: float = 0.0) -> tuple[Series, np.ndarray, dict[str, Fan]]:
    """Three models; `lstm` is last_close with wider bands, and off by a share of the price."""
    known, origins = series(), np.arange(200, COUNT - 30)
    close = last_close(known, origins, 30)
    moved = close.point * (1 + shift)
    wide = moved[..., None] + spread * (close.quantiles - close.point[..., None])
    fans = {
        "lstm": Fan(moved, wide),
        "last_close": close,
        "last_mid": last_mid(known, origins, 30),
    }
    return known, origins, fans


def row_of(walk: WalkForward, model: str, step: int):
    return next(row for row in walk.scores if (row.model, row.step) == (model, step))


@pytest.mark.parametrize("step", STEPS_SHOWN)
def test_the_scores_match_the_obvious_loop(step):
    known, origins, fans = walked(spread=1.3)
    row = row_of(walk_scores(known, origins, fans), "lstm", step)
    misses, losses, inside = [], [], []
    for at, origin in enumerate(origins):
        came, said = known.mids[origin + step], fans["lstm"].quantiles[at, step - 1]
        misses.append(came - fans["lstm"].point[at, step - 1])
        inner = zip(QUANTILES, said[1:-1], strict=True)
        losses.append(2 * np.mean([max(p * (came - q), (p - 1) * (came - q)) for p, q in inner]))
        inside.append(said[LEVELS.index(0.1)] <= came <= said[LEVELS.index(0.9)])
    assert row.rmse == pytest.approx(math.sqrt(np.mean(np.square(misses))))
    assert row.mae == pytest.approx(np.mean(np.abs(misses)))
    assert row.crps == pytest.approx(np.mean(losses))
    assert row.coverage_80 == pytest.approx(np.mean(inside))


def test_every_model_is_judged_at_every_step_on_the_same_origins():
    known, origins, fans = walked()
    walk = walk_scores(known, origins, fans)
    assert [(row.step, row.model) for row in walk.scores] == [
        (step, model) for step in STEPS_SHOWN for model in fans
    ]
    assert walk.origins == len(origins) == 170
    assert walk.first_origin == pd.Timestamp(known.days[200]).date()


def test_repeating_the_last_close_is_no_better_than_itself():
    row = row_of(walk_scores(*walked()), "lstm", 5)
    assert (row.rmse_ratio, row.p_value) == (1.0, 1.0)
    assert row.verdict == row.crps_verdict == "no better than the last price"


def test_a_model_that_loses_is_told_so():
    row = row_of(walk_scores(*walked(shift=0.05)), "lstm", 1)
    assert row.rmse_ratio > 2
    assert row.verdict == row.crps_verdict == "worse than the last price"


def test_the_baseline_has_no_verdict_on_itself():
    row = row_of(walk_scores(*walked()), "last_close", 1)
    assert (row.verdict, row.crps_verdict, row.rmse_ratio) == (None, None, 1.0)


def test_repeating_the_last_mid_names_no_side():
    assert row_of(walk_scores(*walked()), "last_mid", 1).direction_accuracy is None


def test_reliability_counts_outcomes_below_each_quantile():
    known, origins, fans = walked()
    found = walk_scores(known, origins, fans).reliability[0]
    below = [
        np.mean(
            [known.mids[o + 1] <= fans["lstm"].quantiles[i, 0, c] for i, o in enumerate(origins)]
        )
        for c in range(len(LEVELS))
    ]
    assert found.nominal == LEVELS
    assert found.observed == pytest.approx(below)
    assert list(found.observed) == sorted(found.observed)


def test_a_table_comes_back_from_a_bundle_as_it_went_in(tmp_path):
    walk = walk_scores(*walked())
    (tmp_path / WALK).write_bytes(walk_json(walk))
    assert read_walk(tmp_path) == walk


def test_a_bundle_of_an_earlier_version_has_no_table(tmp_path):
    assert read_walk(tmp_path) is None


def test_a_table_of_another_form_is_no_table(tmp_path):
    content = json.loads(walk_json(walk_scores(*walked())))
    (tmp_path / WALK).write_text(json.dumps(content | {"steps": [7]}))
    with pytest.raises(BadBundle, match="not a table of this version"):
        read_walk(tmp_path)


def test_a_walk_without_scores_at_a_step_cannot_be_built():
    walk = WALK_FORM.dump_python(walk_scores(*walked()))
    with pytest.raises(ValueError, match="each of its steps"):
        WALK_FORM.validate_python(walk | {"steps": (1, 2)})
