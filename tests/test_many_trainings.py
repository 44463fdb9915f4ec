"""Trainings as one job: done once however often its driver is killed, and as one by one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import made_training
import numpy as np
import pytest
from kill_trainings import with_prices
from loop_project import placed
from mlflow import MlflowClient
from project import ROOT

import many_trainings
import train
from contracts import BadSettings, ExportMismatch, TrackingUnavailable
from data_pipeline import StockDataPipeline
from engines import Done, EngineChoice
from engines.job import Job
from many import Group, Work, _mapped, exit_code, worked
from many_trainings import Trainings
from model_store import REFERENCE, WEIGHTS, ModelStore
from recipes import find_recipe
from recording import Recorder
from registry import TrainingRun, experiment_name, model_name

HERE = EngineChoice(workers=1)
TICKERS = ("AAA", "BBB", "CCC")
RECIPE = find_recipe("mlops_64_64_32", {"unrollings": 10})
KILLS = "import sys, kill_trainings; kill_trainings.main(sys.argv[1], int(sys.argv[2]))"


@pytest.fixture(scope="module")
def tracking(tmp_path_factory) -> Path:
    """An MLflow database that is there: making one takes seconds."""
    folder = tmp_path_factory.mktemp("tracking")
    many_trainings.Registry(f"sqlite:///{folder}/mlflow.db")
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path, tracking, monkeypatch):
    """Three tickers with prices, whose trainings take no time."""
    (tmp_path / "mlflow.db").write_bytes(tracking.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(many_trainings, "train_ticker", made_training.trained_of)
    return with_prices(placed(tmp_path, tickers=TICKERS, as_of="2025-12-31"))


def run(settings, *, afresh: bool = False):
    """The job once: what it said of each ticker, and how it ended."""
    trainings = Trainings(TICKERS, (RECIPE,), settings)
    with trainings.job(afresh=afresh) as job:
        said = dict(trainings.run(job, HERE))
        return said, job.finish()


def runs_of(settings, ticker: str) -> list:
    client = MlflowClient(settings.mlflow_tracking_uri)
    experiment = client.get_experiment_by_name(experiment_name(ticker))
    return client.search_runs([experiment.experiment_id])


def test_a_job_leaves_of_each_ticker_what_a_training_leaves(project):
    said, ended = run(project)
    assert (ended.done, ended.failed) == (3, {})
    for ticker in TICKERS:
        (one,) = runs_of(project, ticker)
        assert one.info.status == "FINISHED"
        assert one.info.start_time == 1_800_000_000_000
        assert one.data.params["recipe"] == "mlops_64_64_32"
        assert one.data.metrics.items() >= {"arima_aic": 1.0, "training_seconds": 1.5}.items()
        champion = ModelStore(project.models_dir).champion(ticker)
        assert champion.card.run_id == one.info.run_id
        assert champion.bundle == said[ticker]["bundle"] == one.data.tags["model_bundle"]
        assert "version 1 (champion: first champion)" in said[ticker]["said"]


def test_losses_of_every_epoch_are_tracked(project):
    run(project)
    client = MlflowClient(project.mlflow_tracking_uri)
    (one,) = runs_of(project, "AAA")
    history = client.get_metric_history(one.info.run_id, "val_loss")
    assert [(row.step, row.value) for row in history] == [(0, 0.4), (1, 0.2)]
    assert {item.path for item in client.list_artifacts(one.info.run_id)} == {
        "bundle",
        "training_history.png",
    }


def test_a_ticker_that_fails_costs_only_itself_and_is_tried_again(project, monkeypatch):
    whole = Recorder.record

    def refused(self, trained, data, recipe):
        if data.prices.ticker == "BBB":
            raise ExportMismatch("the export differs")
        return whole(self, trained, data, recipe)

    monkeypatch.setattr(Recorder, "record", refused)
    said, ended = run(project)
    assert ([*said], ended.failed) == (["AAA", "CCC"], {"BBB": "the export differs"})
    monkeypatch.setattr(Recorder, "record", whole)
    said, ended = run(project)
    assert ([*said], ended.done, ended.resumed) == (["BBB"], 3, 2)


def test_a_job_that_is_over_begins_anew(project):
    run(project)
    with Trainings(TICKERS, (RECIPE,), project).job() as job:
        assert job.pending() == TICKERS


def test_where_mlflow_goes_away_the_job_stops_and_goes_on_later(project, monkeypatch):
    def away(self, *_):
        raise TrackingUnavailable("MLflow does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(many_trainings.Registry, "register", away)
        with pytest.raises(TrackingUnavailable):
            run(project)
    assert [one.info.status for one in runs_of(project, "AAA")] == ["FAILED"]
    said, ended = run(project)
    assert ([*said], ended.failed) == ([*TICKERS], {})
    assert len(list(project.models_dir.glob("AAA_lstm_*"))) == 1


def test_a_group_is_one_task_and_each_of_its_tickers_is_recorded(project, monkeypatch):
    monkeypatch.setattr(many_trainings, "train_group", made_training.group_of)
    monkeypatch.setattr(many_trainings.Assignments, "_base", lambda *_: None)
    trainings = Trainings(TICKERS, (find_recipe("panel"),), project, together=2)
    with trainings.job() as job:
        said = dict(trainings.run(job, HERE))
        ended = job.finish()
    assert ([*said], ended.failed) == (["AAA", "CCC"], {"BBB": "in the group AAA BBB"})
    assert [run.info.status for run in runs_of(project, "CCC")] == ["FINISHED"]


def test_what_costs_a_group_its_worker_costs_each_of_its_tickers():
    done = Done(key="AAA BBB", value=None, error="its worker died", seconds=1.0, attempts=3)
    engine = SimpleNamespace(map=lambda _, tasks: [replace(done, key=k) for k, _ in tasks])
    group = Group(2, lambda *_: [])
    found = list(_mapped(engine, group, iter([("AAA", 1), ("BBB", 2), ("CCC", 3)])))
    assert [(one.key, one.error) for one in found] == [(t, "its worker died") for t in TICKERS]


@pytest.mark.parametrize("recipes", [(RECIPE,), (find_recipe("panel"), RECIPE)])
def test_only_one_recipe_with_a_base_is_fitted_together(project, recipes):
    with pytest.raises(BadSettings, match="--together fits networks of one recipe"):
        Trainings(TICKERS, recipes, project, together=2)


def test_a_base_is_looked_up_once_for_all_tickers_of_a_day(project, monkeypatch):
    import assignments

    asked = []
    monkeypatch.setattr(assignments, "base_for", lambda day, *_: asked.append(day))
    made = many_trainings.Assignments(project)
    for ticker in (*TICKERS, *TICKERS):
        made.of(StockDataPipeline(ticker, project).load(), RECIPE)
    assert sorted(asked) == sorted(set(asked))  # one for each first test day


def test_the_command_says_every_training_and_names_what_failed(project, monkeypatch, capsys):
    monkeypatch.setattr(train, "get_settings", lambda: project)
    monkeypatch.setattr(many_trainings, "refreshed", lambda *_: None)
    monkeypatch.setattr(StockDataPipeline, "load", StockDataPipeline.read)
    assert train.main(["AAA", "ZZZQ", "BBB", "--recipe", "mlops_64_64_32"]) == 1
    said = capsys.readouterr()
    assert "AAA: mlops_64_64_32, version 1" in said.out
    assert "BBB: mlops_64_64_32, version 1" in said.out
    assert "training: 2 done, 1 failed" in said.out
    assert "ZZZQ: ZZZQ has neither a trained model nor prices here" in said.out
    assert "train.py: failed: ZZZQ" in said.err


def test_ctrl_c_is_told_in_one_line(monkeypatch, capsys):
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["/somewhere/train.py"])
    assert (exit_code(interrupted), exit_code(lambda: 1)) == (130, 1)
    assert capsys.readouterr().err == (
        "train.py: interrupted; over several tickers the same command goes on with what is not "
        "done\n"
    )


@pytest.fixture
def ctrl_c():
    """Ctrl-C as a command in the foreground has it: a shell in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def echoed(_: str, value: str) -> str:
    return value


def test_ctrl_c_in_a_callback_that_loses_it_is_heeded_after_the_record(tmp_path, ctrl_c):
    def lost(_: None, value: str) -> dict[str, str]:
        with suppress(KeyboardInterrupt):  # as the garbage collector does
            signal.raise_signal(signal.SIGINT)
        return {"said": value}

    work = Work(prepare=lambda key: (key, None), task=echoed, write=lost)
    with Job(tmp_path, "training", ("AAPL", "MSFT"), {}) as job:
        with pytest.raises(KeyboardInterrupt):
            list(worked(job, HERE, work))
        assert job.records() == {"AAPL": {"said": "AAPL"}}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def killed(folder: Path, every: int) -> dict:
    command = [sys.executable, "-c", KILLS, str(folder), str(every)]
    tests = str(ROOT / "tests")
    done = subprocess.run(
        command, cwd=tests, env={"PYTHONPATH": f"{ROOT}:{tests}", "HOME": str(folder)},
        capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long)])
def test_kills_at_any_write_leave_every_ticker_registered_once(tmp_path, every):
    found = killed(tmp_path, every)
    assert found["kills"] >= 16 // every
    once = [f"{model_name(ticker)} 1" for ticker in TICKERS]
    assert found["versions"] == found["aliases"] == once
    assert found["champions"] == ["1", "1", "1"]
    assert found["bundles"] == [*TICKERS]
    assert found["bundles are of versions"]
    assert found["runs"]["FINISHED"] == 3
    assert set(found["runs"]) <= {"FINISHED", "KILLED"}
    assert found["drafts"] == []


# A real training


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Prices and a small network, fitted for one epoch."""
    monkeypatch.chdir(tmp_path)
    small = {"recipe": "lstm64_dense32", "lstm_units_1": 3, "lstm_units_2": 3, "dense_units": 2}
    made = placed(tmp_path, tickers=("AAA",), as_of="2025-12-31", epochs=1, unrollings=10, **small)
    return with_prices(made)


def weights(folder: Path) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    with h5py.File(folder / WEIGHTS) as file:
        file.visititems(
            lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None
        )
    return found


def test_a_job_gives_the_bits_that_a_training_by_itself_gives(tiny, monkeypatch):
    # MLflow's Keras flavour warns of a type of its own when it is loaded
    monkeypatch.setattr(TrainingRun, "log_keras_model", lambda *_: None)
    recipe = train.recipe_of(tiny)
    alone = train.MLflowTrainer("AAA", tiny).run(StockDataPipeline("AAA", tiny).load(), recipe)
    trainings = Trainings(("AAA",), (recipe,), tiny)
    with trainings.job() as job:
        ((_, record),) = trainings.run(job, HERE)
    both = alone.folder, tiny.models_dir / record["bundle"]
    assert (both[0] / REFERENCE).read_bytes() == (both[1] / REFERENCE).read_bytes()
    for mine, theirs in zip(*(weights(folder) for folder in both), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert runs_of(tiny, "AAA")[0].data.tags["job"]
