"""What the door costs: requests per second of a bare route, and of the same one behind the door.

    python benchmarks/door.py [--seconds 3] [--rounds 3] [--connections 32]

Each variant is a uvicorn of its own with one worker (uvloop, httptools) that returns the same 9.4
kB of JSON, already serialised, from an `async` route. They take turns, so that whatever else the
machine does hits all; CPU time per request is read from the process and hardly depends on it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

BODY = json.dumps({"prices": [271.2345678] * 780}).encode()
KEY = "stock_benchmark"
LINE = f"bench:read:{hashlib.sha256(KEY.encode()).hexdigest()}"
# variant: settings (None: no door at all), headers of the requests
VARIANTS = {
    "bare route": (None, ""),
    "door as it comes": ({}, ""),
    "door, client takes gzip": ({}, "Accept-Encoding: gzip\r\n"),
    "door, API key": ({"api_keys": LINE}, f"X-API-Key: {KEY}\r\n"),
    "door, rate limit in memory": ({"rate_limit_per_address": "1000000/minute"}, ""),
    "door, JSON access log": ({"access_log": "true", "log_format": "json"}, ""),
}


def app() -> object:
    """What a variant's process serves."""
    from fastapi import FastAPI, Response

    from config import Settings
    from web import request_logs
    from web.door import Door, DoorRules

    wish, _ = VARIANTS[os.environ["DOOR_VARIANT"]]
    served = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @served.get("/bare")
    async def bare() -> Response:
        return Response(BODY, media_type="application/json", headers={"ETag": '"1"'})

    if wish is not None:
        settings = Settings.model_validate(wish)
        request_logs.set_up(settings)
        served.state.door = DoorRules(settings)
        served.add_middleware(Door)
    return served


async def ask(port: int, headers: str, until: float) -> int:
    """Answers that one connection gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /bare HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()
    count = 0
    while time.perf_counter() < until:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b" 200 " in head[:16], head
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r")[0]))
        count += 1
    writer.close()
    return count


async def load(port: int, headers: str, seconds: float, connections: int) -> int:
    """Answers that all connections get."""
    until = time.perf_counter() + seconds
    return sum(await asyncio.gather(*(ask(port, headers, until) for _ in range(connections))))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(name: str) -> tuple[subprocess.Popen[bytes], int]:
    """A variant's process, once it listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "door:app", "--factory", "--log-level", "warning"]
    flags = ["--no-access-log", "--no-server-header", "--port", str(port)]
    process = subprocess.Popen(
        [*command, *flags, "--app-dir", str(Path(__file__).parent)],
        env={**os.environ, "DOOR_VARIANT": name},
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        time.sleep(0.1)
    raise RuntimeError(f"{name} does not listen")


def main(argv: list[str] | None = None) -> int:
    """Print requests per second and CPU microseconds per request of each variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3, help="of load per turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant")
    parser.add_argument("--connections", type=int, default=32, help="kept open at once")
    wish = parser.parse_args(argv)
    servers = {name: start(name) for name in VARIANTS}
    rates: dict[str, list[float]] = {name: [] for name in VARIANTS}
    costs: dict[str, list[float]] = {name: [] for name in VARIANTS}
    try:
        for _ in range(wish.rounds):
            for name, (process, port) in servers.items():
                before = cpu_seconds(process.pid)
                count = asyncio.run(load(port, VARIANTS[name][1], wish.seconds, wish.connections))
                rates[name].append(count / wish.seconds)
                costs[name].append((cpu_seconds(process.pid) - before) / count * 1e6)
    finally:
        for process, _ in servers.values():
            process.terminate()
    print(f"{'':<28}{'requests/s':>12}{'of bare':>9}{'CPU us':>9}{'of bare':>9}")
    first = statistics.median(rates["bare route"]), statistics.median(costs["bare route"])
    for name in VARIANTS:
        rate, cost = statistics.median(rates[name]), statistics.median(costs[name])
        print(f"{name:<28}{rate:>12.0f}{rate / first[0]:>9.0%}{cost:>9.0f}{first[1] / cost:>9.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
