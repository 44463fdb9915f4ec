"""Kills a job of trainings at one write after another and looks at what the last run leaves.

Run by test_many_trainings: `python -c 'import kill_trainings; kill_trainings.main("FOLDER")'`.
Prints a JSON object. The n-th run dies at the n-th of the writes that the driver makes: to MLflow,
to the model store, to the job's own records.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_training
import mlflow  # loaded before the fork: a run is then short
from loop_project import placed

import many_trainings
from config import Settings
from data_pipeline import import_file
from engines import EngineChoice
from engines.job import Job
from generate_synthetic_data import generate_synthetic_stock_data
from model_store import CARD, ModelStore
from recipes import find_recipe
from registry import Registry

TICKERS = ("AAA", "BBB", "CCC")
WRITES: tuple[tuple[type, str], ...] = (
    (ModelStore, "write"),
    (ModelStore, "publish"),
    (Registry, "register"),
    (Registry, "name_champion"),
    (Registry, "end"),
    (Job, "keep"),
    (mlflow.MlflowClient, "create_run"),
    (mlflow.MlflowClient, "log_batch"),
    (mlflow.MlflowClient, "log_artifacts"),
    (mlflow.MlflowClient, "create_model_version"),
    (mlflow.MlflowClient, "set_terminated"),
)


def settings_of(folder: Path) -> Settings:
    return placed(folder, tickers=TICKERS, as_of="2025-12-31", unrollings=10)


def with_prices(settings: Settings) -> Settings:
    """Bars of every configured ticker in the cache, through the day that counts as now."""
    for number, ticker in enumerate(settings.tickers):
        bars = generate_synthetic_stock_data(ticker, "2020-01-01", "2025-12-31", 400 + number)
        path = settings.data_dir.parent / f"{ticker}.csv"
        bars.to_csv(path, index=False)
        import_file(ticker, path, settings)
    return settings


def prepared(folder: Path) -> None:
    """Prices of three tickers, and an empty tracking database."""
    Registry(with_prices(settings_of(folder)).mlflow_tracking_uri)


def trainings(folder: Path) -> list[str]:
    """One run of the job; the tickers it recorded."""
    many_trainings.train_ticker = made_training.trained_of
    asked = many_trainings.Trainings(
        TICKERS, (find_recipe("mlops_64_64_32", {"unrollings": 10}),), settings_of(folder)
    )
    with asked.job() as job:
        said = [key for key, _ in asked.run(job, EngineChoice(workers=1))]
        assert not job.finish().failed
    return said


def deadly(write: int, after: bool) -> None:
    """From now on this process dies at its n-th write, before or after it is made."""
    count = 0

    def counted(made: Callable[..., Any]) -> Callable[..., Any]:
        def act(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == write and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            mine = count
            found = made(*given, **named)
            if mine == write:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return act

    for owner, name in WRITES:
        setattr(owner, name, counted(getattr(owner, name)))


def in_a_process(work: Callable[[], object]) -> bool:
    """Do it in a process of its own; whether that lived to the end."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # a fork must not go on with the parent's work
            print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the job failed by itself"
    return os.WIFEXITED(status)


def left(folder: Path) -> dict[str, Any]:
    """What there is of each ticker."""
    store = ModelStore(folder / "models")
    with sqlite3.connect(folder / "mlflow.db") as database:
        runs = database.execute("SELECT status, COUNT(*) FROM runs GROUP BY status").fetchall()
        versions = database.execute("SELECT name, version, run_id FROM model_versions").fetchall()
        aliases = database.execute("SELECT name, version FROM registered_model_aliases").fetchall()
    database.close()
    bundles = sorted((folder / "models").glob("*_lstm_*"))
    made_by = sorted(json.loads((path / CARD).read_text("utf-8"))["run_id"] for path in bundles)
    return {
        "runs": dict(runs),
        "versions": sorted(f"{name} {version}" for name, version, _ in versions),
        "aliases": sorted(f"{name} {version}" for name, version in aliases),
        "champions": [store.champion(ticker).version for ticker in TICKERS],
        "bundles": [path.name.split("_")[0] for path in bundles],
        "bundles are of versions": made_by == sorted(run for *_, run in versions),
        "drafts": [path.name for path in (folder / "models").glob(".draft-*")],
    }


def main(name: str, every: int = 1) -> None:
    """Kill at every `every`-th write until a run lives to the end, then once more."""
    folder, kills = Path(name), 0
    assert in_a_process(lambda: prepared(folder))

    def doomed() -> None:
        deadly(1 + kills // 2 * every, after=bool(kills % 2))
        trainings(folder)

    while not in_a_process(doomed):
        kills += 1
    print(json.dumps({"kills": kills, **left(folder)}))
