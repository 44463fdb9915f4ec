"""Spans: only where a collector is configured, named after routes, sent beside the requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec

import pytest
from conftest import absent
from fake_desk import FakeDesk
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from config import Settings
from web.tracing import Tracing, open_tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def traced(service):
    """The service with spans kept in memory: `client, spans()`."""
    client, exporter = service(FakeDesk(failures={"MSFT": RuntimeError("a bug")})), None
    exporter = InMemorySpanExporter()
    client.app.state.door.tracing = tracing = Tracing(exporter, "test")

    def spans():
        tracing._provider.force_flush()
        return exporter.get_finished_spans()

    return client, spans


def test_a_span_is_named_after_its_route(traced):
    client, spans = traced
    client.get("/models/AAPL", headers={"X-Request-ID": "r-1"})
    (span,) = spans()
    assert (span.name, span.kind.name) == ("GET /models/{ticker}", "SERVER")
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "http.route": "/models/{ticker}",
        "http.response.status_code": 200,
        "stock.request_id": "r-1",
    }


def test_a_caller_may_be_the_parent(traced):
    client, spans = traced
    client.get("/tickers", headers={"traceparent": PARENT})
    (span,) = spans()
    assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]


@pytest.mark.parametrize("sent", ["", "nonsense", PARENT.replace("00-", "zz-"), "x" * 500])
def test_a_parent_that_is_none_is_ignored(traced, sent):
    client, spans = traced
    assert client.get("/tickers", headers={"traceparent": sent}).status_code == 200
    assert spans()[0].parent is None


def test_health_leaves_no_trace(traced):
    client, spans = traced
    for path in ("/health", "/ready", "/metrics"):
        client.get(path)
    assert spans() == ()


def test_a_failure_is_marked(traced):
    client, spans = traced
    client.get("/predict?ticker=MSFT")
    (span,) = spans()
    assert (span.status.status_code.name, span.attributes["http.response.status_code"]) == (
        *("ERROR", 500),
    )


def test_nothing_is_traced_unless_configured():
    assert open_tracing(Settings.model_construct()) is None


def test_without_its_libraries_one_line_says_what_to_install(monkeypatch, caplog):
    monkeypatch.setattr("web.tracing._EXPORTER", "opentelemetry.exporter.none")
    settings = Settings.model_validate({"otel_endpoint": "http://127.0.0.1:9"})
    assert open_tracing(settings) is None
    assert "requirements/telemetry.txt" in caplog.text
    assert len(caplog.records) == 1


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP collector on this machine: its address, and what it was sent."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def exporter() -> None:
    """The library that speaks OTLP over HTTP."""
    try:
        found = find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        found = None
    if not found:
        absent("no OTLP exporter; pip install -r requirements/telemetry.txt", "REQUIRE_TELEMETRY")


def test_a_real_collector_receives_what_was_asked(exporter, service, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with collector() as (endpoint, received):
        client = service(otel_endpoint=endpoint)
        client.get("/predict?ticker=AAPL")
        client.get("/health")
        client.__exit__()  # the last spans are sent when the service stops
        client.__enter__()
    spans = [
        span
        for request in received
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]
    assert [span.name for span in spans] == ["GET /predict"]


def test_a_collector_that_is_away_costs_no_request(exporter, service):
    client = service(otel_endpoint="http://127.0.0.1:9")
    assert client.get("/tickers").status_code == 200
