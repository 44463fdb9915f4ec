"""A pretend Yahoo on this machine: cookie, crumb and the genuine chart envelope around CSV bars.

The genuine yfinance client asks the genuine https addresses; a proxy takes every connection here,
so no other host is within its reach. Nothing of the client is replaced but what it trusts: a
certificate made for the occasion.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
import trustme

NOT_FOUND = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
OUTSIDE = {
    "code": "Bad Request",
    "description": "Data doesn't exist for startDate = 1565740800, endDate = 1596067200",
}
BAD_CRUMB = {"code": "Unauthorized", "description": "Invalid Crumb"}
NEW_YORK = "America/New_York"
FIELDS = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}
JSON = "application/json;charset=utf-8"
CRUMB = "8yk/w2Uk.Gs"
COOKIE = (
    "A3=d=AQABBPretend&S=AQAAAl; Expires=Fri, 21 Nov 2036 12:00:00 GMT; Max-Age=31557600; "
    "Domain=.yahoo.com; Path=/; SameSite=None; Secure; HttpOnly"
)

NO_SUMMARY = (  # what an unknown symbol's details are, as recorded
    404,
    JSON,
    json.dumps(
        {
            "quoteSummary": {
                "result": None,
                "error": {"code": "Not Found", "description": "Quote not found for symbol"},
            }
        }
    ),
)


def _chart_error(error: dict[str, str]) -> str:
    return json.dumps({"chart": {"result": None, "error": error}})


# Status, content type and body of each failure.
FAILURES: dict[str, tuple[int, str, str]] = {
    "404": (404, JSON, _chart_error(NOT_FOUND)),
    "400": (400, JSON, _chart_error(OUTSIDE)),
    "401": (401, JSON, _chart_error(BAD_CRUMB)),
    "429": (429, "text/plain", "Edge: Too Many Requests"),
    "500": (500, "text/html", "<html><body>Internal Server Error</body></html>"),
    "garbage": (200, "application/json", '{"chart": {"result": [{"meta"'),
    "html": (200, "text/html", "<html><body>Will be right back</body></html>"),
    "changed": (200, "application/json", json.dumps({"finance": {"result": []}})),
}
# Yahoo knows the symbol's absence in these; in every other failure it is Yahoo that fails.
NOTHING_THERE = {"404", "400"}


class ReplayYahoo:
    """What the pretend Yahoo knows and how it is disposed to answer."""

    def __init__(self) -> None:
        self.tables: dict[str, pd.DataFrame] = {}
        self.mood = "bars"  # or `empty`, `hang`, `drop`, or a key of FAILURES
        self.recorded: str | None = None  # a body that answers every chart request
        self.keeps_to_the_end = True  # Yahoo sometimes adds bars after the end asked for
        self.delay = 0.0  # seconds before each answer
        self.asked: list[str] = []  # path and query of every chart request, in order
        self.hosts: list[str] = []  # host and path of every request, in order
        self.cookies: list[str | None] = []  # that came with the chart requests
        self.leaving = threading.Event()  # ends every hanging answer
        self.proxy = ""
        self.certificate = ""

    def serve(self, symbol: str, table: pd.DataFrame | Path) -> None:
        """Have bars of a symbol: columns as in Yahoo's own CSV files."""
        self.tables[symbol] = pd.read_csv(table) if isinstance(table, Path) else table

    def answer(self, host: str, target: str, cookie: str | None) -> tuple[int, str, str] | None:
        """Status, content type and body for one request; None to drop the connection."""
        address = urlsplit(target)
        self.hosts.append(f"{host}{address.path}")
        if host == "fc.yahoo.com":  # the real one, too, gives its cookie with a 404
            return 404, "text/html", "<html></html>"
        if address.path == "/v1/test/getcrumb":
            return FAILURES["429"] if self.mood == "429" else (200, "text/plain", CRUMB)
        if not host.endswith("finance.yahoo.com"):
            return 200, "text/html", "<html>no consent is asked for here</html>"
        return self._chart(target, cookie)

    def _chart(self, target: str, cookie: str | None) -> tuple[int, str, str] | None:
        address = urlsplit(target)
        if address.path.startswith("/v8/finance/chart/"):
            self.asked.append(target)
            self.cookies.append(cookie)
        self.leaving.wait(300 if self.mood == "hang" else self.delay)
        if self.mood in ("drop", "hang"):
            return None
        if self.mood in FAILURES and self.mood not in NOTHING_THERE:
            return FAILURES[self.mood]
        if not address.path.startswith("/v8/finance/chart/"):
            return NO_SUMMARY
        if self.mood in NOTHING_THERE:
            return FAILURES[self.mood]
        if self.recorded is not None:
            return 200, JSON, self.recorded
        symbol = address.path.rpartition("/")[2]
        if symbol not in self.tables:
            return FAILURES["404"]
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        body = {"chart": {"result": [self._result(symbol, query)], "error": None}}
        return 200, JSON, json.dumps(body)

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


class Handler(BaseHTTPRequestHandler):
    """A proxy that is every host itself; `replaying` names Yahoo and the certificate."""

    protocol_version = "HTTP/1.1"
    yahoo: ReplayYahoo
    trust: ssl.SSLContext

    def do_CONNECT(self) -> None:
        """Be the host that is asked for, TLS and all."""
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):  # the client may leave at any moment
            self.connection = self.trust.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb")
            self.close_connection = False
            while not self.close_connection:
                self.handle_one_request()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        self.connection.close()

    def do_GET(self) -> None:
        host = self.headers["Host"]
        told = self.yahoo.answer(host, self.path, self.headers.get("Cookie"))
        if told is None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, kind, text = told
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if host == "fc.yahoo.com":
            self.send_header("Set-Cookie", COOKIE)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal quiet."""


@contextmanager
def replaying() -> Iterator[ReplayYahoo]:
    """The server on a free port, until the block ends."""
    yahoo, authority = ReplayYahoo(), trustme.CA()
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("*.yahoo.com", "*.finance.yahoo.com").configure_cert(trust)
    handler = type("Handler", (Handler,), {"yahoo": yahoo, "trust": trust})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    yahoo.proxy = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    with TemporaryDirectory() as folder:
        yahoo.certificate = str(Path(folder) / "authority.pem")
        authority.cert_pem.write_to_path(yahoo.certificate)
        try:
            yield yahoo
        finally:
            yahoo.leaving.set()
            server.shutdown()
            server.server_close()


def send_yfinance_to(yahoo: ReplayYahoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send the genuine client to the pretend Yahoo and nowhere else, with no cookie from before."""
    from curl_cffi.requests import Session
    from yfinance import cache
    from yfinance.data import YfData

    monkeypatch.setenv("https_proxy", yahoo.proxy)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    client = YfData()
    fresh = {"_crumb": None, "_cookie": None, "_cookie_strategy": "basic"}
    fresh["_session"] = Session(impersonate="chrome", verify=yahoo.certificate)
    for name, value in fresh.items():
        monkeypatch.setattr(client, name, value)
    YfData.cache_get.cache_clear()
    monkeypatch.setattr(cache._TzCacheManager, "_tz_cache", None)
    monkeypatch.setattr(cache._CookieCacheManager, "_Cookie_cache", None)
