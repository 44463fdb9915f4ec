"""`make up` as a user types it: trains what is missing, serves all three, Ctrl-C stops all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import absent
from project import ROOT, Project, free_port

pytestmark = pytest.mark.real_data


@pytest.fixture
def checkout(tmp_path, real_data) -> Project:
    """The tracked files in an empty folder, with this environment instead of a fresh install."""
    if not (ROOT / ".venv" / "installed").is_file():
        absent("no .venv as `make install` sets it up", "REQUIRE_REAL_DATA")
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    project = Project(
        tmp_path,
        {"STOCK_TICKERS": "AAPL", "STOCK_AS_OF": "2025-12-31", "STOCK_EPOCHS": "1"}
        | {f"{name}_PORT": str(free_port()) for name in ("API", "DASHBOARD", "MLFLOW")},
    )
    source = str(real_data / "yahoo" / "AAPL.csv")
    assert project.command("data_pipeline.py", "import", "AAPL", source).returncode == 0
    return project


@contextmanager
def up(project: Project) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`make up` until it says that it is ready; gives the process and what it printed."""
    log = project.folder / "up.log"
    environment = {k: v for k, v in project.environment().items() if not k.startswith("MAKE")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "up"],
            cwd=project.folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 200
        while "ready; Ctrl-C" not in log.read_text() and time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
        assert "ready; Ctrl-C" in log.read_text(), log.read_text()
        yield process, log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)


def members(session: int) -> list[str]:
    """Processes of a session that still live."""
    listed = subprocess.run(["ps", "-eo", "sid=,stat=,args="], capture_output=True, text=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [row[2] for row in rows if row[0] == str(session) and not row[1].startswith("Z")]


def bundles(project: Project) -> list[Path]:
    return sorted((project.folder / "models").glob("AAPL_lstm_*"))


def test_up_trains_serves_stops_and_the_second_start_trains_nothing(checkout):
    with up(checkout) as (process, printed):
        assert "AAPL training" in printed
        for name in ("API", "DASHBOARD", "MLFLOW"):
            url = f"http://127.0.0.1:{checkout.settings[name + '_PORT']}"
            assert url in printed
            with urllib.request.urlopen(url, timeout=20) as response:
                assert response.status == 200
        os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
        process.wait(30)
        assert members(process.pid) == []
    first = bundles(checkout)
    with up(checkout) as (_, printed):
        assert "training" not in printed
    assert bundles(checkout) == first
    assert len(first) == 1
