"""The tab of scores, as a visitor sees it."""

from __future__ import annotations

import pytest
from fake_desk import FakeDesk, cold_desk
from fake_pages import FakePages
from invented_exhibits import make_walk
from shown import texts

import wording
from charts.look import LIGHT
from charts.skill import coverage_chart, ratio_chart, reliability_chart
from contracts import LogUnavailable
from schemas import StepScoreOut


def scores_of(ticker="AAPL"):
    return FakePages().scores(ticker)


def test_where_the_model_loses_it_says_so(page, behind):
    shown = page(behind(FakeDesk()), tab="Scores")
    assert shown.warning[0].value == (
        "At past origins its points are **worse** than repeating the last close at 30 sessions "
        "ahead; its bands are **worse** than repeating the last close at 30 sessions ahead."
    )
    assert "**no better** than repeating the last close at 1 session ahead" in shown.info[0].value


@pytest.mark.parametrize(
    ("steps", "said"),
    [([], ""), ([1], "1 session"), ([5], "5 sessions"), ([1, 5, 30], "1, 5 and 30 sessions")],
)
def test_steps_are_listed_as_one_would(steps, said):
    assert wording.listed(steps) == said


def test_verdicts_come_the_worst_first():
    rows = [StepScoreOut.model_validate(row) for row in make_walk().scores if row.model == "lstm"]
    assert [verdict.split()[0] for verdict, _ in wording.steps_sentences(rows)] == ["worse", "no"]


def test_every_step_has_every_baseline(page, behind):
    table = page(behind(FakeDesk()), tab="Scores").dataframe[0].value
    assert set(table["step"]) == {1, 30}
    for _, rows in table.groupby("step"):
        assert set(rows["model"]) == set(wording.MODELS.values())


def test_the_error_chart_holds_the_ratios_of_the_service():
    scores = scores_of()
    lines = {line.name: line for line in ratio_chart(scores, wording.MODELS, LIGHT).data}
    own = [row for row in scores.scores if row.model == "lstm"]
    assert list(lines["This model (LSTM)"].x) == [row.step for row in own]
    assert list(lines["This model (LSTM)"].y) == [row.rmse_ratio for row in own]


def test_coverage_stands_beside_what_was_promised():
    drawing = coverage_chart(scores_of(), LIGHT)
    assert list(drawing.data[1].y) == [0.79, 0.79]
    assert {shape.y0 for shape in drawing.layout.shapes} == {0.95, 0.80}


def test_reliability_is_promised_against_observed():
    drawing = reliability_chart(scores_of(), LIGHT)
    assert drawing.data[0].name == "Perfect"
    assert list(drawing.data[1].x) == [0.1, 0.5, 0.9]
    assert list(drawing.data[1].y) == [0.12, 0.48, 0.89]


def test_the_first_step_has_every_baseline_too(page, behind):
    table = page(behind(FakeDesk()), tab="Scores").dataframe[-2].value
    assert list(table["Model"]) == [
        *("This model (LSTM)", "Repeat the last mid-price"),
        *("Repeat the last close", "ARIMA(5,1,0)"),
    ]
    assert list(table["rmse"]) == [8.11, 2.91, 2.62, 2.74]


def test_a_score_nobody_named_is_shown_under_its_own_name():
    assert wording.scores_table({"novel": {"pinball": 0.5}}) == [{"Model": "novel", "pinball": 0.5}]


def test_a_model_without_a_table_is_no_trouble(page, behind):
    shown = page(behind(FakeDesk(), FakePages(scored=False)), tab="Scores")
    assert "AAPL" in shown.info[0].value
    assert not shown.error and len(shown.dataframe) >= 1


def test_a_ticker_without_a_model_is_no_trouble(page, behind):
    shown = page(behind(cold_desk(), FakePages(scored=False)), tab="Scores")
    assert "AAPL has no trained model yet" in texts(shown.info)
    assert not shown.error


def test_trouble_with_the_model_leaves_the_table(page, behind):
    shown = page(behind(FakeDesk(failures={"AAPL": LogUnavailable("x")})), tab="Scores")
    assert "does not answer; try again later" in shown.error[0].value
    assert set(shown.dataframe[0].value["step"]) == {1, 30}
