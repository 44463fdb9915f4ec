"""Whether MLflow stays usable with 500 experiments of a year of weekly runs each, as Markdown.

`python benchmarks/tracking.py` trains nothing: it tracks the runs of one ticker through the
registry, as a training does, then copies their rows for the other tickers inside the SQLite
database, and asks what the page, a training and the command line ask.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from exhibits.runs import TrackingServer
from registry import Registry
from tracking.retention import Policy

FIRST = "T000"
EPOCHS = 6  # of recipe panel
COPIED = (  # tables with rows of one run or one model, and the columns that name it
    ("runs", ("run_uuid", "experiment_id")),
    ("params", ("run_uuid",)),
    ("metrics", ("run_uuid",)),
    ("latest_metrics", ("run_uuid",)),
    ("tags", ("run_uuid",)),
    ("registered_models", ("name",)),
    ("model_versions", ("name", "run_id")),
    ("model_version_tags", ("name",)),
    ("registered_model_aliases", ("name",)),
)


def track(registry: Registry, ticker: str, runs: int) -> None:
    """Runs with the parameters, curves, scores and version of a training, without artifacts."""
    parameters = {f"parameter_{n}": n for n in range(30)} | {"recipe": "panel"}
    for number in range(runs):
        with registry.run(ticker, parameters) as run:
            for epoch in range(EPOCHS):
                run.log_epoch(epoch, {"train_loss": 1.0 / (epoch + 1), "val_loss": 1.1})
            run.log_metrics({f"score_{n}": n + number / 100 for n in range(25)})
            run.log_metrics({"rmse_ratio": 1 + number / 1000, "crps_ratio": 0.97})
            run.tag(model_bundle=f"{ticker}_lstm_{number}", data_source="file")
        version = registry.register(run.run_id, ticker, {"model_bundle": f"{ticker}_{number}"})
    registry.name_champion(ticker, version)


def multiply(database: Path, tickers: Sequence[str]) -> None:
    """The first ticker's rows again for each of the others."""
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        (name, number) = connection.execute(
            "SELECT name, experiment_id FROM experiments WHERE name LIKE ?", (f"%{FIRST}%",)
        ).fetchone()
        for place, ticker in enumerate(tickers, start=1):
            row = connection.execute("SELECT * FROM experiments WHERE name = ?", (name,)).fetchone()
            facts = [name.replace(FIRST, ticker) if value == name else value for value in row]
            facts[row.index(number)] = number + place
            marks = ", ".join("?" * len(facts))
            connection.execute(f"INSERT INTO experiments VALUES ({marks})", facts)
            for table, keys in COPIED:
                _copy(connection, table, keys, ticker, (number, number + place))


def _copy(
    connection: sqlite3.Connection,
    table: str,
    keys: Sequence[str],
    ticker: str,
    experiments: tuple[int, int],
) -> None:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    rows = connection.execute(f"SELECT * FROM {table} WHERE {_of_first(table)}").fetchall()

    def other(column: str, value: object) -> object:
        if column == "experiment_id":
            return experiments[1]
        if column in keys and column != "name":
            return hashlib.md5(f"{value}{ticker}".encode(), usedforsecurity=False).hexdigest()
        return value.replace(FIRST, ticker) if isinstance(value, str) else value

    made = [[other(c, v) for c, v in zip(columns, row, strict=True)] for row in rows]
    marks = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", made)


def _of_first(table: str) -> str:
    if table.startswith(("registered", "model")):
        return f"name = 'stock-lstm-{FIRST}'"
    inside = f"SELECT experiment_id FROM experiments WHERE name LIKE '%{FIRST}%'"
    if table == "runs":
        return f"experiment_id IN ({inside})"
    return f"run_uuid IN (SELECT run_uuid FROM runs WHERE experiment_id IN ({inside}))"


@contextmanager
def ui(folder: Path) -> Iterator[str]:
    """A real `mlflow ui` over the database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while time.monotonic() < until:
            try:
                with urlopen(f"{url}/health", timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def seconds(make: Callable[[], object], times: int = 5) -> float:
    """The median of some times, after one that does not count."""
    make()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        make()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def asked(folder: Path, registry: Registry, ticker: str) -> dict[str, float]:
    """Seconds of what is asked of MLflow about one ticker."""
    run_ids = iter(range(1000))

    def one_more() -> None:
        with registry.run(ticker, {"recipe": "panel"}) as run:
            run.log_metrics({"rmse_ratio": 1.0, "n": float(next(run_ids))})
        registry.register(run.run_id, ticker, {})

    with ui(folder) as url:
        server = TrackingServer(url, url)
        found = {
            "what `/runs/{ticker}` asks, 50 runs, over REST": seconds(
                lambda: server.runs(ticker, None, None, 50)
            ),
            "its training curves": seconds(
                lambda: server.history(ticker, server.runs(ticker, None, None, 1).runs[0].run_id)
            ),
        }
        server.close()
    return found | {
        "`registry.py history`": seconds(lambda: registry.versions(ticker)),
        "one more run and its version": seconds(one_more, 3),
        "`registry.py prune --dry-run`": seconds(
            lambda: registry.prunable(ticker, ["52"], Policy(26)), 3
        ),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table: one ticker alone, then among all of them."""
    parser = argparse.ArgumentParser(prog="tracking.py", description=main.__doc__)
    parser.add_argument("--tickers", type=int, default=500, help="experiments in all")
    parser.add_argument("--runs", type=int, default=52, help="of each")
    arguments = parser.parse_args(argv)
    others = [f"T{number:03}" for number in range(1, arguments.tickers)]
    with tempfile.TemporaryDirectory() as name:
        folder, database = Path(name), Path(name) / "mlflow.db"
        os.chdir(folder)
        registry = Registry(f"sqlite:///{database}")
        track(registry, FIRST, arguments.runs)
        alone, small = asked(folder, registry, FIRST), database.stat().st_size
        multiply(database, others)
        middle = others[len(others) // 2]
        among, large = asked(folder, registry, middle), database.stat().st_size
        began = time.perf_counter()
        old = registry.prunable(middle, [str(arguments.runs)], Policy(26))
        registry.delete_runs(middle, old)
        pruned = time.perf_counter() - began
    print(f"| {arguments.runs} runs each | 1 ticker | {arguments.tickers} tickers |")
    print("|---|--:|--:|")
    for what, time_alone in alone.items():
        print(f"| {what} | {time_alone * 1e3:.0f} ms | {among[what] * 1e3:.0f} ms |")
    print(f"| `registry.py prune` of one, {len(old)} runs deleted | | {pruned:.1f} s |")
    print(f"| the database | {small / 1e6:.1f} MB | {large / 1e6:.0f} MB |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
