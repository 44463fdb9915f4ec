"""Dump, wipe, restore, same answers: real SQLite and PostgreSQL, a real model, real prices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from project import Project
from sqlalchemy import create_engine, text

import backup
from contracts import BackupFailed
from forecast_log import ForecastLog


@pytest.fixture(params=["sqlite", "postgres"])
def stack(request, tmp_path, trained_project) -> Project:
    """A copy of a trained project, its forecast log in either database."""
    folder = tmp_path / "stack"
    shutil.copytree(trained_project.folder, folder)
    url = f"sqlite:///{folder}/forecasts.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        empty(url)
    return Project(folder, {**trained_project.settings, "STOCK_DATABASE_URL": url})


def empty(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(backup.CLEAR))
    engine.dispose()


def wipe(stack: Project) -> None:
    """Everything a stack has learnt and promised, gone."""
    url = stack.settings["STOCK_DATABASE_URL"]
    if url.startswith("postgresql"):
        empty(url)
    shutil.rmtree(stack.folder)
    stack.folder.mkdir()


def forecast(stack: Project) -> dict:
    done = stack.command("predict.py", "AAPL", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def asked(stack: Project) -> int:
    """The number of AAPL's open request for training; a new one if there is none."""
    log = ForecastLog(stack.settings["STOCK_DATABASE_URL"])
    try:
        return log.ask_training("AAPL", "a test")
    finally:
        log.close()


def test_after_a_wipe_and_a_restore_the_answers_are_the_same(stack, tmp_path):
    log = ForecastLog(stack.settings["STOCK_DATABASE_URL"])
    log.finish_training(log.ask_training("AAPL", "an earlier one"), "kept")
    log.close()
    before, number = forecast(stack), asked(stack)
    saved = stack.command("backup.py", "save", str(tmp_path / "saved"))
    assert saved.returncode == 0, saved.stderr
    wipe(stack)
    restored = stack.command("backup.py", "restore", str(tmp_path / "saved"))
    assert restored.returncode == 0, restored.stderr
    assert (forecast(stack), asked(stack)) == (before, number)


@pytest.fixture
def kept(tmp_path) -> tuple[list[backup.Store], Path]:
    """A folder with one file, and where it was saved."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a").write_text("first")
    stores: list[backup.Store] = [backup.Folder("models.tar", str(tmp_path / "models"))]
    backup.save(stores, tmp_path / "saved")
    return stores, tmp_path / "saved"


def test_what_came_later_is_gone_after_a_restore(kept, tmp_path):
    (tmp_path / "models" / "b").write_text("later")
    backup.restore(*kept)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["a"]


def test_an_altered_backup_is_refused_before_anything_is_touched(kept, tmp_path):
    stores, saved = kept
    with (saved / "models.tar").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BackupFailed, match="altered since it was saved: models.tar"):
        backup.restore(stores, saved)
    assert (tmp_path / "models" / "a").read_text() == "first"


@pytest.mark.parametrize("lost", ["manifest.json", "models.tar"])
def test_a_backup_that_lacks_a_file_is_refused(kept, lost):
    stores, saved = kept
    (saved / lost).unlink()
    with pytest.raises(BackupFailed, match="no whole backup"):
        backup.restore(stores, saved)


def test_a_backup_of_another_kind_of_stack_is_refused(kept):
    with pytest.raises(BackupFailed, match="no place for"):
        backup.restore([], kept[1])


def test_no_backup_is_written_over(kept):
    with pytest.raises(BackupFailed, match="there already"):
        backup.save(*kept)


def test_a_backup_that_failed_half_way_does_not_appear(tmp_path):
    broken: list[backup.Store] = [backup.Postgres("f.dump", ("-d", "postgresql://127.0.0.1:1/x"))]
    with pytest.raises(BackupFailed, match="pg_dump"):
        backup.save(broken, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_password_is_in_no_argument():
    (store,) = backup._database("forecasts", "postgresql+psycopg://stock:p%40ss@db:5432/forecasts")
    assert isinstance(store, backup.Postgres)
    assert store.login == ("-d", "postgresql://stock@db:5432/forecasts")
    assert store.password == "p@ss"


def test_the_stack_of_containers_saves_every_volume_that_holds_something_learnt():
    import yaml

    compose = yaml.safe_load((Path(backup.__file__).parent / "docker-compose.yml").read_text())
    passing = {"prometheus", "grafana"} | {v for v in compose["volumes"] if "secrets-" in v}
    saved = {Path(s.name).stem for s in backup.stores_of_compose() if isinstance(s, backup.Folder)}
    assert saved | {"db"} == set(compose["volumes"]) - passing
