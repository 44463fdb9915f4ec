"""A user's project folder: our commands run in it as real processes, with real servers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

Completed = subprocess.CompletedProcess[str]
ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Project:
    """A folder with data, models and runs, and the settings its commands get."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def environment(self, **more: str) -> dict[str, str]:
        """A user's environment with the project's STOCK_ settings in place of any other."""
        ours = ("STOCK_", "MLFLOW_T", "CI", "GITHUB_", "PYTEST_")  # libraries behave in CI
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        return {**kept, **self.settings, **more}

    def command(
        self, script: str, *arguments: str, seconds: float = 280, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `python script arguments` as a user in the folder would; output is captured."""
        return subprocess.run(
            [sys.executable, str(ROOT / script), *arguments],
            cwd=self.folder,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run `python -c code` there, our modules importable; output is captured."""
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env=self.environment(PYTHONPATH=str(ROOT)),
            capture_output=True,
            text=True,
            timeout=120,
        )

    @contextmanager
    def serving(self, *command: str, until: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """A server process that answers `until` before the body runs; stopped afterwards."""
        # a file, since a pipe that nobody reads stops a server that has much to say
        with (
            tempfile.TemporaryFile("w+") as log,
            subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self.folder,
                env=self.environment(**more),
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            ) as process,
        ):
            try:
                wait_for(until, process, log)
                yield process
            finally:
                process.terminate()
                process.wait(timeout=30)

    @contextmanager
    def api(self, **more: str) -> Iterator[str]:
        """A real uvicorn; gives its address."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        arguments = ("app:app", "--app-dir", str(ROOT), "--port", str(port))
        with self.serving("uvicorn", *arguments, until=f"{url}/health", **more):
            yield url


def wait_for(url: str, process: subprocess.Popen[str], log: IO[str], seconds: float = 60) -> None:
    """Return once a GET answers below 500; fail when the process ends or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            raise AssertionError(f"the server ended with {process.returncode}: {log.read()}")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"no answer from {url} within {seconds} s")
