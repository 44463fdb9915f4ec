"""`make containers` without an engine, and what it makes of what an engine says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "deploy"))

import check_containers  # noqa: E402


def engine(folder: Path, *rows: dict) -> dict[str, str]:
    """A `docker` that answers `ps` with these containers and everything else with nothing."""
    text = "\n".join(json.dumps(row) for row in rows)
    (folder / "docker").write_text(
        f"#!/bin/sh\ncase \"$*\" in *' ps '*) cat <<'E'\n{text}\nE\n;; esac\n"
    )
    (folder / "docker").chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def container(name: str, state: str = "running", health: str = "healthy", code: int = 0) -> dict:
    return {"Service": name, "State": state, "Health": health, "ExitCode": code}


def test_without_an_engine_it_says_so_and_fails(tmp_path):
    line = [sys.executable, str(ROOT / "deploy" / "check_containers.py")]
    done = subprocess.run(line, capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert done.returncode == 3
    assert "nothing was checked: no `docker` here" in done.stderr


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (container("api"), "healthy"),
        (container("api", health="starting"), "starting"),
        (container("secrets", "exited", ""), "ended"),
        (container("api", "exited", "", 137), "exited"),
        (container("api", "restarting", ""), "restarting"),
    ],
)
def test_a_container_is_what_it_says(tmp_path, monkeypatch, row, told):
    monkeypatch.setenv("PATH", engine(tmp_path, row)["PATH"])
    assert check_containers.Stack({}, 1).states() == [(row["Service"], told)]


@pytest.mark.parametrize(
    "spoilt", [container("api", "exited", "", 1), container("api", health="unhealthy")]
)
def test_one_container_that_is_not_well_is_enough(tmp_path, monkeypatch, spoilt):
    well = [container(name) for name in check_containers.LASTING]
    monkeypatch.setenv("PATH", engine(tmp_path, *well, spoilt)["PATH"])
    with pytest.raises(check_containers.Failed, match="not healthy"):
        check_containers.Stack({}, 0).settle()


def test_all_healthy_is_settled(tmp_path, monkeypatch):
    well = [container(name) for name in check_containers.LASTING]
    rows = [*well, container("secrets", "exited", "")]
    monkeypatch.setenv("PATH", engine(tmp_path, *rows)["PATH"])
    check_containers.Stack({}, 0).settle()


def test_memory_is_told_beside_its_limit(monkeypatch, capsys):
    stack = check_containers.Stack({}, 1)
    limits = {name: {"mem_limit": str(2**30)} for name in check_containers.LASTING}

    def compose(*line: str) -> str:
        if line[0] == "config":
            return json.dumps({"services": limits})
        if line[2] == "db":
            raise check_containers.Failed("no such file")
        return f"{600 * 2**20}\nanon {200 * 2**20}\n"

    monkeypatch.setattr(stack, "compose", compose)
    check_containers.memory(stack)
    told = capsys.readouterr().out
    assert "api: 200 MiB, with cached files at most 600 of 1024" in told
    assert "db: may take 1024 MiB; its kernel does not tell" in told


def test_every_lasting_service_of_the_stack_is_killed_once():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    lasting = {n for n, row in services.items() if row["restart"] != "no" and "profiles" not in row}
    assert set(check_containers.LASTING) == lasting
