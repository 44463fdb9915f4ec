"""Waits until API, dashboard and MLflow UI answer, prints their addresses, stays until stopped.

One line of the Procfile: the process runner stops everything when a process ends, so this one
does not end by itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import urllib.error
import urllib.request

from tqdm import tqdm

SECONDS = 180


def answers(url: str) -> bool:
    """Whether a GET of the address gives a status below 400 within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status < 400)
    except (urllib.error.URLError, OSError):
        return False


def main() -> int:
    """Exit 0 when told to stop, 1 when a service has not answered within three minutes."""
    leave = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave.set())
    host = "http://127.0.0.1"
    ports = {name: os.environ.get(f"{name.upper()}_PORT", default) for name, default in PORTS}
    api, page, runs = (f"{host}:{port}" for port in ports.values())
    waiting = {"API": f"{api}/health", "dashboard": f"{page}/_stcore/health", "MLflow": runs}
    with tqdm(total=len(waiting), desc="starting", unit="service", file=sys.stdout) as bar:
        for _ in range(SECONDS * 2):
            for name in [name for name, url in waiting.items() if answers(url)]:
                del waiting[name]
                bar.update()
            if not waiting or leave.wait(0.5):
                break
    if waiting and not leave.is_set():
        print(f"no answer within {SECONDS} s from: {', '.join(waiting)}", flush=True)
        return 1
    if not leave.is_set():
        example = f"curl '{api}/predict?ticker=AAPL'"
        print(
            f"\nready\n  API        {api}/docs\n  dashboard  {page}\n  MLflow UI  {runs}\n  {example}"
        )
        print("Ctrl-C stops all of it", flush=True)
    leave.wait()
    return 0


PORTS = (("api", "8000"), ("dashboard", "8501"), ("mlflow", "5000"))

if __name__ == "__main__":
    sys.exit(main())
