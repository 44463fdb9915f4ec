"""Spans for OpenTelemetry, where a collector is configured and its libraries are installed.

pip install -r requirements/telemetry.txt
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from config import Settings
from web.visits import Visit

logger = logging.getLogger(__name__)

UNTRACED = frozenset({"/health", "/ready", "/metrics"})  # asked every few seconds, telling nothing
_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class Tracing:
    """One span per request, named after its route; sent in batches beside the requests."""

    def __init__(self, exporter: Any, service: str) -> None:
        """`exporter` is any SpanExporter of opentelemetry-sdk."""
        trace = import_module("opentelemetry.trace")
        sdk = import_module("opentelemetry.sdk.trace")
        resources = import_module("opentelemetry.sdk.resources")
        export = import_module("opentelemetry.sdk.trace.export")
        self._provider = sdk.TracerProvider(
            resource=resources.Resource.create({"service.name": service}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(export.BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("web")
        self._server = trace.SpanKind.SERVER
        self._failed = trace.Status(trace.StatusCode.ERROR)
        context = import_module("opentelemetry.trace.propagation.tracecontext")
        self._propagator = context.TraceContextTextMapPropagator()

    @contextmanager
    def span(self, visit: Visit) -> Iterator[None]:
        """Covers one request; a caller's `traceparent` becomes its parent."""
        if visit.scope["path"] in UNTRACED:
            yield
            return
        sent = {
            name: visit.headers[name.encode()].decode("latin-1")
            for name in ("traceparent", "tracestate")
            if name.encode() in visit.headers
        }
        parent = self._propagator.extract(sent)
        method = visit.scope["method"]
        with self._tracer.start_as_current_span(method, parent, self._server) as span:
            try:
                yield
            finally:
                span.update_name(f"{method} {visit.route}")
                span.set_attributes(
                    {
                        "http.request.method": method,
                        "http.route": visit.route,
                        "http.response.status_code": visit.status,
                        "stock.request_id": visit.request_id,
                    }
                )
                if visit.status >= 500:
                    span.set_status(self._failed)

    def close(self) -> None:
        """Send what is left; a collector that is away is given up after its timeout."""
        self._provider.shutdown()


def open_tracing(settings: Settings) -> Tracing | None:
    """Spans to the configured collector; None, with one line in the log, where that cannot be."""
    if not settings.otel_endpoint:
        return None
    try:
        exporter = import_module(_EXPORTER)
        endpoint = f"{settings.otel_endpoint.rstrip('/')}/v1/traces"
        return Tracing(exporter.OTLPSpanExporter(endpoint=endpoint, timeout=5), "stock-forecasting")
    except ImportError as error:
        logger.warning(
            "tracing=off missing=%s; install requirements/telemetry.txt to send spans to "
            "STOCK_OTEL_ENDPOINT",
            error.name,
        )
        return None
