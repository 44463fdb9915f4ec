"""The service as a real process: what the wire shows, SIGTERM under load, lines as JSON."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from project import ROOT, Project, free_port

TESTS = ROOT / "tests"
FLAGS = ("--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "20")


class Running:
    """A uvicorn over the fake desk; `lines()` is what it has written."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.url = f"http://127.0.0.1:{port}"

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


@contextmanager
def running(folder: Path, *flags: str, **wish: str) -> Iterator[Running]:
    """Serve until the body ends; what the process writes stays in `folder`."""
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "uvicorn", "fake_desk:app", "--app-dir", str(TESTS)]
    environment = Project(folder).environment(PYTHONPATH=str(ROOT), **wish)
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port), *flags], cwd=folder, env=environment, stderr=out
        )
        server = Running(process, port, log)
        try:
            wait_for(server)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_for(server: Running) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{server.url}/health", trust_env=False)
            return
        except httpx.TransportError:
            assert server.process.poll() is None, server.lines()
            time.sleep(0.05)
    raise AssertionError(server.lines())


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Running]:
    """One process for all tests that do not end it."""
    wish = {"STOCK_LOG_FORMAT": "json", "STOCK_ACCESS_LOG": "true", "STOCK_MAX_IN_FLIGHT": "4"}
    with running(tmp_path_factory.mktemp("web"), *FLAGS, **wish) as server:
        yield server


def get(server: Running, path: str, **more: object) -> httpx.Response:
    return httpx.get(f"{server.url}{path}", trust_env=False, timeout=30, **more)


def test_the_wire_names_no_server_and_no_version(server):
    answer = get(server, "/predict?ticker=AAPL")
    assert answer.status_code == 200
    assert "server" not in answer.headers
    assert not any(word in str(answer.headers).lower() for word in ("uvicorn", "starlette"))


def test_every_line_is_json_and_knows_its_request(server):
    get(server, "/models/AAPL", headers={"X-Request-ID": "wire-1"})
    get(server, "/predict?ticker=%0d%0aforged", headers={"X-Request-ID": "wire-2"})
    told = [json.loads(line) for line in server.lines() if line.startswith("{")]
    (row,) = [row for row in told if row.get("request_id") == "wire-1"]
    assert (row["route"], row["status"], row["ticker"]) == ("/models/{ticker}", 200, "AAPL")
    strangers = [line for line in server.lines() if not line.startswith("{")]
    assert all("Started server" in line or "Waiting for" in line for line in strangers), strangers
    assert "forged" not in "".join(server.lines())


def exchange(server: Running, sent: bytes) -> bytes:
    """Bytes in, and bytes out until the server closes."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        try:
            connection.sendall(sent)
            while piece := connection.recv(65536):
                received += piece
        except ConnectionError:  # it closed while we were still sending
            pass
    return received


HEAD = b"Host: x\r\nConnection: close\r\n"
MALFORMED = (
    b"nonsense\r\n\r\n",
    b"GET /predict?ticker=AAPL HTTP/9.9\r\n" + HEAD + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST / HTTP/1.1\r\n"
    + HEAD
    + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HEAD + b"X: a\x00b\r\n\r\n",
    b"GET http://evil.com/tickers HTTP/1.1\r\nHost: evil.com\r\nConnection: close\r\n\r\n",
    b"GET //evil.com/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"TRACE / HTTP/1.1\r\n" + HEAD + b"X-Secret: hush\r\n\r\n",
    b"CONNECT evil.com:443 HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HEAD + b"X: y\r\n" * 9000 + b"\r\n",
)


@pytest.mark.parametrize("sent", MALFORMED, ids=lambda sent: repr(sent[:24]))
def test_malformed_requests_are_refused_and_the_service_goes_on(server, sent):
    answer = exchange(server, sent)
    assert b" 200 " not in answer[:20] and b" 500 " not in answer[:20]
    for word in (b"hush", b"uvicorn", b"Traceback", b"site-packages", str(ROOT).encode()):
        assert word not in answer
    assert get(server, "/health").status_code == 200


def test_two_requests_cannot_be_smuggled_as_one(server):
    inner = b"GET /tickers HTTP/1.1\r\n" + HEAD + b"\r\n"
    sent = b"GET /health HTTP/1.1\r\n" + HEAD + b"Content-Length: %d\r\n\r\n"
    assert exchange(server, sent % len(inner) + inner).count(b"HTTP/1.1 ") == 1


def test_many_slow_clients_leave_room_for_others(server):
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(b"GET /predict?ticker=AAPL HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert get(server, "/predict?ticker=AAPL").status_code == 200
    finally:
        for connection in slow:
            connection.close()


def test_slow_bodies_hold_no_place(server):
    """Five times as many clients as places send half a body and wait."""
    head = b"POST /predict/batch HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(20)]
    try:
        for connection in slow:
            connection.sendall(head + b'Content-Length: 22\r\n\r\n{"tickers": ')
        assert get(server, "/predict?ticker=AAPL").status_code == 200
        slow[0].sendall(b'["AAPL"]}   '[:10])
        assert b" 200 OK" in slow[0].recv(65536)
    finally:
        for connection in slow:
            connection.close()


def test_a_client_that_leaves_gives_its_place_back(server):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                b"GET /predict?ticker=AAPL HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
    assert get(server, "/predict?ticker=AAPL").status_code == 200


def test_sigterm_finishes_what_is_being_answered(tmp_path):
    with running(tmp_path, *FLAGS, FAKE_DESK_SECONDS="0.4") as server:
        answers: list[httpx.Response] = []
        asking = [
            threading.Thread(target=lambda: answers.append(get(server, "/predict?ticker=AAPL")))
            for _ in range(8)
        ]
        for thread in asking:
            thread.start()
        while in_flight(server) < 8:
            time.sleep(0.02)
        os.kill(server.process.pid, signal.SIGTERM)
        for thread in asking:
            thread.join()
        server.process.wait(timeout=20)
        assert [answer.status_code for answer in answers] == [200] * 8
        assert all(answer.json()["ticker"] == "AAPL" for answer in answers)
        with pytest.raises(httpx.ConnectError):
            get(server, "/health")


def in_flight(server: Running) -> float:
    """As the metrics tell it, the scrape itself left out."""
    for line in get(server, "/metrics").text.splitlines():
        if line.startswith('stock_http_requests_in_flight{kind="request"}'):
            return float(line.split()[1]) - 1
    raise AssertionError("no such metric")


def test_everybody_who_starts_the_service_starts_it_quietly():
    procfile = (ROOT / "Procfile").read_text().splitlines()[0]
    dockerfile = (ROOT / "Dockerfile").read_text()
    for flag in ("--no-server-header", "--no-access-log", "--timeout-graceful-shutdown"):
        assert flag in procfile and flag in dockerfile
    grace = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["api"]
    assert int(grace["stop_grace_period"].removesuffix("s")) > 20
