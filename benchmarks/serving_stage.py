"""What `benchmarks/serving.py` measures on: a project of invented tickers, servers, clients.

Also the bare application that the real one is held against: `uvicorn serving_stage:bare`.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.request import urlopen

from fastapi import FastAPI
from fastapi.responses import Response

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bases import Base, shipped_bases
from config import Settings
from contracts import ModelCard, Span
from data_pipeline import real_shelf, today
from generate_synthetic_data import generate_synthetic_stock_data
from model_store import CARD, NETWORK, TEMPLATES, WEIGHTS, ModelStore, card_json
from prices.cache import Label
from recipes import find_recipe

ROOT = Path(__file__).resolve().parent.parent
START = date(2020, 1, 1)
ONE, ALL = "0", f"0-{(os.cpu_count() or 1) - 1}"  # processors, as taskset names them
bare = FastAPI()
REFERENCE = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import numpy as np
from model import LSTMStockModel
from recipes import RECIPES
network = LSTMStockModel(RECIPES["mlops_64_64_32"], seed=1)
network.export_onnx(Path(sys.argv[2]) / "recursive.onnx")
network.model.save(sys.argv[2] + "/model.keras")
import keras
levels = np.linspace(0.2, 0.8, 50)

def loaded():
    return keras.models.load_model(sys.argv[2] + "/model.keras", compile=False)

def loop(model):
    path = list(levels)
    for _ in range(30):
        path.append(float(model.predict(np.array(path[-50:]).reshape(1, 50, 1), verbose=0)[0, 0]))
    return path[50:]

loop(loaded())
times = []
for _ in range(int(sys.argv[3])):
    began = time.perf_counter(); model = loaded(); half = time.perf_counter(); loop(model)
    times.append((half - began, time.perf_counter() - half))
print(json.dumps(times))
"""


@bare.get("/predict")
async def answer() -> Response:
    """The same bytes as the service's, and nothing else."""
    return Response(_BODY, media_type="application/json")


_BODY = Path(os.environ.get("BARE_BODY", os.devnull)).read_bytes()


def run_python(code: str, *arguments: object, cores: str = ONE) -> object:
    """What a fresh interpreter on core 0, or on others, prints last, as JSON."""
    command = ["taskset", "-c", cores, sys.executable, "-c", code, *map(str, arguments)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=quiet)
    return json.loads(run.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Stage:
    """A project folder with prices of some tickers, and champions of as many as wanted."""

    folder: Path

    @property
    def settings(self) -> Settings:
        """Of the project, whatever the environment says."""
        return Settings(data_dir=self.folder / "data", models_dir=self.folder / "models")

    def fill(self, tickers: Sequence[str]) -> None:
        """Invented bars under the label of a file, and the shipped base as everybody's own."""
        settings = self.settings
        base = shipped_bases(settings, find_recipe("panel"))[-1]
        bars = generate_synthetic_stock_data("AAPL", START, today("AAPL", settings))
        label = Label(source="file", adjustment="split", fetched_at=datetime.now(UTC))
        shelf, store = real_shelf(settings), ModelStore(settings.models_dir)
        for ticker in tickers:
            stored = shelf.put(ticker, bars, label)
            card = card_of(base, ticker, stored.provenance())
            files = {name: base.path / name for name in (NETWORK, WEIGHTS, TEMPLATES)}
            folder = store.write(ticker, base.card.trained_at, {CARD: card_json(card), **files})
            store.publish(ticker, folder, "1")

    def take_champions_away(self) -> None:
        """So that the base answers for every ticker."""
        for pointer in (self.folder / "models" / "champions").glob("*.json"):
            pointer.unlink()

    @contextmanager
    def api(
        self, tickers: Sequence[str], cores: str = ONE, **more: str
    ) -> Iterator[tuple[Server, float]]:
        """A real server on core 0, or on others, and how long it took to be ready."""
        names = {"STOCK_TICKERS": " ".join(tickers), "STOCK_REFRESH": "false", **more}
        with serving("app:app", ROOT, self.folder, names, cores) as server:
            yield server, server.ready("/ready" if self._has_champions else "/health")

    @property
    def _has_champions(self) -> bool:
        return any((self.folder / "models" / "champions").glob("*.json"))


def card_of(base: Base, ticker: str, data: object) -> ModelCard:
    """The base's card as a ticker's own."""
    about = base.card
    span = Span(first=START, last=about.trained_through, rows=1000)
    return ModelCard(
        ticker=ticker,
        recipe=about.recipe,
        seed=about.seed,
        trained_at=about.trained_at,
        trained_through=about.trained_through,
        start_date=START,
        train=span,
        validation=span,
        test=span,
        data=data,
        calibration=about.calibration,
        scores={},
        skill=about.skill,
        parity=about.parity,
        versions=about.versions,
    )


@dataclass(frozen=True)
class Server:
    """One worker of uvicorn on one core."""

    process: subprocess.Popen[bytes]
    port: int
    began: float

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def ready(self, path: str = "/ready", seconds: float = 120) -> float:
        """Seconds from the start of the process to the first 200."""
        while time.monotonic() - self.began < seconds:
            try:
                with urlopen(self.url + path, timeout=30):
                    return time.monotonic() - self.began
            except OSError:
                time.sleep(0.01)
        raise TimeoutError(f"no 200 from {path} within {seconds} s")

    def processor(self) -> float:
        """Seconds of processor time it has used; other processes do not change it."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident memory in MB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def serving(
    name: str, app_dir: Path, folder: Path, more: dict[str, str], cores: str = ONE
) -> Iterator[Server]:
    """`uvicorn name` in a folder, on core 0, without access log; stopped afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    kept = {k: v for k, v in os.environ.items() if not k.startswith("STOCK_")}
    command = [sys.executable, "-m", "uvicorn", name, "--app-dir", str(app_dir), "--port"]
    command += [str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
    process = subprocess.Popen(
        ["taskset", "-c", cores, *command],
        cwd=folder,
        env={**kept, **more},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Server(process, port, time.monotonic())
    finally:
        process.terminate()
        process.wait(timeout=30)


@dataclass(frozen=True)
class Load:
    """What a client saw."""

    per_second: float
    p99: float  # seconds
    processor: float  # seconds that the server worked for each request


def load(server: Server, target: str, seconds: float, connections: int) -> Load:
    """Ask the same thing over some connections for a while, each as soon as it is answered."""
    port = server.port
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    worked = server.processor()
    times: list[float] = []

    async def client(until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - began)
        writer.close()

    async def all_of_them() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(client(until) for _ in range(connections)))

    asyncio.run(all_of_them())
    worked = server.processor() - worked
    p99 = sorted(times)[int(len(times) * 0.99)]
    return Load(len(times) / seconds, p99, worked / len(times))
