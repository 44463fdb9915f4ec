"""A real service while what it stands on fails: the same numbers, a label, or a clean 503."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest
from project import ROOT, Project, free_port
from project import wait_for as wait_for_server
from staged import publish, put_prices, truncate

from config import Settings
from forecast_log import ForecastLog
from model_store import NETWORK, ModelStore

TICKERS = ("AAPL", "GOOGL", "MSFT")
NEWEST = "2026-01-30"  # the last staged session
PATIENCE = 20.0  # seconds in which the service notices what has changed


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """Three tickers with prices and champions; nothing was trained for it."""
    wish = {"STOCK_TICKERS": ",".join(TICKERS), "STOCK_AS_OF": NEWEST, "STOCK_REFRESH": "false"}
    project = Project(tmp_path_factory.mktemp("faults"), wish)
    for ticker in TICKERS:
        put_prices(stored(project), ticker)
        publish(stored(project), "1", ticker=ticker)
    return project


def stored(project: Project) -> Settings:
    return Settings(data_dir=project.folder / "data", models_dir=project.folder / "models")


def log_of(project: Project) -> ForecastLog:
    return ForecastLog(f"sqlite:///{project.folder}/forecasts.db")


@pytest.fixture(scope="module")
def api(project) -> Iterator[str]:
    """One service for all tests that leave it as it was."""
    with project.api(STOCK_MLFLOW_API_URL=f"http://127.0.0.1:{free_port()}") as url:
        yield url


@pytest.fixture(scope="module")
def undisturbed(api) -> dict[str, bytes]:
    return {ticker: ask(api, ticker)[1] for ticker in TICKERS}


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=30) as said:
            return said.status, said.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def ask(url: str, ticker: str = "AAPL", steps: int = 30) -> tuple[int, bytes]:
    return get(f"{url}/predict?ticker={ticker}&steps={steps}")


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def problem(said: tuple[int, bytes], project: Project) -> str:
    """The kind of a clean 503: it says what to do, and nothing of files or code."""
    status, body = said
    document = json.loads(body)
    assert (status, document["status"]) == (503, 503), body
    assert document["detail"]
    assert not re.search(rf"{project.folder}|Traceback|Error:|\.py\b(?!\s+[A-Z])", body.decode())
    return str(document["type"]).removeprefix("/problems/")


@contextmanager
def away(path: Path) -> Iterator[None]:
    """A file or folder that is gone for a while."""
    kept = path.with_name(f"{path.name}.away")
    path.rename(kept)
    try:
        yield
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        kept.rename(path)


def test_without_its_prices_a_ticker_is_refused_and_comes_back(api, project, undisturbed):
    with away(project.folder / "data"):
        until(lambda: ask(api)[0] != 200)
        assert problem(ask(api), project) == "source_unavailable"
        assert problem(get(f"{api}/ready"), project) == "not_ready"
        assert get(f"{api}/health")[0] == 200
    until(lambda: ask(api)[0] == 200)
    assert ask(api)[1] == undisturbed["AAPL"]


def test_without_its_models_a_base_answers_and_says_so(api, project, undisturbed):
    with away(project.folder / "models"):
        until(lambda: ask(api)[1] != undisturbed["AAPL"])
        status, body = ask(api)
        answer = json.loads(body)
        assert (status, answer["cold_start"]) == (200, True)
        assert answer["model"]["version"].startswith("base ")
        assert problem(get(f"{api}/ready"), project) == "not_ready"
    until(lambda: ask(api)[1] == undisturbed["AAPL"])


def test_altered_prices_are_never_served_as_the_good_ones(api, project, undisturbed):
    path = stored(project).data_dir / "raw" / "MSFT_raw.csv"
    whole, good = path.read_bytes(), json.loads(undisturbed["MSFT"])["data"]
    path.write_bytes(whole.replace(b"2026-01-28,", b"2026-01-28,nonsense"))
    until(lambda: ask(api, "MSFT")[1] != undisturbed["MSFT"])
    data = json.loads(ask(api, "MSFT")[1])["data"]
    assert data["sha256"] != good["sha256"] and data["findings"] != good["findings"]
    path.write_bytes(whole[: len(whole) // 2].replace(b",", b"\0"))
    until(lambda: ask(api, "MSFT")[0] != 200)
    assert problem(ask(api, "MSFT"), project) in ("bad_prices", "source_unavailable")
    assert ask(api)[1] == undisturbed["AAPL"], "the others are as they were"
    path.write_bytes(whole)
    until(lambda: ask(api, "MSFT")[1] == undisturbed["MSFT"])


def test_an_altered_network_is_not_loaded_by_a_fresh_process(project, undisturbed):
    store = ModelStore(project.folder / "models")
    network = store.champion("GOOGL").path / NETWORK
    whole = truncate(network)
    try:
        with project.api() as url:
            assert problem(ask(url, "GOOGL"), project) == "bad_bundle"
            assert ask(url)[1] == undisturbed["AAPL"]
    finally:
        network.write_bytes(whole)


def test_a_locked_database_delays_the_log_and_no_answer(api, project, undisturbed):
    until(lambda: (project.folder / "forecasts.db").is_file())
    before = len(log_of(project).promises("MSFT"))
    writer = sqlite3.connect(project.folder / "forecasts.db", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    put_prices(stored(project), "MSFT", rows=1400)
    until(lambda: ask(api, "MSFT")[1] != undisturbed["MSFT"])
    assert ask(api, "MSFT")[0] == 200
    assert len(log_of(project).promises("MSFT")) == before
    writer.rollback()
    writer.close()
    until(lambda: len(log_of(project).promises("MSFT")) == before + 1)
    put_prices(stored(project), "MSFT")


def test_a_database_that_is_no_database_costs_the_log_alone(project, undisturbed, tmp_path):
    (tmp_path / "forecasts.db").write_bytes(b"anything else" * 1000)
    with project.api(STOCK_DATABASE_URL=f"sqlite:///{tmp_path}/forecasts.db") as url:
        assert ask(url)[1] == undisturbed["AAPL"]
        for path in ("/drift/AAPL", "/performance/AAPL"):
            assert problem(get(url + path), project) == "log_unavailable"
        assert get(f"{url}/ready")[0] == 200


def test_a_full_disk_costs_the_log_alone(project, undisturbed, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can make a disk that is full")
    try:
        # killed at the end: it would wait ten seconds for room to write its forecasts
        with process(project, small / "forecasts.db", tmp_path) as (_, url):
            for ticker in TICKERS:
                assert ask(url, ticker) == (200, undisturbed[ticker])
            assert get(f"{url}/drift/AAPL")[0] in (404, 503)
    finally:
        subprocess.run(["umount", small], check=True)


def test_without_mlflow_everything_but_its_runs_is_there(api, project, undisturbed):
    assert problem(get(f"{api}/runs/AAPL"), project) == "tracking_unavailable"
    assert ask(api)[1] == undisturbed["AAPL"]


def test_a_clock_far_ahead_is_said_and_refused_where_asked_to(project, undisturbed):
    with project.api(STOCK_AS_OF="") as url:  # today, nine months and more after the last bar
        answer, before = json.loads(ask(url)[1]), json.loads(undisturbed["AAPL"])
        assert answer["prices"] == before["prices"]
        assert answer["data"]["stale"] and answer["data"]["sessions_behind"] > 150
        said = {warning["code"] for warning in answer["warnings"]}
        assert {"prices_stale", "model_too_old"} <= said
        status, body = get(f"{url}/predict?ticker=AAPL&strict=true")
        assert (status, json.loads(body)["type"]) == (409, "/problems/refused")


def test_a_clock_before_the_model_learnt_its_last_is_refused(project):
    with project.api(STOCK_AS_OF="2022-06-30") as url:
        assert problem(ask(url), project) == "model_from_the_future"


@contextmanager
def hanging() -> Iterator[tuple[int, list[socket.socket]]]:
    """A server that takes every connection and never says anything: its port, who is waiting."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        waiting: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    waiting.append(door.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield door.getsockname()[1], waiting
        for connection in waiting:
            connection.close()


def test_a_source_that_hangs_holds_up_neither_answers_nor_the_end(project):
    with hanging() as (port, waiting):
        proxy = f"http://127.0.0.1:{port}"
        wish = {"STOCK_AS_OF": "", "STOCK_REFRESH": "true", "NO_PROXY": "", "no_proxy": ""}
        with project.api(**wish, HTTPS_PROXY=proxy, https_proxy=proxy) as url:
            url = url.replace("127.0.0.1", "localhost")
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            for steps in range(1, 6):
                with opener.open(f"{url}/predict?ticker=AAPL&steps={steps}", timeout=30) as said:
                    answer = json.load(said)
                assert answer["data"]["stale"] and answer["data"]["source"] == "file"
            until(lambda: bool(waiting))


@contextmanager
def process(
    project: Project, database: Path, folder: Path
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service with a database of its own, which the body ends or which is killed; it writes into
    `folder`."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(ROOT)]
    command += ["--log-level", "warning"]
    environment = project.environment(STOCK_DATABASE_URL=f"sqlite:///{database}")
    with (
        (folder / "log").open("w+") as log,
        subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=project.folder,
            env=environment,
            stderr=log,
            text=True,
        ) as server,
    ):
        try:
            wait_for_server(f"http://127.0.0.1:{port}/health", server, log)
            yield server, f"http://127.0.0.1:{port}"
        finally:
            if server.poll() is None:
                server.kill()
                server.wait(timeout=30)


@pytest.mark.parametrize(("how", "wait"), [(signal.SIGTERM, 0.0), (signal.SIGKILL, 1.5)])
def test_what_was_answered_is_in_the_log_after_the_end(project, tmp_path, how, wait):
    with process(project, tmp_path / "forecasts.db", tmp_path) as (server, url):
        assert [ask(url, ticker)[0] for ticker in TICKERS] == [200] * 3
        time.sleep(wait)
        os.kill(server.pid, how)
        assert server.wait(timeout=30) in (0, -how)
    log = ForecastLog(f"sqlite:///{tmp_path}/forecasts.db")
    assert [len(log.promises(ticker)) for ticker in TICKERS] == [1, 1, 1]
    log.close()


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.timeout(900)
def test_killed_under_load_it_comes_back_and_says_the_same(project, undisturbed, tmp_path, kills):
    for _ in range(kills):
        with process(project, tmp_path / "forecasts.db", tmp_path) as (server, url):
            said, leaving = load(url)
            until(lambda said=said: len(said) > 50)
            server.kill()
            server.wait(timeout=30)
            leaving.set()
        assert set(said) == {(200, undisturbed["AAPL"])}
    log = ForecastLog(f"sqlite:///{tmp_path}/forecasts.db")
    assert len(log.promises("AAPL")) <= 1, "the same promise is one promise"
    log.close()


def load(url: str) -> tuple[list[tuple[int, bytes]], threading.Event]:
    """Clients that ask until told to leave or nobody answers; whole answers only."""
    said: list[tuple[int, bytes]] = []
    leaving = threading.Event()

    def client() -> None:
        while not leaving.is_set():
            try:
                said.append(ask(url))
            except (OSError, HTTPException):  # it is gone, perhaps in the middle of an answer
                return

    for _ in range(4):
        threading.Thread(target=client, daemon=True).start()
    return said, leaving
