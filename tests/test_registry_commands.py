"""`python registry.py promote|rollback|history|sync` on a real MLflow database and real bundles."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import card, provenance
from project import free_port

from config import Settings
from contracts import BadBundle, RefusedVersion, TrackingUnavailable
from data_pipeline import import_file
from model_store import CARD, NETWORK, ModelStore, card_json
from registry import CHAMPION, Registry, main, model_name
from registry_commands import history, sync_all
from succession import Succession

pytestmark = pytest.mark.real_data
DAY = datetime(2026, 1, 17, 22, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory, real_data) -> Path:
    """Real AAPL prices, and two registered versions of them that differ in their names alone."""
    folder = tmp_path_factory.mktemp("registry")
    settings = placed(folder)
    import_file("AAPL", real_data / "yahoo" / "AAPL.csv", settings)
    registry = Registry(settings.mlflow_tracking_uri)
    for _ in range(2):
        registered(registry, settings)
    return folder


def placed(folder: Path) -> Settings:
    return Settings(
        data_dir=folder / "data",
        models_dir=folder / "models",
        database_url=f"sqlite:///{folder}/forecasts.db",
        mlflow_tracking_uri=f"sqlite:///{folder}/mlflow.db",
        tickers=("AAPL",),
    )


def registered(registry: Registry, settings: Settings, **labels: str) -> str:
    """A version whose bundle carries a real network's card; given back as MLflow counts it."""
    changes = {"data": provenance(source="synthetic")} if labels.pop("synthetic", "") else {}
    with registry.run("AAPL", {}) as run:
        made = replace(card(), run_id=run.run_id, trained_at=DAY, **changes)
        files = {CARD: card_json(made), NETWORK: run.run_id.encode()}
        folder = ModelStore(settings.models_dir).write("AAPL", DAY, files)
        run.log_bundle(folder)
        run.tag(model_bundle=folder.name, **labels)
    return registry.register(run.run_id, "AAPL", {"model_bundle": folder.name})


@pytest.fixture
def place(seeded, tmp_path, monkeypatch) -> Settings:
    """A copy of the seeded project in the environment, version 1 its champion."""
    copy = tmp_path / "project"
    shutil.copytree(seeded, copy)
    with sqlite3.connect(copy / "mlflow.db") as database:  # artifact addresses are absolute
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
            database.execute(change, (str(seeded), str(copy)))
        move = "UPDATE model_versions SET source = replace(source, ?, ?), storage_location = NULL"
        database.execute(move, (str(seeded), str(copy)))
    database.close()
    settings = placed(copy)
    for name in ("data_dir", "models_dir", "database_url"):
        monkeypatch.setenv(f"STOCK_{name}".upper(), str(getattr(settings, name)))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_tracking_uri)
    monkeypatch.setenv("STOCK_TICKERS", "AAPL")
    monkeypatch.chdir(copy)
    Succession(settings, Registry(settings.mlflow_tracking_uri)).promote("AAPL", "1", force=True)
    return settings


@pytest.fixture
def store(place) -> ModelStore:
    return ModelStore(place.models_dir)


@pytest.fixture
def registry(place) -> Registry:
    return Registry(place.mlflow_tracking_uri)


def reigning(store: ModelStore) -> str:
    champion = store.champion("AAPL")
    assert champion is not None
    return champion.version


def crown(registry: Registry, version: str) -> None:
    """What a person does in the MLflow UI."""
    registry.name_champion("AAPL", version)


def test_an_alias_moved_by_hand_is_followed(place, store, registry):
    crown(registry, "2")
    (change,) = sync_all(("AAPL",), place)
    assert (change.deed, change.version) == ("published", "2")
    assert reigning(store) == "2"


def test_a_second_sync_finds_nothing_to_do(place, store, registry):
    crown(registry, "2")
    sync_all(("AAPL",), place)
    (change,) = sync_all(("AAPL",), place)
    assert change.deed == "kept"
    assert [reign.version for reign in store.reigns("AAPL")] == ["1", "2"]


def test_a_ticker_without_alias_keeps_what_it_has(place, store, registry):
    registry._client.delete_registered_model_alias(model_name("AAPL"), CHAMPION)
    (change,) = sync_all(("AAPL",), place)
    assert (change.deed, change.version) == ("kept", "1")


def test_a_bundle_that_is_not_on_disk_is_downloaded_and_verified(place, store, registry):
    shutil.rmtree(place.models_dir / registry.version("AAPL", "2").tags["model_bundle"])
    crown(registry, "2")
    sync_all(("AAPL",), place)
    assert store.champion("AAPL").card.run_id == registry.version("AAPL", "2").run_id


def test_a_damaged_bundle_on_disk_is_replaced_by_the_download(place, store, registry):
    name = registry.version("AAPL", "2").tags["model_bundle"]
    (place.models_dir / name / NETWORK).write_bytes(b"altered")
    crown(registry, "2")
    sync_all(("AAPL",), place)
    assert reigning(store) == "2"
    assert store.champion("AAPL").bundle != name


def test_a_bundle_damaged_in_both_places_is_refused_and_the_old_one_stays(place, store, registry):
    version = registry.version("AAPL", "2")
    for folder in (place.models_dir / version.tags["model_bundle"], Path(version.source)):
        (folder / NETWORK).write_bytes(b"altered")
    crown(registry, "2")
    (refused,) = sync_all(("AAPL",), place)
    assert isinstance(refused, RefusedVersion)
    assert "cannot become champion" in str(refused) and "was altered" in str(refused)
    assert reigning(store) == "1"


def test_a_model_from_the_future_is_refused(place, store, registry):
    crown(registry, "2")
    (refused,) = sync_all(("AAPL",), place.model_copy(update={"as_of": DAY.date().replace(2025)}))
    assert "has seen prices through 2025-12-31" in str(refused)
    assert reigning(store) == "1"


@pytest.mark.parametrize(
    ("labels", "why"),
    [({"as_published": "true"}, "as published"), ({"synthetic": "true"}, "synthetic prices")],
)
def test_what_must_never_be_champion_is_refused_even_by_force(place, store, registry, labels, why):
    number = registered(registry, place, **labels)
    with pytest.raises(RefusedVersion, match=why):
        Succession(place, registry).promote("AAPL", number, force=True)
    crown(registry, number)
    (refused,) = sync_all(("AAPL",), place)
    assert why in str(refused)
    assert reigning(store) == "1"


def test_a_version_of_another_ticker_or_none_is_refused(place, registry):
    with pytest.raises(RefusedVersion, match="has no version 7; registered are: 1, 2"):
        Succession(place, registry).promote("AAPL", "7")


def test_rollback_moves_alias_and_pointer_together(place, store, registry):
    crown(registry, "2")
    sync_all(("AAPL",), place)
    change = Succession(place, registry).rollback("AAPL")
    assert change.version == "1" == reigning(store) == registry.named_champion("AAPL")


def test_without_a_former_champion_rollback_moves_nothing(place, store, registry):
    with pytest.raises(BadBundle, match="no earlier champion"):
        Succession(place, registry).rollback("AAPL")
    assert registry.named_champion("AAPL") == "1" == reigning(store)


def test_promoting_the_champion_again_adds_no_reign(place, store, registry):
    change = Succession(place, registry).promote("AAPL", "1")
    assert (change.deed, change.reason) == ("kept", "it is the champion")
    assert len(store.reigns("AAPL")) == 1


class Died(BaseException):
    """SIGKILL, as far as this process is concerned."""


class Dying(ModelStore):
    """A store whose process ends before its pointer moves."""

    def publish(self, *_: object) -> None:
        raise Died

    def rollback(self, *_: object, **__: object) -> None:
        raise Died


def test_a_promotion_killed_before_the_pointer_is_finished_by_the_next_sync(place, store, registry):
    folder = store.bundle(registry.version("AAPL", "2").tags["model_bundle"])
    with pytest.raises(Died):
        registry.publish(Dying(place.models_dir), "AAPL", folder, "2")
    assert (registry.named_champion("AAPL"), reigning(store)) == ("2", "1")
    sync_all(("AAPL",), place)
    assert reigning(store) == "2"


def test_a_rollback_killed_before_the_pointer_is_finished_by_the_next_sync(place, store, registry):
    crown(registry, "2")
    sync_all(("AAPL",), place)
    dying = Succession(place, registry)
    dying.store = Dying(place.models_dir)
    with pytest.raises(Died):
        dying.rollback("AAPL")
    assert (registry.named_champion("AAPL"), reigning(store)) == ("1", "2")
    sync_all(("AAPL",), place)
    assert reigning(store) == "1"


def test_an_offline_rollback_is_not_undone_by_the_alias_it_could_not_move(
    place, store, registry, capsys
):
    crown(registry, "2")
    sync_all(("AAPL",), place)
    assert main(["rollback", "AAPL", "--offline"]) == 0
    assert (reigning(store), registry.named_champion("AAPL")) == ("1", "2")
    (change,) = sync_all(("AAPL",), place)
    assert change.deed == "alias moved"
    assert (reigning(store), registry.named_champion("AAPL")) == ("1", "1")
    assert sync_all(("AAPL",), place)[0].deed == "kept"


def test_an_alias_moved_after_an_offline_rollback_wins(place, store, registry):
    third = registered(registry, place)
    crown(registry, "2")
    sync_all(("AAPL",), place)
    store.rollback("AAPL", alias_moved=False)
    crown(registry, third)
    assert sync_all(("AAPL",), place)[0].deed == "published"
    assert reigning(store) == third


def test_history_names_every_version_and_the_champion(place, registry, capsys):
    assert main(["history", "AAPL", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["version"], row["champion"]) for row in rows] == [("1", True), ("2", False)]
    assert rows[0]["ruling"] == "first champion"
    assert main(["history", "AAPL", "--offline"]) == 0
    assert "*      1  2026-01-17 22:00 mlops_64_64_32" in capsys.readouterr().out


def test_without_mlflow_every_command_says_so_and_nothing_moves(place, store, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for command in (["promote", "AAPL", "2"], ["rollback", "AAPL"], ["history", "AAPL"], ["sync"]):
        assert main(command) == 2
        assert "check MLFLOW_TRACKING_URI" in capsys.readouterr().err
    assert reigning(store) == "1"
    with pytest.raises(TrackingUnavailable):
        history("AAPL", place.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"}))


def test_a_word_that_is_no_version_is_said_plainly(place, capsys):
    assert main(["promote", "AAPL", "newest"]) == 2
    assert "is no version" in capsys.readouterr().err


def test_the_gate_keeps_a_worse_network_out_unless_forced(
    panel_project, trained_project, tmp_path, monkeypatch, capsys
):
    """Two real networks: the default champion, and the specification's after two epochs."""
    folder = tmp_path / "project"
    shutil.copytree(panel_project.folder, folder)
    monkeypatch.chdir(folder)
    for name, value in panel_project.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    other = ModelStore(trained_project.folder / "models").champion("AAPL")
    registry = Registry(f"sqlite:///{folder}/mlflow.db")
    with registry.run("AAPL", {}) as run:
        files = {item.name: item for item in other.path.iterdir() if item.name != "manifest.json"}
        files[CARD] = card_json(replace(other.card, run_id=run.run_id))
        made = ModelStore(Path("models")).write("AAPL", DAY, files)
        run.log_bundle(made)
    number = registry.register(run.run_id, "AAPL", {"model_bundle": made.name})
    assert main(["promote", "AAPL", number]) == 1
    assert "worse than the champion: RMSE" in capsys.readouterr().err
    assert main(["promote", "AAPL", number, "--force"]) == 0
    assert "by force, against the gate: worse than the champion" in capsys.readouterr().out
    assert ModelStore(Path("models")).champion("AAPL").version == number
