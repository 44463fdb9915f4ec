"""A real Redis on a free port of this machine, which a test may stop and start again."""

from __future__ import annotations

import subprocess
import time

import redis
from project import free_port


class RedisServer:
    """`with RedisServer("redis-server") as server:` and its `url`."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return once it answers."""
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd="/tmp")
        deadline = time.monotonic() + 20
        with redis.Redis.from_url(self.url) as client:
            while time.monotonic() < deadline:
                try:
                    client.flushall()
                    return
                except redis.ConnectionError:
                    time.sleep(0.02)
        raise AssertionError("redis-server does not answer")

    def stop(self) -> None:
        """Return once it has ended."""
        if self._process:
            self._process.terminate()
            self._process.wait(timeout=20)
            self._process = None
