"""Who should write a job's trainings to MLflow: one process, or every worker by itself?

`python benchmarks/tracking_writes.py [--tickers 20] [--workers 2]` records made-up trainings
(bundles of the usual size, six epochs, two figures) by one process and by several, into SQLite and
through a local MLflow server. Prints seconds of the clock and of the processor for each ticker, and
how many times the first way's they are.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {"MLFLOW_LOGGING_LEVEL": "ERROR", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}

from bundling import Trained
from config import Settings
from contracts import Calibration, ModelCard, Prices, Provenance
from evaluation import Prepared, prepared
from generate_synthetic_data import generate_synthetic_stock_data
from model_store import NETWORK, REFERENCE, TEMPLATES, WEIGHTS
from recipes import Recipe, find_recipe
from recording import Recorder
from referee import JudgedRows, Ruling, judge, score_one_step
from registry import Registry

SIZES = {NETWORK: 228_000, WEIGHTS: 251_000, REFERENCE: 190_000, TEMPLATES: 180_000}  # bytes
RECIPE = find_recipe("panel")
START = datetime(2020, 1, 1, tzinfo=UTC).date()


def made(ticker: str) -> tuple[Trained, Prepared, Recipe]:
    """A training that was never made, of the usual size."""
    bars = generate_synthetic_stock_data(ticker, "2020-01-01", "2025-12-31", 1500)
    first, last = (pd.Timestamp(bars["Date"].iloc[place]).date() for place in (0, -1))
    now = datetime.now(UTC)
    source = Provenance(
        source="file", adjustment="split", fetched_at=now, first_session=first, last_session=last,
        rows=len(bars), sha256="0" * 64,
    )  # fmt: skip
    data = prepared(Prices(ticker, bars, source), START, RECIPE)
    test = data.rows.rows(data.split.test)
    mids, closes = data.mids[test.last], data.bars["Close"].to_numpy()[test.last]
    said = {"lstm": closes, "last_mid": mids, "last_close": closes, "arima": mids}
    rows = JudgedRows(mids, closes, data.mids[test.last + 1], test.lo, test.hi, said)
    card = ModelCard(
        ticker=ticker, recipe=RECIPE.as_dict(), seed=42, trained_at=now.replace(microsecond=0),
        trained_through=last, start_date=START, train=data.span(data.split.train),
        validation=data.span(data.split.validation), test=data.span(data.split.test), data=source,
        calibration=Calibration(origins=1, levels=(0.5,), quantiles=((0.0,),)),
        scores=score_one_step(rows), skill=judge(rows, "lstm"), parity=0.0, versions={},
    )  # fmt: skip
    noise = np.random.default_rng(0)
    files = {name: noise.bytes(size) for name, size in SIZES.items()}
    figures = {name: noise.bytes(60_000) for name in ("training_history.png", "actual.png")}
    trained = Trained(
        files=files, card=card, rows=rows, fans=None, ruling=Ruling(True, "first champion"),
        against=None, criteria={"aic": 1.0, "bic": 1.0},
        epochs=((0.5, 0.5),) * 6, figures=figures, began=time.time(), seconds=6.0,
    )  # fmt: skip
    return trained, data, RECIPE


def placed(folder: Path, uri: str) -> Settings:
    """A project in a folder, tracked at an address."""
    return Settings(models_dir=folder / "models", data_dir=folder, mlflow_tracking_uri=uri)


def recorded(folder: Path, uri: str, tickers: list[str]) -> tuple[float, float]:
    """Record them all in this process; seconds of the clock and of the processor."""
    recorder = Recorder(placed(folder, uri), Registry(uri), "job", keras_models=False)
    lots = [made(ticker) for ticker in tickers]
    clock, processor = time.perf_counter(), time.process_time()
    for lot in lots:
        recorder.record(*lot)
    return time.perf_counter() - clock, time.process_time() - processor


def by_workers(folder: Path, uri: str, tickers: list[str], workers: int) -> tuple[float, float]:
    """The same by several processes at once; the slowest one's clock, and all their processor."""
    lots = [tickers[first::workers] for first in range(workers)]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        found = list(pool.map(partial(recorded, folder, uri), lots))
    return max(clock for clock, _ in found), sum(processor for _, processor in found)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A local MLflow server over SQLite; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
    quiet = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with subprocess.Popen(command, env=quiet, stdout=-3, stderr=-3, cwd=folder) as process:
        url = f"http://127.0.0.1:{port}"
        while process.poll() is None:
            try:
                urlopen(f"{url}/health", timeout=2).close()  # noqa: S310
                break
            except OSError:
                time.sleep(0.2)
        try:
            yield url
        finally:
            process.terminate()


def main() -> int:
    """Record by both ways into both stores, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickers", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    wish = parser.parse_args()
    tickers = [f"T{number}" for number in range(wish.tickers)]
    print(f"{'store':8} {'who writes':12} {'s/ticker':>9} {'CPU/ticker':>11} {'clock/one':>10}")
    for store in ("SQLite", "server"):
        alone = 0.0
        for who in ("one process", f"{wish.workers} workers"):
            with TemporaryDirectory() as name:
                folder = Path(name)
                sqlite = nullcontext(f"sqlite:///{folder}/mlflow.db")
                with server(folder) if store == "server" else sqlite as uri:
                    Registry(uri)
                    found = (
                        recorded(folder, uri, tickers)
                        if who == "one process"
                        else by_workers(folder, uri, tickers, wish.workers)
                    )
            clock, processor = (value / len(tickers) for value in found)
            alone = alone or clock
            print(f"{store:8} {who:12} {clock:9.3f} {processor:11.3f} {clock / alone:10.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
