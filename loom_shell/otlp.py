"""A span record as an OTLP export request, made of OpenTelemetry's own protobuf messages.

Ids and times are the record's. There is no tracer and no ambient context, so nothing can be attached
to the wrong task, and a parent's sampling flag decides nothing. Nor is there a span of the SDK's: it
checks again each attribute that `loom_core.attributes` wrote, and takes five times as long with it.
"""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as Described
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.sdk.resources import Resource

from loom_core.trace import AttributeValue, SpanRecord, is_id

MAX_ATTRIBUTES = 10_000
"""Beyond them the last ones go, for kind and session come first."""

_KINDS = {
    "internal": Span.SPAN_KIND_INTERNAL,
    "server": Span.SPAN_KIND_SERVER,
    "client": Span.SPAN_KIND_CLIENT,
}
_FLAGS = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK | 1
"""Sampled, and known to have no parent of another process (trace.proto, SpanFlags)."""


def described(about: Resource) -> Described:
    """Who says it, for all spans alike."""
    told = Described()
    for name, value in about.attributes.items():
        told.attributes.add(key=name, value=AnyValue(string_value=str(value)))
    return told


def encoded(span: SpanRecord, about: Described) -> bytes:
    """One span as a whole export request. ValueError for ids that are none.

    Several of these in a row are one request with all of them: where protobuf messages are joined,
    their repeated fields are too (protobuf encoding guide, "Last One Wins").
    """
    request = ExportTraceServiceRequest()
    whole = request.resource_spans.add()
    whole.resource.CopyFrom(about)
    scope = whole.scope_spans.add()
    scope.scope.name = "loom"
    _write(scope.spans.add(), span)
    return bytes(request.SerializeToString())


def _write(out: Span, span: SpanRecord) -> None:
    out.trace_id, out.span_id = _trace_id(span.trace_id), _span_id(span.span_id)
    if span.parent_id:
        out.parent_span_id = _span_id(span.parent_id)
    out.name = span.name
    out.kind = _KINDS[span.kind]
    out.flags = _FLAGS
    out.start_time_unix_nano, out.end_time_unix_nano = span.start, span.end
    add = out.attributes.add
    for name, value in span.attributes[:MAX_ATTRIBUTES]:
        put = add(key=name).value
        if isinstance(value, str):
            # Most of them are texts.
            put.string_value = value
        else:
            _put(put, value)
    for trace_id, span_id in span.links:
        out.links.add(trace_id=_trace_id(trace_id), span_id=_span_id(span_id), flags=_FLAGS)
    if span.error:
        out.status.code, out.status.message = Status.STATUS_CODE_ERROR, span.error


def _put(out: AnyValue, value: AttributeValue) -> None:
    match value:
        case bool():
            out.bool_value = value
        case int():
            out.int_value = value
        case float():
            out.double_value = value
        case _:
            for text in value:
                out.array_value.values.add(string_value=text)


def _trace_id(text: str) -> bytes:
    if not is_id(text, 16):
        raise ValueError("a trace id that is none")
    return bytes.fromhex(text)


def _span_id(text: str) -> bytes:
    if not is_id(text, 8):
        raise ValueError("a span id that is none")
    return bytes.fromhex(text)


def size_of(span: SpanRecord) -> int:
    """About how many bytes a record holds: what waits is bounded by it."""
    size = 512
    for name, value in span.attributes:
        size += len(name) + (len(value) if isinstance(value, str) else 16)
    return size
