"""Waits until API, dashboard and MLflow UI answer, prints their addresses, stays until stopped.

One line of the Procfile: the process runner stops everything when a process ends, so this one
does not end by itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

SECONDS = 180
SERVICES = {  # name: variable of its port, the port, where it says that it is up
    "API": ("API_PORT", "8000", "/health"),
    "dashboard": ("DASHBOARD_PORT", "8501", "/_stcore/health"),
    "MLflow UI": ("MLFLOW_PORT", "5000", "/health"),
}


def answers(url: str) -> bool:
    """Whether a GET of the address gives a status below 400 within two seconds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status < 400)
    except (urllib.error.URLError, OSError):
        return False


def addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """Where each service is on this machine."""
    return {
        name: f"http://127.0.0.1:{environment.get(variable, port)}"
        for name, (variable, port, _) in SERVICES.items()
    }


def main() -> int:
    """Exit 0 when told to stop, 1 when a service has not answered within three minutes."""
    leave = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave.set())
    places, began = addresses(os.environ), time.monotonic()
    waiting = dict(places)
    while waiting and time.monotonic() - began < SECONDS and not leave.is_set():
        for name in [n for n, url in waiting.items() if answers(url + SERVICES[n][2])]:
            del waiting[name]
            done = len(places) - len(waiting)
            print(f"[{done}/{len(places)}] {name} answers after {time.monotonic() - began:.0f} s")
        leave.wait(0.3)
    if leave.is_set():
        return 0
    if waiting:
        print(f"no answer within {SECONDS} s from: {', '.join(waiting)}")
        return 1
    print("ready; Ctrl-C stops all of it")
    for name, url in places.items():
        print(f"  {name:10} {url}")
    print(f"  try        curl '{places['API']}/predict?ticker=AAPL'")
    leave.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
