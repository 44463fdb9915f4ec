"""A pretend Yahoo on this machine: the genuine chart envelope around bars of a CSV file.

The genuine yfinance client is pointed at it; every other host is out of its reach.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

NOT_FOUND = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
NEW_YORK = "America/New_York"
FIELDS = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}

NO_SUMMARY = (  # what an unknown symbol's details are, as recorded
    404,
    "application/json;charset=utf-8",
    json.dumps(
        {
            "quoteSummary": {
                "result": None,
                "error": {"code": "Not Found", "description": "Quote not found for symbol"},
            }
        }
    ),
)
# Status, content type and body of each failure.
FAILURES: dict[str, tuple[int, str, str]] = {
    "404": (
        404,
        "application/json;charset=utf-8",
        json.dumps({"chart": {"result": None, "error": NOT_FOUND}}),
    ),
    "429": (429, "text/plain", "Edge: Too Many Requests"),
    "500": (500, "text/html", "<html><body>Internal Server Error</body></html>"),
    "garbage": (200, "application/json", '{"chart": {"result": [{"meta"'),
    "html": (200, "text/html", "<html><body>Will be right back</body></html>"),
    "changed": (200, "application/json", json.dumps({"finance": {"result": []}})),
}


class ReplayYahoo:
    """What the pretend Yahoo knows and how it is disposed to answer."""

    def __init__(self) -> None:
        self.tables: dict[str, pd.DataFrame] = {}
        self.mood = "bars"  # or `empty`, or a key of FAILURES
        self.keeps_to_the_end = True  # Yahoo sometimes adds bars after the end asked for
        self.delay = 0.0  # seconds before each answer
        self.asked: list[str] = []  # path and query of every request, in order
        self.url = ""

    def serve(self, symbol: str, table: pd.DataFrame | Path) -> None:
        """Have bars of a symbol: columns as in Yahoo's own CSV files."""
        self.tables[symbol] = pd.read_csv(table) if isinstance(table, Path) else table

    def answer(self, target: str) -> tuple[int, str, str]:
        """Status, content type and body for one request."""
        self.asked.append(target)
        threading.Event().wait(self.delay)
        address = urlsplit(target)
        if self.mood in FAILURES and self.mood != "404":
            return FAILURES[self.mood]
        if not address.path.startswith("/v8/finance/chart/"):
            return NO_SUMMARY
        if self.mood == "404":
            return FAILURES["404"]
        symbol = address.path.rpartition("/")[2]
        if symbol not in self.tables:
            return FAILURES["404"]
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        body = {"chart": {"result": [self._result(symbol, query)], "error": None}}
        return 200, "application/json;charset=utf-8", json.dumps(body)

    def _result(self, symbol: str, query: dict[str, str]) -> dict[str, Any]:
        table = self.tables[symbol]
        opens = pd.to_datetime(table["Date"]) + pd.Timedelta(hours=9, minutes=30)
        stamps = opens.dt.tz_localize(NEW_YORK).dt.tz_convert("UTC").dt.tz_localize(None)
        seconds = stamps.astype("datetime64[s]").astype("int64")
        begin, end = int(query.get("period1", 0)), int(query.get("period2", 0))
        if "range" in query:  # the client asks for one day to learn the time zone
            begin, end = int(seconds.iloc[-1]), int(seconds.iloc[-1]) + 1
        rows = (seconds >= begin) & ((seconds < end) | (not self.keeps_to_the_end))
        if self.mood == "empty" or not rows.any():  # as recorded for a weekend without bars
            return {"meta": _meta(symbol, seconds), "indicators": {"quote": [{}]}}
        return _filled(symbol, table[rows], seconds[rows])


def _meta(symbol: str, seconds: pd.Series) -> dict[str, Any]:
    last = int(seconds.iloc[-1])
    period = {"timezone": "EST", "start": last, "end": last + 23_400, "gmtoffset": -18_000}
    return {
        "currency": "USD",
        "symbol": symbol,
        "exchangeName": "NMS",
        "instrumentType": "EQUITY",
        "firstTradeDate": int(seconds.iloc[0]),
        "regularMarketTime": last + 23_400,
        "gmtoffset": -18_000,
        "timezone": "EST",
        "exchangeTimezoneName": NEW_YORK,
        "priceHint": 2,
        "currentTradingPeriod": {"pre": period, "regular": period, "post": period},
        "dataGranularity": "1d",
        "range": "",
        "validRanges": ["1d", "5d", "1mo", "1y", "max"],
    }


def _filled(symbol: str, table: pd.DataFrame, seconds: pd.Series) -> dict[str, Any]:
    quote = {field: _numbers(table[column]) for field, column in FIELDS.items()}
    return {
        "meta": _meta(symbol, seconds),
        "timestamp": seconds.tolist(),
        "events": _events(table, seconds),
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": _numbers(table["Adj Close"])}]},
    }


def _numbers(column: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else value for value in column.tolist()]


def _events(table: pd.DataFrame, seconds: pd.Series) -> dict[str, Any]:
    events: dict[str, Any] = {}
    for stamp, amount in zip(seconds, table.get("Dividends", ()), strict=False):
        if amount:
            events.setdefault("dividends", {})[str(stamp)] = {"amount": amount, "date": int(stamp)}
    for stamp, ratio in zip(seconds, table.get("Stock Splits", ()), strict=False):
        if ratio:
            events.setdefault("splits", {})[str(stamp)] = {
                "date": int(stamp),
                "numerator": ratio,
                "denominator": 1.0,
                "splitRatio": f"{ratio}:1",
            }
    return events


@contextmanager
def replaying() -> Iterator[ReplayYahoo]:
    """The server on a free port, until the block ends."""
    yahoo = ReplayYahoo()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, kind, text = yahoo.answer(self.path)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the terminal quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    yahoo.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield yahoo
    finally:
        server.shutdown()
        server.server_close()


def point_yfinance_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send the genuine client to `url` and nowhere else, with no cookie left from before.

    Its cookie host is fixed in its code; a proxy that nobody serves keeps every https request,
    which the pretend Yahoo's are not, on this machine.
    """
    from yfinance import cache
    from yfinance.data import YfData

    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != "yfinance":
            continue
        for constant, address in vars(module).copy().items():
            if constant.endswith("_URL_") and isinstance(address, str):
                monkeypatch.setattr(module, constant, url + urlsplit(address).path)
    YfData.cache_get.cache_clear()
    monkeypatch.setattr(cache._TzCacheManager, "_tz_cache", None)
    monkeypatch.setattr(cache._CookieCacheManager, "_Cookie_cache", None)
