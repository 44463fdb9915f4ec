"""Build and start the whole stack, use it, kill each container, restart, scale: `make containers`.

Works on a compose project of its own (other volumes and ports than yours) and takes it down at the
end. Needs a container engine; says so and exits with 3 where there is none.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "stock-forecasting-check"
LASTING = ("db", "mlflow", "trainer", "monitor", "api", "proxy", "dashboard")
COUNT = "SELECT count(*) FROM promises"
# at most, with cached files; last, what is held now without them (control groups of version 2, 1)
TAKEN = """cd /sys/fs/cgroup; if [ -e memory.peak ]
then cat memory.peak && grep '^anon ' memory.stat
else cat memory/memory.max_usage_in_bytes && grep '^total_rss ' memory/memory.stat; fi"""


class Failed(Exception):
    """What was expected and did not happen."""


class Stack:
    """One compose project, driven by `docker compose` as a user would."""

    def __init__(self, ports: Mapping[str, int], patience: float) -> None:
        self.ports, self.patience = ports, patience
        self.environment = {**os.environ, **{name: str(port) for name, port in ports.items()}}

    def compose(self, *arguments: str) -> str:
        """Run it; give what it printed."""
        line = ["docker", "compose", "-p", PROJECT, *arguments]
        done = subprocess.run(
            line, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(f"{' '.join(line)}\n{(done.stdout + done.stderr)[-4000:]}")
        return done.stdout

    def states(self) -> list[tuple[str, str]]:
        """(service, what it is) for each container: healthy, ended, or what else it says."""
        rows = [
            json.loads(line) for line in self.compose("ps", "-a", "--format", "json").splitlines()
        ]
        return [(row["Service"], _state(row)) for row in rows]

    def settle(self, least: Mapping[str, int] | None = None) -> None:
        """Wait until every container is healthy, or has ended well if it was to end."""
        wanted = dict.fromkeys(LASTING, 1) | dict(least or {})

        def well() -> bool:
            states = self.states()
            healthy = [name for name, state in states if state == "healthy"]
            enough = all(healthy.count(name) >= number for name, number in wanted.items())
            return enough and all(state in ("healthy", "ended") for _, state in states)

        self.until(well, lambda: f"not healthy: {self.states()}")

    def until(self, holds: Callable[[], bool], otherwise: Callable[[], str]) -> None:
        """Ask every two seconds until it holds or patience ends."""
        end = time.monotonic() + self.patience
        while not holds():
            if time.monotonic() > end:
                raise Failed(otherwise())
            time.sleep(2)

    def get(self, path: str, port: str = "API_PORT") -> Any:
        """The JSON, or the text, that a service answers with 200."""
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=30) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, OSError) as error:
            raise Failed(f"GET {path}: {error}") from error
        return json.loads(text) if text.startswith(("{", "[")) else text

    def kept_forecasts(self) -> int:
        """How many forecasts stand in the database."""
        rows = self.compose(
            "exec", "-T", "db", "psql", "-U", "stock", "-d", "forecasts", "-tAc", COUNT
        )
        return int(rows)


def _state(row: Mapping[str, Any]) -> str:
    if row["State"] == "running":
        return row["Health"] or "running"
    return "ended" if row["State"] == "exited" and not row["ExitCode"] else f"{row['State']}"


def start(stack: Stack, prices: Path | None) -> None:
    """Build every image and bring everything up; own prices go in before the first training."""
    stack.compose("build")
    if prices:
        stack.compose("run", "--rm", "secrets")
        mount = ["-v", f"{prices.resolve()}:/import.csv:ro"]
        command = ["python", "data_pipeline.py", "import", "AAPL", "/import.csv"]
        stack.compose("run", "--rm", "--no-deps", "-T", *mount, "trainer", *command)
    stack.compose("up", "-d")
    stack.settle()


def answers(stack: Stack) -> None:
    """Every face of the stack answers."""
    forecast = stack.get("/predict?ticker=AAPL")
    if len(forecast["prices"]) != 30:
        raise Failed(f"/predict answered {str(forecast)[:300]}")
    print(
        f"       AAPL by model {forecast['model']['version']}, prices: {forecast['data']['source']}"
    )
    stack.get("/_stcore/health", "DASHBOARD_PORT")
    stack.get("/health", "MLFLOW_PORT")
    if not stack.get("/runs/AAPL"):
        raise Failed("MLflow has no run of AAPL")


def memory(stack: Stack) -> None:
    """Print what each container has taken, now and at most, beside what it may."""
    services = json.loads(stack.compose("config", "--format", "json"))["services"]
    for name in LASTING:
        may = int(services[name]["mem_limit"]) / 2**20
        try:
            said = stack.compose("exec", "-T", name, "sh", "-c", TAKEN).split()
        except Failed:  # a kernel before 5.19 has no memory.peak
            print(f"       {name}: may take {may:.0f} MiB; its kernel does not tell what it took")
            continue
        peak, held = int(said[0]) / 2**20, int(said[-1]) / 2**20
        print(f"       {name}: {held:.0f} MiB, with cached files at most {peak:.0f} of {may:.0f}")


def survives_kills(stack: Stack) -> None:
    """Kill all processes of each container in turn; it comes back and nothing is lost."""
    model = stack.get("/predict?ticker=AAPL")["model"]
    stack.until(lambda: stack.kept_forecasts() > 0, lambda: "no forecast was written down")
    kept = stack.kept_forecasts()
    for name in LASTING:
        user = ["-u", "postgres"] if name == "db" else []
        # all but the first process; that one ends with them. `docker kill` would count as a wish
        line = ["exec", "-T", *user, name, "sh", "-c", "kill -9 -1"]
        subprocess.run(
            ["docker", "compose", "-p", PROJECT, *line],
            cwd=ROOT,
            env=stack.environment,
            check=False,
            capture_output=True,
        )
        time.sleep(2)
        stack.settle()
        if stack.get("/predict?ticker=AAPL")["model"] != model or stack.kept_forecasts() < kept:
            raise Failed(f"after {name} was killed a model or forecasts are missing")
        print(f"       {name} was killed and came back")


def survives_a_restart(stack: Stack) -> None:
    """Take every container away and start again: models, runs and forecasts are there."""
    model, kept = stack.get("/predict?ticker=AAPL")["model"], stack.kept_forecasts()
    runs = len(stack.get("/runs/AAPL")["runs"])
    stack.compose("down", "--timeout", "60")
    stack.compose("up", "-d")
    stack.settle()
    now = (stack.get("/predict?ticker=AAPL")["model"], len(stack.get("/runs/AAPL")["runs"]))
    if now != (model, runs) or stack.kept_forecasts() < kept:
        raise Failed(f"after a restart: model and runs {now}, before {(model, runs)}")


def scales(stack: Stack) -> None:
    """Three API containers behind the one address; losing one costs no answer."""
    stack.compose("up", "-d", "--no-recreate", "--scale", "api=3")
    stack.settle({"api": 3})
    time.sleep(5)  # the proxy looks every two seconds
    for _ in range(60):
        stack.get("/predict?ticker=AAPL")
    names = stack.compose("ps", "-q", "api").split()
    subprocess.run(["docker", "kill", names[0]], check=True, capture_output=True)
    for _ in range(120):
        stack.get("/predict?ticker=AAPL")
    stack.compose("up", "-d", "--no-recreate", "--scale", "api=3")
    stack.settle({"api": 3})


def sizes(stack: Stack) -> None:
    """Print how large the images are."""
    names = json.loads(stack.compose("config", "--format", "json"))["services"].values()
    for image in sorted({row["image"] for row in names if "build" in row}):
        line = ["docker", "image", "inspect", "--format", "{{.Size}}", image]
        size = int(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
        print(f"       {image}: {size / 1e6:.0f} MB")


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """A free port of this machine for each name."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: probe.getsockname()[1] for name, probe in zip(names, probes, strict=True)}
    for probe in probes:
        probe.close()
    return ports


def missing() -> str | None:
    """What is missing for this check on this machine."""
    for line in (["docker", "version"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(line, capture_output=True, text=True, check=False)
        except OSError:
            return "no `docker` here; install a container engine with Compose 2.24 or newer"
        if done.returncode:
            return (
                f"`{' '.join(line)}` says: {(done.stderr or done.stdout).strip().splitlines()[-1]}"
            )
    return None


def main(argv: list[str] | None = None) -> int:
    """Check the stack in containers. Exit 1 if something does not hold, 3 without an engine."""
    parser = argparse.ArgumentParser(prog="check_containers.py", description=main.__doc__)
    parser.add_argument(
        "--prices", type=Path, help="Yahoo CSV of AAPL to train on; else downloaded"
    )
    parser.add_argument("--patience", type=float, default=1800, help="seconds to wait for health")
    parser.add_argument("--keep", action="store_true", help="leave the containers as they are")
    arguments = parser.parse_args(argv)
    if lack := missing():
        print(f"check_containers.py: nothing was checked: {lack}", file=sys.stderr)
        return 3
    ports = free_ports(["API_PORT", "DASHBOARD_PORT", "MLFLOW_PORT"])
    stack = Stack(ports, arguments.patience)
    steps: dict[str, Callable[[], None]] = {
        "built, started, healthy": lambda: start(stack, arguments.prices),
        "every face answers": lambda: answers(stack),
        "memory": lambda: memory(stack),
        "each container killed in turn": lambda: survives_kills(stack),
        "stopped and started again": lambda: survives_a_restart(stack),
        "three API containers, one lost": lambda: scales(stack),
        "sizes of the images": lambda: sizes(stack),
    }
    try:
        return _walk(steps)
    finally:
        if not arguments.keep:
            stack.compose("down", "--volumes", "--remove-orphans", "--timeout", "20")


def _walk(steps: Mapping[str, Callable[[], None]]) -> int:
    for name, step in steps.items():
        began = time.monotonic()
        try:
            step()
        except Failed as failure:
            print(f"wrong  {name}: {failure}", flush=True)
            return 1
        print(f"right  {name} ({time.monotonic() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
