"""When a training is asked for: alarms, live skill, age, no champion; each reason once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from builders import card

from contracts import DriftVerdict, LiveScores, Performance, PerformanceRow
from retraining import NO_CHAMPION, Policy, Standing, reason_to_train

POLICY = Policy(after_days=90, least_settled=60)
DAY = date(2026, 1, 30)
SCORES = LiveScores(rmse=1.0, mae=1.0, direction=0.5, coverage_80=None, coverage_95=None, crps=None)
ROW = PerformanceRow(
    version="3",
    mode="direct",
    cold_start=False,
    synthetic=False,
    adjustment="split",
    step=1,
    n=80,
    first=date(2025, 9, 1),
    last=DAY,
    model=SCORES,
    last_close=SCORES,
    rmse_ratio=1.05,
    crps_ratio=None,
    p_value=0.001,
)
VERDICT = DriftVerdict(
    ticker="AAPL",
    checked_at=datetime(2026, 1, 30, tzinfo=UTC),
    as_of=DAY,
    alarm=True,
    summary="ranges are wider",
    features=(),
    reference_rows=1000,
    current_rows=60,
    rmse_ratio_reference=1.0,
    rmse_ratio_current=1.0,
    model_version="3",
    data_source="file",
    reports=(),
    episode=date(2026, 1, 20),
)


def performance(*rows: PerformanceRow) -> Performance:
    return Performance(
        ticker="AAPL",
        currency="USD",
        promises=80,
        settled=80,
        waiting=0,
        unscaled=0,
        revised=0,
        through=DAY,
        settled_at=None,
        rows=rows,
    )


def standing(**changes: object) -> Standing:
    plain = Standing(
        as_of=DAY,
        version="3",
        card=card(trained_through=date(2025, 12, 31)),
        verdict=None,
        performance=performance(),
        answered=(),
    )
    return replace(plain, **changes)


def test_a_fresh_quiet_champion_is_left_alone():
    assert reason_to_train(standing(), POLICY) is None


def test_without_a_champion_a_training_is_wanted_for_as_long_as_there_is_none():
    lacking = standing(version=None, card=None)
    assert reason_to_train(lacking, POLICY) == NO_CHAMPION
    assert reason_to_train(replace(lacking, answered=(NO_CHAMPION,)), POLICY) == NO_CHAMPION


def test_a_drift_alarm_asks_once_for_as_long_as_it_stands():
    alarmed = standing(verdict=VERDICT)
    reason = reason_to_train(alarmed, POLICY)
    assert reason == "drift alarm of 2026-01-20"
    later = replace(VERDICT, as_of=date(2026, 2, 9))
    assert reason_to_train(standing(verdict=later, answered=(reason,)), POLICY) is None
    anew = replace(VERDICT, episode=date(2026, 3, 2))
    assert "2026-03-02" in reason_to_train(standing(verdict=anew, answered=(reason,)), POLICY)


def test_a_champion_trained_lately_is_given_time():
    young = standing(verdict=VERDICT, card=card(trained_through=date(2026, 1, 2)))
    assert reason_to_train(young, POLICY) is None
    young = standing(performance=performance(ROW), card=card(trained_through=date(2026, 1, 2)))
    assert reason_to_train(young, POLICY) is None


@pytest.mark.parametrize(
    "changes", [{"alarm": False}, {"model_version": "2"}], ids=["no alarm", "of a former champion"]
)
def test_other_verdicts_ask_for_nothing(changes):
    assert reason_to_train(standing(verdict=replace(VERDICT, **changes)), POLICY) is None


def test_age_asks_again_only_after_as_long_again():
    old = standing(as_of=date(2026, 4, 10))
    reason = reason_to_train(old, POLICY)
    assert reason == "version 3 has seen nothing for 90 days, after 2025-12-31"
    assert reason_to_train(replace(old, answered=(reason,)), POLICY) is None
    older = replace(old, as_of=date(2026, 7, 1), answered=(reason,))
    assert "180 days" in reason_to_train(older, POLICY)
    assert reason_to_train(old, replace(POLICY, after_days=0)) is None


def test_live_skill_significantly_behind_the_last_close_asks_once_a_month():
    behind = standing(performance=performance(ROW))
    reason = reason_to_train(behind, POLICY)
    assert "significantly behind the last close, seen in 2026-01" in reason
    assert reason_to_train(replace(behind, answered=(reason,)), POLICY) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 59},
        {"p_value": 0.02},
        {"rmse_ratio": 0.95},
        {"rmse_ratio": None},
        {"version": "2"},
        {"step": 5},
        {"synthetic": True},
        {"cold_start": True},
    ],
    ids=str,
)
def test_live_figures_that_say_too_little_ask_for_nothing(changes):
    assert (
        reason_to_train(standing(performance=performance(replace(ROW, **changes))), POLICY) is None
    )
