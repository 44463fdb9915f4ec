"""Part of `benchmarks/serving.py`: what one ticker's forecast waits while batches are made."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import threading
import time
from collections.abc import Sequence

from serving_stage import ALL, Stage

KEPT = {"STOCK_CACHED_ANSWERS": "1", "STOCK_REQUEST_SECONDS": "60"}


def beside(stage: Stage, tickers: Sequence[str], seconds: float) -> list[str]:
    """Single requests, none of them kept, alone and beside batch after batch of own networks.

    The server has all processors, its batches one thread or as many as processors.
    """
    rows = [
        "| one ticker's forecast, 30 steps, not kept | threads of a batch | median | 95 % "
        "| batches a second |",
        "|---|--:|--:|--:|--:|",
    ]
    for threads in ("1", str(os.cpu_count())):
        with stage.api(tickers[:3], ALL, STOCK_BATCH_THREADS=threads, **KEPT) as (server, _):
            _batches(server.port, tickers, 1)  # models and prices are read
            for text, many in (("alone", False), ("while batches are made", True)):
                times, made = _asked(server.port, tickers, seconds if many else seconds / 2, many)
                tail = sorted(times)[int(len(times) * 0.95)]
                rows.append(
                    f"| {text} | {threads} | {statistics.median(times) * 1e3:.1f} ms | "
                    f"{tail * 1e3:.1f} ms | {made / seconds:.1f} |"
                )
    return rows


def _asked(
    port: int, tickers: Sequence[str], seconds: float, beside: bool
) -> tuple[list[float], int]:
    """How long single requests took, a hundred a second at most, and how many batches were made."""
    leave, made = threading.Event(), [0]

    def batches() -> None:
        while not leave.is_set():
            _batches(port, tickers, 30)
            made[0] += 1

    other = threading.Thread(target=batches)
    if beside:
        other.start()
    connection, times = http.client.HTTPConnection("127.0.0.1", port), []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        ticker = tickers[len(times) % len(tickers)]
        connection.request("GET", f"/predict?ticker={ticker}&steps=29")
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        times.append(time.perf_counter() - began)
        time.sleep(0.01)
    leave.set()
    if beside:
        other.join()
    return times, made[0]


def _batches(port: int, tickers: Sequence[str], steps: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    asked = json.dumps({"tickers": list(tickers), "steps": steps})
    connection.request("POST", "/predict/batch", asked, {"Content-Type": "application/json"})
    assert connection.getresponse().read().count(b'"prediction_steps"') == len(tickers)
    connection.close()
