"""A receiver of OTLP over HTTP: real protobuf on loopback, well or unwell as a test asks."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any

from attrs import define, field, frozen
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

DEADLINE = 10.0
"""Seconds a test waits for what must come."""


@frozen
class Span:
    """A span as a receiver reads it: ids hex, attributes in the order they came."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start: int
    end: int
    attributes: dict[str, Any]
    error: str
    links: tuple[tuple[str, str], ...]
    resource: dict[str, Any]
    dropped: int


@define
class Receiver:
    """`status`: what it answers, one after another, the last for ever. `silent`: no answer till the end."""

    status: list[int] = field(factory=lambda: [200])
    silent: bool = False
    rejects: int = 0
    is_garbled: bool = False
    metrics_status: int = 200
    url: str = ""
    bodies: list[tuple[str, bytes, dict[str, str]]] = field(factory=list)
    asked: int = 0
    changed: Condition = field(factory=Condition)
    over: bool = False

    @property
    def spans(self) -> list[Span]:
        """What it took, in order."""
        with self.changed:
            requests = [body for path, body, _ in self.bodies if path == "/v1/traces"]
        return [span for body in requests for span in decoded(body)]

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the last request, by name."""
        with self.changed:
            requests = [body for path, body, _ in self.bodies if path == "/v1/metrics"]
        if not requests:
            return {}
        told = ExportMetricsServiceRequest.FromString(requests[-1])
        return {
            metric.name: metric
            for about in told.resource_metrics
            for scope in about.scope_metrics
            for metric in scope.metrics
        }

    def wait(self, until: Callable[["Receiver"], bool]) -> None:
        """Wait until something is so; TimeoutError after the deadline."""
        end = time.monotonic() + DEADLINE
        with self.changed:
            while not until(self):
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self.changed.wait(left)

    def answer(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        with self.changed:
            self.asked += 1
            self.changed.notify_all()
            while self.silent and not self.over:
                self.changed.wait()
            if path == "/v1/metrics":
                status = self.metrics_status
            else:
                status = self.status.pop(0) if len(self.status) > 1 else self.status[0]
            if 200 <= status < 300:
                self.bodies.append((path, body, headers))
            self.changed.notify_all()
        answer = ExportTraceServiceResponse()
        if self.rejects:
            answer.partial_success.rejected_spans = self.rejects
        return status, b"\xff\xff" if self.is_garbled else answer.SerializeToString()


@contextmanager
def receiver(**what: object) -> Iterator[Receiver]:
    """A receiver that listens until the block is left."""
    told = Receiver(**what)

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = told.answer(self.path, body, headers)
            try:
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(("127.0.0.1", 0), Answering)
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield told
    finally:
        with told.changed:
            told.over = True
            told.changed.notify_all()
        server.shutdown()
        thread.join(DEADLINE)
        server.server_close()


def decoded(body: bytes) -> list[Span]:
    """The spans of an export request."""
    return [
        Span(
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            name=span.name,
            kind=span.kind,
            start=span.start_time_unix_nano,
            end=span.end_time_unix_nano,
            attributes={it.key: value(it.value) for it in span.attributes},
            error=span.status.message if span.status.code == 2 else "",
            links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
            resource={it.key: value(it.value) for it in about.resource.attributes},
            dropped=span.dropped_attributes_count,
        )
        for about in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in about.scope_spans
        for span in scope.spans
    ]


def value(told: AnyValue) -> object:
    match told.WhichOneof("value"):
        case "array_value":
            return tuple(value(one) for one in told.array_value.values)
        case None:
            return None
        case kind:
            return getattr(told, kind)
