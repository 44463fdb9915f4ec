"""The proxy as it is configured, with a real HAProxy before real servers of this machine."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from conftest import absent
from project import free_port

CONFIGURATION = Path(__file__).resolve().parent.parent / "deploy" / "proxy" / "haproxy.cfg"
ECHO = """
import http.server, json, sys
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"port": int(sys.argv[1]), "path": self.path, **self.headers}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""


@pytest.fixture(scope="module")
def haproxy() -> str:
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        absent("no HAProxy on this machine; on Debian: apt-get install haproxy", "REQUIRE_HAPROXY")
    return str(program)


@contextmanager
def echo() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", ECHO, str(port)]) as process:
        try:
            yield port, process
        finally:
            process.kill()


@contextmanager
def proxy(
    haproxy: str, folder: Path, servers: list[int], certificate: str = ""
) -> Iterator[dict[str, int]]:
    """HAProxy before these ports; gives its own ports by the names they have in the container."""
    ports = {name: free_port() for name in ("8000", "8080", "8443", "8404")}
    lines = "".join(f"    server api-{p} 127.0.0.1:{p}\n" for p in servers)
    text = re.sub(r"    server-template .*\n", lines, CONFIGURATION.read_text())
    text = text.replace("resolvers containers resolve-prefer ipv4 init-addr none", "")
    text = re.sub(r"bind (\S*?):(\d+)", lambda m: f"bind 127.0.0.1:{ports[m[2]]}", text)
    text = text.replace("dst_port 8080", f"dst_port {ports['8080']}")
    (folder / "haproxy.cfg").write_text(text)
    environment = {**os.environ, "TLS_CERTIFICATE": certificate}
    line = [haproxy, "-db", "-q", "-f", str(folder / "haproxy.cfg")]
    with subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: get(ports["8404"], "/health")[0] == (200 if servers else 503))
            yield ports
        finally:
            process.kill()


def wait_for(holds, seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if holds():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not so after {seconds} s")


def get(port: int, path: str, headers: dict[str, str] | None = None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def pair(haproxy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxy")
    with echo() as (one, _), echo() as (two, _), proxy(haproxy, folder, [one, two]) as ports:
        wait_for(lambda: len({asked(ports["8000"]) for _ in range(4)}) == 2)
        yield ports["8000"]


def asked(port: int) -> int:
    """Which server answered."""
    return json.loads(get(port, "/predict")[2])["port"]


def test_every_server_gets_its_share(pair):
    assert len({asked(pair) for _ in range(10)}) == 2


def test_a_client_cannot_claim_another_address(pair):
    claimed = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
    seen = json.loads(get(pair, "/predict", claimed)[2])
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert "6.6.6.6" not in json.dumps(seen)


def test_figures_for_prometheus_are_not_for_everybody(pair):
    assert get(pair, "/metrics")[0] == 404


def test_a_killed_server_costs_no_answer(haproxy, tmp_path):
    with echo() as (a, dying), echo() as (b, _), proxy(haproxy, tmp_path, [a, b]) as ports:
        before = [get(ports["8000"], "/predict")[0] for _ in range(20)]
        dying.kill()
        after = [get(ports["8000"], "/predict")[0] for _ in range(60)]
        assert set(before + after) == {200}
        assert asked(ports["8000"]) == b


def test_with_no_server_left_the_answer_is_a_problem_that_says_when_to_come_back(haproxy, tmp_path):
    with proxy(haproxy, tmp_path, []) as ports:
        status, headers, body = get(ports["8000"], "/predict")
    assert (status, headers["content-type"]) == (503, "application/problem+json")
    assert headers["retry-after"] == "5"
    assert json.loads(body)["type"] == "/problems/service_unavailable"


def test_with_a_certificate_it_speaks_tls_and_sends_the_others_there(haproxy, tmp_path):
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "cert.pem"
    )
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    with echo() as (one, _), proxy(haproxy, tmp_path, [one], str(tmp_path / "cert.pem")) as ports:
        assert get(ports["8000"], "/predict")[0] == 308
        assert get(ports["8080"], "/predict")[0] == 200
        connection = http.client.HTTPSConnection("localhost", ports["8443"], context=context)
        connection.request("GET", "/predict")
        answer = connection.getresponse()
        assert json.loads(answer.read())["x-forwarded-proto"] == "https"
        assert answer.getheader("strict-transport-security")
        connection.close()
