"""Save and restore what a stack has learnt: `python backup.py save|check|restore FOLDER`.

Databases by their own programs, so that a copy made under writes is whole; folders as archives; a
manifest with a SHA-256 of each. With `--compose` the same programs run inside the containers.
Knows where things are and nothing of what they mean.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import unquote, urlsplit

from config import Settings, get_settings
from contracts import VERSION, BackupFailed, ForecastingError

MANIFEST = "manifest.json"
CLEAR = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"


class Store(Protocol):
    """One thing that is kept, and the name of its file in a backup."""

    @property
    def name(self) -> str: ...
    def save(self, to: Path) -> None: ...
    def restore(self, file: Path) -> None: ...


@dataclass(frozen=True)
class Folder:
    """A folder as a tar archive; `prefix` is how its programs are reached."""

    name: str
    path: str
    prefix: tuple[str, ...] = ()

    def save(self, to: Path) -> None:
        """Archive everything below it."""
        with to.open("wb") as file:
            _run([*self.prefix, "tar", "-C", self.path, "-cf", "-", "."], out=file)

    def restore(self, file: Path) -> None:
        """Empty it, then unpack."""
        if not self.prefix:
            Path(self.path).mkdir(parents=True, exist_ok=True)
        _run([*self.prefix, "find", self.path, "-mindepth", "1", "-delete"])
        with file.open("rb") as archive:
            _run([*self.prefix, "tar", "-C", self.path, "-xf", "-"], stdin=archive)


@dataclass(frozen=True)
class Postgres:
    """A database of a PostgreSQL server, by pg_dump and pg_restore; `login` says which and who."""

    name: str
    login: tuple[str, ...]
    prefix: tuple[str, ...] = ()
    password: str = ""  # by the environment: an argument is for every process to see

    def save(self, to: Path) -> None:
        """One consistent moment of it, in PostgreSQL's own compressed form."""
        line = [*self.prefix, "pg_dump", *self.login, "-Fc", "--no-owner", "--no-acl"]
        with to.open("wb") as file:
            _run(line, out=file, password=self.password)

    def restore(self, file: Path) -> None:
        """Drop every table, then load: newer tables would not fit older ones."""
        clear = ["psql", *self.login, "-q", "-v", "ON_ERROR_STOP=1", "-c", CLEAR]
        _run([*self.prefix, *clear], password=self.password)
        load = ["pg_restore", *self.login, "--no-owner", "--no-acl", "--exit-on-error"]
        with file.open("rb") as dump:
            _run([*self.prefix, *load], stdin=dump, password=self.password)


@dataclass(frozen=True)
class Sqlite:
    """A database in a file, by SQLite's own copying."""

    name: str
    path: Path

    def save(self, to: Path) -> None:
        """One consistent moment of it, also while somebody writes."""
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(to)) as copy:
            source.backup(copy)

    def restore(self, file: Path) -> None:
        """Put the copy in its place in one step; what is left of an unfinished write goes."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f"{self.path.name}.restored")
        shutil.copyfile(file, draft)
        for rest in ("-wal", "-shm", "-journal"):
            self.path.with_name(self.path.name + rest).unlink(missing_ok=True)
        draft.replace(self.path)


def stores_here(settings: Settings) -> list[Store]:
    """What the settings name, as far as it is on this machine or behind a PostgreSQL address."""
    found: list[Store] = [*_database("forecasts", settings.database_url)]
    found += _database("mlflow", settings.mlflow_tracking_uri)
    places = {"models": settings.models_dir, "data": settings.data_dir}
    places |= {"reports": settings.reports_dir}
    places |= {name: Path(name) for name in ("mlruns", "mlartifacts")}
    found += [Folder(f"{name}.tar", str(path)) for name, path in places.items()]
    return found


def stores_of_compose() -> list[Store]:
    """What docker-compose.yml keeps on its volumes; the secrets are not part of a backup."""
    inside = ("docker", "compose", "exec", "-T", "db")
    once = ("docker", "compose", "run", "--rm", "--no-deps", "-T")
    return [
        Postgres("forecasts.dump", ("-U", "stock", "-d", "forecasts"), inside),
        Postgres("mlflow.dump", ("-U", "mlflow", "-d", "mlflow"), inside),
        Folder("mlflow.tar", "/mlflow", (*once, "mlflow")),
        Folder("models.tar", "/models", (*once, "trainer")),
        Folder("data.tar", "/data", (*once, "trainer")),
        Folder("reports.tar", "/reports", (*once, "monitor")),
    ]


def _database(name: str, url: str) -> list[Store]:
    if url.startswith("sqlite:///"):
        return [Sqlite(f"{name}.db", Path(url.removeprefix("sqlite:///")))]
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgresql"):
        return []  # a tracking server: whoever runs it saves it
    user = f"{parts.username}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    address = f"postgresql://{user}{parts.hostname or ''}{port}{parts.path}"
    login = ("-d", address + (f"?{parts.query}" if parts.query else ""))
    return [Postgres(f"{name}.dump", login, password=unquote(parts.password or ""))]


def save(stores: Sequence[Store], folder: Path) -> list[str]:
    """Save what is there into a new folder, which appears whole or not at all.

    Raises:
        BackupFailed: the folder exists, or a program fails.
    """
    if folder.exists():
        raise BackupFailed(f"{folder} is there already; name a new folder")
    draft = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for store in stores:  # databases first: a forecast may lack no model that it names
        if _is_there(store):
            store.save(draft / store.name)
    sums = {path.name: _sum(path) for path in sorted(draft.iterdir())}
    said = {"version": VERSION, "saved_at": datetime.now(UTC).isoformat(), "files": sums}
    (draft / MANIFEST).write_text(json.dumps(said, indent=1), "utf-8")
    draft.rename(folder)
    return list(sums)


def check(folder: Path) -> list[str]:
    """Names of the files of a backup, each as it was when it was saved.

    Raises:
        BackupFailed: one is missing or altered, or this is no backup.
    """
    try:
        sums = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        wrong = [name for name, digest in sums.items() if _sum(folder / name) != digest]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupFailed(f"{folder} is no whole backup ({type(error).__name__})") from error
    if wrong:
        raise BackupFailed(f"{folder}: altered since it was saved: {', '.join(wrong)}")
    return list(sums)


def restore(stores: Sequence[Store], folder: Path) -> list[str]:
    """Put back what the backup holds; nothing is touched before all of it was checked.

    Raises:
        BackupFailed: the backup is not whole, is of another kind of stack, or a program fails.
    """
    names, known = check(folder), {store.name: store for store in stores}
    if strange := sorted(set(names) - set(known)):
        raise BackupFailed(
            f"{folder} holds {', '.join(strange)}, which this stack has no place for; "
            "was it saved with --compose or from other databases?"
        )
    for name in reversed(names):
        known[name].restore(folder / name)
    return names


def _is_there(store: Store) -> bool:
    if isinstance(store, Sqlite):
        return store.path.is_file()
    return not isinstance(store, Folder) or bool(store.prefix) or Path(store.path).is_dir()


def _run(
    command: Sequence[str],
    stdin: IO[bytes] | None = None,
    out: IO[bytes] | None = None,
    password: str = "",
) -> None:
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    try:
        done = subprocess.run(
            command,
            stdin=stdin or subprocess.DEVNULL,
            stdout=out or subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            check=False,
        )
    except OSError as error:
        raise BackupFailed(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BackupFailed(f"{' '.join(command[:6])} ... failed: {said[-1] if said else ''}")


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(argv: list[str] | None = None) -> int:
    """Save, check or restore a whole stack. Exit 2 where that cannot be done."""
    parser = argparse.ArgumentParser(prog="backup.py", description=main.__doc__)
    parser.add_argument("action", choices=["save", "check", "restore"], help="what to do")
    parser.add_argument("folder", type=Path, help="of the backup; a new one to save into")
    parser.add_argument(
        "--compose", action="store_true", help="the stack of docker-compose.yml, db running"
    )
    arguments = parser.parse_args(argv)
    try:
        if arguments.action == "check":
            names = check(arguments.folder)
        else:
            stores = stores_of_compose() if arguments.compose else stores_here(get_settings())
            act = save if arguments.action == "save" else restore
            names = act(stores, arguments.folder)
    except (ForecastingError, OSError, sqlite3.Error) as error:
        print(f"backup.py: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.folder}: {', '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
