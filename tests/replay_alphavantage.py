"""A pretend Alpha Vantage on this machine: its genuine JSON envelope around a table of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd

UNKNOWN = {
    "Error Message": "Invalid API call. Please retry or visit the documentation "
    "(https://www.alphavantage.co/documentation/) for TIME_SERIES_DAILY_ADJUSTED."
}
FIELDS = {
    "open": "1. open",
    "high": "2. high",
    "low": "3. low",
    "close": "4. close",
    "adjusted_close": "5. adjusted close",
    "volume": "6. volume",
    "dividend_amount": "7. dividend amount",
    "split_coefficient": "8. split coefficient",
}


class ReplayAlphaVantage:
    """What the pretend server answers, and what it was asked."""

    def __init__(self) -> None:
        self.tables: dict[str, Path] = {}
        self.said: bytes | None = None  # in place of bars
        self.status = 200
        self.asked: list[dict[str, str]] = []
        self.url = ""

    def answer(self, target: str) -> bytes:
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        self.asked.append(query)
        if self.said is not None:
            return self.said
        if query["symbol"] not in self.tables:
            return json.dumps(UNKNOWN).encode()
        rows = pd.read_csv(self.tables[query["symbol"]], dtype=str).set_index("timestamp")
        told = {
            "Meta Data": {
                "1. Information": "Daily Time Series with Splits and Dividend Events",
                "2. Symbol": query["symbol"],
                "3. Last Refreshed": rows.index[0],
                "4. Output Size": "Full size",
                "5. Time Zone": "US/Eastern",
            },
            "Time Series (Daily)": rows.rename(columns=FIELDS).to_dict(orient="index"),
        }
        return json.dumps(told).encode()


@contextmanager
def replaying() -> Iterator[ReplayAlphaVantage]:
    """The server on a free port, until the block ends."""
    vendor = ReplayAlphaVantage()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = vendor.answer(self.path)
            self.send_response(vendor.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the terminal quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    vendor.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield vendor
    finally:
        server.shutdown()
        server.server_close()
