"""What `python registry.py prune` deletes and what must stay, on a real MLflow database."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders import card

from config import Settings
from model_store import CARD, NETWORK, ModelStore, card_json
from registry import Registry, experiment_name, main
from tracking.retention import Policy, RunFact, spent

DAY = datetime(2026, 1, 1, tzinfo=UTC)
VERSIONS = 6


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """Six registered versions of AAPL; 2 was champion, 3 is; a search with two trials; a run that
    an import of somebody else left open."""
    folder = tmp_path_factory.mktemp("pruning")
    settings = placed(folder)
    registry, store = Registry(settings.mlflow_tracking_uri), ModelStore(settings.models_dir)
    for number in range(1, VERSIONS + 1):
        with registry.run("AAPL", {}) as run:
            bundle = written(store, run.run_id, number)
            run.tag(model_bundle=bundle.name)
        registry.register(run.run_id, "AAPL", {"model_bundle": bundle.name})
        if number in (2, 3):
            registry.publish(store, "AAPL", bundle, str(number))
    written(store, "a training that was killed", 9)
    return folder


def placed(folder: Path) -> Settings:
    return Settings(
        models_dir=folder / "models",
        mlflow_tracking_uri=f"sqlite:///{folder}/mlflow.db",
        tickers=("AAPL",),
    )


def written(store: ModelStore, run_id: str, number: int) -> Path:
    """A bundle that says it is two days old."""
    made = replace(card(), run_id=run_id)
    files = {CARD: card_json(made), NETWORK: b"x"}
    folder = store.write("AAPL", DAY + timedelta(days=number), files)
    two_days_ago = datetime.now(UTC).timestamp() - 2 * 86400
    os.utime(folder, (two_days_ago, two_days_ago))
    return folder


@pytest.fixture
def project(template, tmp_path, monkeypatch) -> Settings:
    """A copy of it, and the settings by which commands find it."""
    for item in template.iterdir():
        (shutil.copytree if item.is_dir() else shutil.copy2)(item, tmp_path / item.name)
    settings = placed(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_tracking_uri)
    monkeypatch.setenv("STOCK_MODELS_DIR", str(settings.models_dir))
    monkeypatch.setenv("STOCK_TICKERS", "AAPL")
    monkeypatch.chdir(tmp_path)
    return settings


def versions(settings: Settings) -> list[str]:
    found = Registry(settings.mlflow_tracking_uri).versions("AAPL")
    return [one.version for one in found]


def bundles(settings: Settings) -> int:
    return len(list(settings.models_dir.glob("AAPL_lstm_*")))


def runs(settings: Settings) -> int:
    client = Registry(settings.mlflow_tracking_uri)._client
    found = client.get_experiment_by_name(experiment_name("AAPL"))
    return len(client.search_runs([found.experiment_id]))


def test_the_newest_stay_and_whoever_was_champion(project, capsys):
    assert main(["prune", "--keep", "1"]) == 0
    assert versions(project) == ["2", "3", "6"]
    assert (runs(project), bundles(project)) == (3, 3)
    said = capsys.readouterr().out
    assert "deleted: 3 runs, 4 bundles" in said and "mlflow gc" in said
    store = ModelStore(project.models_dir)
    assert store.champion("AAPL").version == "3" and store.former("AAPL").version == "2"


def test_a_dry_run_says_so_and_touches_nothing(project, capsys):
    assert main(["prune", "AAPL", "--keep", "1", "--dry-run"]) == 0
    assert "would go: 3 runs, 4 bundles" in capsys.readouterr().out
    assert (len(versions(project)), runs(project), bundles(project)) == (6, 6, 7)


def test_the_second_time_there_is_nothing_left_to_do(project, capsys):
    main(["prune", "--keep", "1"])
    capsys.readouterr()
    assert main(["prune", "--keep", "1"]) == 0
    assert capsys.readouterr().out == "deleted: 0 runs, 0 bundles (0.0 MB) of 1 tickers\n"


def test_what_is_young_stays_where_an_age_is_given(project):
    assert main(["prune", "--keep", "1", "--older-than-days", "1"]) == 0
    assert len(versions(project)) == 6


def test_an_alias_moved_by_hand_protects_its_version(project):
    Registry(project.mlflow_tracking_uri).name_champion("AAPL", "4")
    main(["prune", "--keep", "1"])
    assert versions(project) == ["2", "3", "4", "6"]


def test_a_bundle_that_is_being_trained_stays(project):
    store = ModelStore(project.models_dir)
    fresh = store.write("AAPL", DAY, {CARD: card_json(card()), NETWORK: b"x"})
    main(["prune", "--keep", "26"])
    assert fresh.exists() and bundles(project) == VERSIONS + 1, "the killed training's is gone"


def test_a_search_stays_whole_while_it_is_open_and_goes_whole_when_it_is_not(project):
    registry = Registry(project.mlflow_tracking_uri)
    with registry.search("AAPL", "one", {}), registry.trial("AAPL", 1, {}):
        pass
    with registry.search("AAPL", "two", {}) as search:
        with registry.trial("AAPL", 1, {}), registry.run("AAPL", {}):
            pass
        assert main(["prune", "--keep", "1"]) == 0
        left = [run.info.run_id for run in registry._runs("AAPL", "tags.search != ''")]
        assert left == [search.run_id]
        assert len(registry.finished_trials("AAPL", search)) == 1


def test_what_was_deleted_can_be_brought_back_until_mlflow_frees_it(project):
    registry = Registry(project.mlflow_tracking_uri)
    (first, *_) = registry.prunable("AAPL", ["2", "3"], Policy(1))
    registry.delete_runs("AAPL", [first])
    assert runs(project) == 5
    registry._client.restore_run(first.run_id)
    assert runs(project) == 6


def test_a_ticker_without_runs_is_nothing_to_delete_and_nothing_is_made(project, capsys):
    assert main(["prune", "MSFT"]) == 0
    client = Registry(project.mlflow_tracking_uri)._client
    assert client.get_experiment_by_name(experiment_name("MSFT")) is None


def test_an_unreadable_pointer_is_said_and_deletes_nothing(project, capsys):
    ModelStore(project.models_dir).pointer_path("AAPL").write_text("[")
    assert main(["prune", "--keep", "1"]) == 1
    assert "its champion pointer is unreadable" in capsys.readouterr().out
    assert (len(versions(project)), bundles(project)) == (6, 7)


@pytest.mark.parametrize("wrong", ["0", "-1", "many"])
def test_at_least_one_run_stays(project, wrong):
    with pytest.raises(SystemExit):
        main(["prune", "--keep", wrong])


# Deciding, on plain values


def made(number: int, **changes: object) -> RunFact:
    plain = {
        "run_id": f"r{number}",
        "name": "AAPL_training",
        "started_at": DAY + timedelta(days=number),
        "running": False,
        "parent": None,
        "settlement": None,
    }
    return RunFact(**(plain | changes))


def gone(rows: list[RunFact], keep: int, *protected: str) -> list[str]:
    return [run.run_id for run in spent(rows, set(protected), Policy(keep))]


def test_the_oldest_go_first_and_protected_ones_stay():
    assert gone([made(n) for n in range(5)], 2, "r1") == ["r0", "r2"]


def test_a_running_run_stays_and_so_does_all_that_hangs_on_it():
    rows = [made(0, running=True), made(1, parent="r0"), made(2), made(3)]
    assert gone(rows, 1) == ["r2"]


def test_a_search_of_which_a_trial_made_the_champion_stays_whole():
    rows = [made(0), made(1, parent="r0"), made(2, parent="r0"), made(3)]
    assert gone(rows, 1, "r2") == []
    assert gone(rows, 1) == ["r0", "r1", "r2"]


def test_settlements_are_counted_apart_and_the_newest_of_each_version_stays():
    live = [made(n, settlement=str(1 + n // 4)) for n in range(8)]
    assert gone([*live, made(9)], 2) == ["r0", "r1", "r2", "r4", "r5"]
