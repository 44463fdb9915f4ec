"""A new model is held against the champion wherever it was fitted, and against the present one."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from datetime import date

import made_training
import pytest

from assignments import Assignments
from config import Settings
from contest import rule
from data_pipeline import StockDataPipeline
from evaluation import prepared
from model_store import ModelStore
from recipes import find_recipe
from recording import Recorder
from registry import Registry

RECIPE = find_recipe("panel")

pytestmark = pytest.mark.real_data


@pytest.fixture
def home(panel_project, tmp_path):
    """A copy of the project with AAPL's champion."""
    shutil.copytree(panel_project.folder, tmp_path / "home")
    return tmp_path / "home"


def settings_in(home, **further) -> Settings:
    uri = f"sqlite:///{home}/mlflow.db"
    folders = {"data_dir": home / "data", "models_dir": home / "models"}
    return Settings(**folders, mlflow_tracking_uri=uri, as_of="2025-12-31", **further)


def begun(settings: Settings):
    """A task as a worker gets it, and the data of whoever records what came of it."""
    prices = StockDataPipeline("AAPL", settings).read()
    assignment, data = Assignments(settings).of(prices, RECIPE)
    return pickle.loads(pickle.dumps(assignment)), data


@pytest.mark.parametrize("start", ["earlier than the champion's", "the same", "later"])
def test_a_champion_is_judged_alike_where_its_folder_is_not(home, start):
    days = {"earlier than the champion's": date(2017, 1, 3), "later": date(2021, 1, 4)}
    champion = ModelStore(home / "models").champion("AAPL")
    settings = settings_in(home, start_date=days.get(start, champion.card.start_date))
    task, data = begun(settings)
    there = prepared(task.prices, task.start_date, task.recipe)
    said = made_training.trained_of("AAPL", task)
    ruling = rule(task.champion, (said.rows, None), there)
    assert "RMSE 1.0000 of last_close's against the champion's" in ruling.reason
    assert ruling == rule(task.champion, (said.rows, None), data)
    needed = min(settings.start_date, champion.card.start_date)
    assert 0 <= (task.prices.bars["Date"].iloc[0].date() - needed).days < 5


def test_what_a_worker_ruled_holds_while_the_champion_reigns(home):
    settings = settings_in(home)
    task, data = begun(settings)
    trained = made_training.trained_of("AAPL", task)
    told = replace(trained, ruling=replace(trained.ruling, promoted=False, reason="so it was"))
    outcome = recorded(settings, told, data)
    assert (outcome.ruling, outcome.version) == (told.ruling, "2")
    assert ModelStore(home / "models").champion("AAPL").version == "1"


def test_a_champion_that_came_meanwhile_is_the_one_to_beat(home):
    settings = settings_in(home)
    task, data = begun(settings)
    trained = made_training.trained_of("AAPL", replace(task, champion=None))
    assert trained.ruling.reason == "first champion"
    outcome = recorded(settings, trained, data)
    assert outcome.ruling == rule(task.champion, (trained.rows, None), data)
    assert "against the champion's" in outcome.ruling.reason


def test_where_the_champion_has_gone_the_next_model_is_the_first(home):
    settings = settings_in(home)
    task, data = begun(settings)
    trained = made_training.trained_of("AAPL", task)
    (home / "models" / "champions" / "AAPL.json").unlink()
    outcome = recorded(settings, trained, data)
    assert outcome.ruling.promoted and outcome.ruling.reason == "first champion"


def recorded(settings: Settings, trained, data):
    recorder = Recorder(settings, Registry(settings.mlflow_tracking_uri), keras_models=False)
    return recorder.record(trained, data, RECIPE)
