"""Searches of many tickers: trials tracked after the fact, and the best registered once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import made_training
import pytest
from kill_trainings import with_prices
from loop_project import placed
from mlflow import MlflowClient

import many_searches
import recording
import search_trials
import train
import tune
from data_pipeline import StockDataPipeline
from engines import EngineChoice
from many_searches import Searches, search_all
from recipes import find_recipe
from registry import Registry, TrainingRun, experiment_name, model_name
from search_space import parse_space
from trial_ledger import Ledger

HERE = EngineChoice(workers=1)
TICKERS = ("AAA", "BBB")
RECIPE = find_recipe("tuned_lstm", {"epochs": 2, "unrollings": 10, "units": 4})
SPACE = parse_space("units = { low = 3, high = 8 }", RECIPE)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def tracking(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tracking")
    Registry(f"sqlite:///{folder}/mlflow.db")
    return folder / "mlflow.db"


@pytest.fixture
def fitted(monkeypatch) -> list[int]:
    """Fits take no time: the smaller the layers, the lower the loss. What was fitted, by units."""
    units: list[int] = []

    def fit(lesson, recipe, seed, ended, *_):
        units.append(recipe.units)
        losses = [1.0, recipe.units / 10]
        for epoch, loss in enumerate(losses):
            ended(epoch, {"loss": loss, "val_loss": loss})
        return SimpleNamespace(history={"loss": losses, "val_loss": losses})

    monkeypatch.setattr(search_trials, "fit", fit)
    return units


@pytest.fixture
def project(tmp_path, tracking, fitted, monkeypatch):
    (tmp_path / "mlflow.db").write_bytes(tracking.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(many_searches, "train_ticker", made_training.trained_of)
    monkeypatch.setattr(
        train, "train_ticker", lambda key, asked, _: made_training.trained_of(key, asked)
    )
    monkeypatch.setattr(recording, "_rebuilt", lambda *_: None)  # there is no network
    monkeypatch.setattr(TrainingRun, "log_keras_model", lambda *_: None)
    return with_prices(placed(tmp_path, tickers=TICKERS, as_of="2025-12-31"))


def run(settings) -> tuple[list[str], list[str]]:
    searches, failed = Searches(TICKERS, (RECIPE, SPACE, 3), settings), []
    return [*search_all(searches, HERE, failed, False)], failed


def versions(settings, ticker: str) -> list[str]:
    client = MlflowClient(settings.mlflow_tracking_uri)
    return [
        str(row.version) for row in client.search_model_versions(f"name = '{model_name(ticker)}'")
    ]


def test_every_ticker_has_its_trials_and_one_version(project, fitted):
    said, failed = run(project)
    assert failed == []
    assert "AAA: tuned_lstm, version 1 (champion: first champion)" in "\n".join(said)
    assert len(fitted) == 6
    client = MlflowClient(project.mlflow_tracking_uri)
    for ticker in TICKERS:
        experiment = client.get_experiment_by_name(experiment_name(ticker))
        runs = client.search_runs([experiment.experiment_id])
        search = next(one for one in runs if one.info.run_name == f"{ticker}_search")
        below = {one.info.run_name for one in runs if one is not search}
        assert below == {f"{ticker}_training", *(f"{ticker}_trial_{n}" for n in range(3))}
        parents = {one.data.tags["mlflow.parentRunId"] for one in runs if one is not search}
        assert parents == {search.info.run_id}
        assert {one.info.status for one in runs} == {"FINISHED"}
        assert search.data.metrics[search_trials.OBJECTIVE] == min(fitted) / 10
        assert search.data.tags["model_version"] == "1"


def test_a_search_that_is_asked_for_again_fits_and_registers_nothing(project, fitted):
    run(project)
    count = len(fitted)
    said, failed = run(project)
    assert (len(fitted), failed) == (count, [])
    assert sum("nothing trained again" in line for line in said) == 2
    assert versions(project, "AAA") == ["1"]


def test_a_kill_before_the_best_is_noted_registers_it_once(project, monkeypatch):
    def killed(*_):
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(Ledger, "publish", killed)
        with pytest.raises(Killed):
            run(project)
    said, failed = run(project)
    assert failed == []
    assert [versions(project, ticker) for ticker in TICKERS] == [["1"], ["1"]]
    assert sum("version 1 (champion" in line for line in said) == 2


def test_the_search_of_one_ticker_registers_its_best_once_too(project, monkeypatch):
    def killed(*_):
        raise Killed

    prices = StockDataPipeline("AAA", project).read()
    question = tune.ask(prices, project, RECIPE, SPACE)
    with monkeypatch.context() as dying:
        dying.setattr(Ledger, "publish", killed)
        with pytest.raises(Killed):
            tune.tune(question, 2)
    _, said = tune.tune(question, 2)
    assert "version 1 (champion: first champion)" in said
    assert versions(project, "AAA") == ["1"]
