"""Passwords of a first start: random, kept, handed over in files, each to its own database only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import postgres
import psycopg
import pytest
from conftest import absent

ROOT = Path(__file__).resolve().parent.parent
WRITE = ROOT / "deploy" / "images" / "write_secrets.py"
WITH_FILES = ROOT / "deploy" / "images" / "with_files.py"
ROLES = ROOT / "deploy" / "db" / "roles.sql"


def write_secrets(folder: Path) -> str:
    done = subprocess.run([sys.executable, WRITE, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def texts(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_every_start_has_passwords_of_its_own(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    write_secrets(one)
    write_secrets(two)
    assert texts(one).keys() == texts(two).keys()
    values = [*texts(one).values(), *texts(two).values()]
    assert len(set(values)) == len(values) == 12
    assert min(map(len, values)) >= 43  # 32 random bytes


def test_a_second_start_keeps_them_and_shows_none(tmp_path):
    first = write_secrets(tmp_path)
    before = texts(tmp_path)
    second = write_secrets(tmp_path)
    assert texts(tmp_path) == before
    assert second == "written: nothing, all are there\n"
    assert not any(text in first + second for text in before.values())


def test_a_password_taken_away_is_made_anew_with_its_address(tmp_path):
    write_secrets(tmp_path)
    before = texts(tmp_path)
    (tmp_path / "db" / "stock").unlink()
    write_secrets(tmp_path)
    after = texts(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {
        "db/stock",
        "stock/database_url",
    }
    assert after["db/stock"] in after["stock/database_url"]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, WRITE, tmp_path / "file"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("write_secrets: ")


def with_files(
    names: str, environment: dict[str, str], *command: str
) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(WITH_FILES), names, *command]
    return subprocess.run(line, capture_output=True, text=True, env=environment)


def test_a_command_gets_the_text_of_the_files_its_variables_name(tmp_path):
    (tmp_path / "address").write_text("postgresql://somewhere\n")
    given = {"ADDRESS": "old", "ADDRESS_FILE": str(tmp_path / "address"), "SOME_FILE": "nowhere"}
    show = "import os; print(os.environ['ADDRESS'], os.environ['SOME_FILE'])"
    done = with_files("ADDRESS,OTHER", given, sys.executable, "-c", show)
    assert done.stdout.split() == ["postgresql://somewhere", "nowhere"]


def test_a_command_does_not_start_without_its_files(tmp_path):
    given = {"ADDRESS_FILE": str(tmp_path / "nowhere")}
    done = with_files("ADDRESS", given, sys.executable, "-c", "")
    assert done.returncode == 2
    assert "nowhere" in done.stderr


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Iterator[tuple[Path, Path, int]]:
    """Folder of passwords, folder of the socket, port: a server that asks for passwords."""
    folder = postgres.programs()
    if folder is None:
        absent("no PostgreSQL on this machine", "REQUIRE_POSTGRES")
    secrets = tmp_path_factory.mktemp("secrets")
    write_secrets(secrets)
    with postgres.running(folder, "scram-sha-256") as (socket, port):
        apply_roles(secrets, socket, port)
        yield secrets, socket, port


def apply_roles(secrets: Path, socket: Path, port: int) -> None:
    command = ["psql", "-h", str(socket), "-p", str(port), "-U", "postgres", "-f", str(ROLES)]
    place = {"SECRETS_DIR": str(secrets / "db"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=place)
    assert done.returncode == 0, done.stderr


def connect(role: str, database: str, password: str, port: int) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1", port=port, dbname=database, user=role, password=password
    )


@pytest.mark.parametrize(("role", "name"), [("stock", "forecasts"), ("mlflow", "mlflow")])
def test_a_role_owns_its_database(database, role, name):
    secrets, _, port = database
    with connect(role, name, (secrets / "db" / role).read_text(), port) as connection:
        connection.execute("CREATE TABLE t (a int)")
        connection.rollback()


@pytest.mark.parametrize(("role", "name"), [("stock", "mlflow"), ("mlflow", "forecasts")])
def test_a_role_gets_into_no_other_database(database, role, name):
    secrets, _, port = database
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        connect(role, name, (secrets / "db" / role).read_text(), port)


def test_nobody_gets_in_with_another_password(database):
    _, _, port = database
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect("stock", "forecasts", "stock", port)


def test_a_password_is_changed_by_taking_the_file_away_and_running_both_again(database):
    secrets, socket, port = database
    old = (secrets / "db" / "stock").read_text()
    (secrets / "db" / "stock").unlink()
    write_secrets(secrets)
    apply_roles(secrets, socket, port)
    connect("stock", "forecasts", (secrets / "db" / "stock").read_text(), port).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect("stock", "forecasts", old, port)
