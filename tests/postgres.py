"""A real PostgreSQL server in a folder of its own, on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from project import free_port


def programs() -> Path | None:
    """The folder with initdb and pg_ctl; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    where = str(found[-1]) if found else shutil.which("initdb")
    return Path(where).parent if where else None


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Start one, give `postgresql+psycopg://...` of an empty database, stop it."""
    with running(folder, "trust") as (_, port):
        yield f"postgresql+psycopg://postgres:not-secret@127.0.0.1:{port}/postgres"


@contextmanager
def running(folder: Path, auth: str) -> Iterator[tuple[Path, int]]:
    """Start one whose TCP clients are asked as `auth` says; give its socket's folder and port."""
    port, data = free_port(), Path(tempfile.mkdtemp(prefix="pg-"))
    as_root = os.geteuid() == 0  # which PostgreSQL refuses to run as
    prefix = ["runuser", "-u", "postgres", "--"] if as_root else []
    if as_root:
        shutil.chown(data, "postgres")

    def run(program: str, *arguments: str) -> None:
        command = [*prefix, str(folder / program), "-D", str(data / "db"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    run("initdb", "--auth-local=trust", f"--auth-host={auth}", "-U", "postgres")
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1"
    run("pg_ctl", "-w", "-o", options, "-l", str(data / "log"), "start")
    try:
        yield data, port
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(data)
