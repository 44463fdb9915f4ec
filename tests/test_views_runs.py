"""The tab of training runs, as a visitor sees it."""

from __future__ import annotations

import json

from fake_desk import FakeDesk
from fake_pages import FakePages
from invented_exhibits import make_runs
from shown import texts

from charts.look import LIGHT
from charts.runs import parallel_chart
from contracts import TrackingUnavailable
from schemas import RunOut


def runs_like(*figures: dict[str, float]) -> list[RunOut]:
    """Runs that differ in their metrics."""
    first = make_runs().runs[0]
    return [first.model_copy(update={"metrics": metrics, "parameters": {}}) for metrics in figures]


def test_every_run_is_there_with_its_marks_and_its_page(page, behind):
    table = page(behind(FakeDesk()), tab="MLflow runs").dataframe[0].value
    runs = make_runs().runs
    assert list(table["Run"]) == [run.name for run in runs]
    assert list(table["MLflow"]) == [run.url for run in runs]
    for mark, run in zip(table["Mark"], runs, strict=True):
        assert ("champion" in mark, "best" in mark) == (run.champion, run.best)


def test_a_recipe_can_be_picked(page, behind):
    recipe = make_runs().runs[0].recipe
    table = page(behind(FakeDesk()), tab="MLflow runs", recipe=recipe).dataframe[0].value
    assert set(table["Recipe"]) == {recipe}


def test_the_curves_are_those_of_the_champion(page, behind):
    shown = page(behind(FakeDesk()), tab="MLflow runs")
    spec = json.loads(shown.get("plotly_chart")[-1].proto.spec)
    assert spec["data"][0]["y"] == [0.031, 0.027, 0.026]
    assert spec["data"][0]["name"] == "Validation"


def test_mlflow_is_a_click_away(page, behind):
    link = page(behind(FakeDesk()), tab="MLflow runs").get("link_button")[0]
    assert link.proto.url == make_runs().url


def test_without_mlflow_the_tab_says_so_and_shows_no_address(page, behind):
    shown = page(behind(FakeDesk(), FakePages(tracked=False)), tab="MLflow runs")
    assert "tracking server does not answer" in texts(shown.error)
    assert "hunter2" not in texts(shown.error)
    assert not shown.exception


def test_a_ticker_without_runs_says_what_to_do(page, behind):
    class Empty(FakePages):
        def runs(self, *asked):
            return make_runs().model_copy(update={"runs": []})

    shown = page(behind(FakeDesk(), Empty()), tab="MLflow runs")
    assert "run: python train.py AAPL" in shown.info[0].value


def test_runs_without_curves_keep_their_table(page, behind):
    class Bare(FakePages):
        def run_history(self, *asked):
            raise TrackingUnavailable("x")

    shown = page(behind(FakeDesk(), Bare()), tab="MLflow runs")
    assert len(shown.error) == 1 and len(shown.dataframe) == 1


def test_parallel_coordinates_show_what_differs():
    runs = runs_like(
        {"rmse_ratio": 1.0, "epochs": 5.0, "same": 1.0},
        {"rmse_ratio": 1.1, "epochs": 9.0, "same": 1.0},
    )
    drawing = parallel_chart(runs, LIGHT)
    assert drawing is not None
    dimensions = {row.label: list(row["values"]) for row in drawing.data[0].dimensions}
    assert dimensions == {"RMSE / last close": [1.0, 1.1], "Epochs": [5.0, 9.0]}


def test_runs_that_do_not_differ_are_not_drawn():
    assert parallel_chart(runs_like({"rmse_ratio": 1.0}), LIGHT) is None
