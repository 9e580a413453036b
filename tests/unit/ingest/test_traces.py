"""Spans reach a collector over OTLP, and cost nothing where none is named."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from ingest.traces import span, tracing

proto = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(BaseHTTPRequestHandler):
    received: ClassVar[list] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.received.append(proto.ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def collector(monkeypatch):
    Collector.received = []
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
        yield Collector
        server.shutdown()
        thread.join()


def spans(collector):
    return [
        one
        for request in collector.received
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for one in scope.spans
    ]


def test_spans_arrive_nested_and_below_the_span_that_asked(collector):
    with tracing("test"), span("request", {"traceparent": CALLER}) as outer:
        outer.update_name("GET /items/{item_id}")
        outer.set_attribute("http.route", "/items/{item_id}")
        with span("index query"):
            pass
    inner, outer = spans(collector)
    assert (outer.name, inner.name) == ("GET /items/{item_id}", "index query")
    assert outer.trace_id.hex() == inner.trace_id.hex() == CALLER.split("-")[1]
    assert outer.parent_span_id.hex() == CALLER.split("-")[2]
    assert inner.parent_span_id == outer.span_id
    resource = collector.received[0].resource_spans[0].resource
    assert {one.key: one.value.string_value for one in resource.attributes}["service.name"] == "akin-test"


def test_there_are_no_spans_after_the_block(collector):
    with tracing("test"):
        pass
    with span("late") as one:
        assert one is None
    assert spans(collector) == []


def test_where_no_collector_is_named_nothing_is_made(monkeypatch):
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with tracing("test"), span("request") as one:
        assert one is None
