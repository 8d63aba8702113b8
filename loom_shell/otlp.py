"""A span record as an OTLP export request, made of OpenTelemetry's own protobuf messages.

Ids and times are the record's. There is no tracer and no ambient context, so nothing can be attached
to the wrong task, and a parent's sampling flag decides nothing. Nor is there a span of the SDK's: it
checks again each attribute that `loom_core.attributes` wrote, and takes five times as long with it.
Most attributes of a span were on one before: their bytes are kept, and put together here.
"""

from functools import lru_cache

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, SpanFlags, Status
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
_SCOPE = ScopeSpans(scope=InstrumentationScope(name="loom")).SerializeToString()
_SHORT, _MOST_KNOWN = 64, 4_096
"""Characters of a text whose attribute is kept, and attributes kept: some 2 MB."""


def described(about: Resource) -> bytes:
    """Who says it, for all spans alike: a part of their `ResourceSpans`."""
    told = ResourceSpans()
    for name, value in about.attributes.items():
        told.resource.attributes.add(key=name).value.string_value = str(value)
    return bytes(told.SerializeToString())


def encoded(span: SpanRecord, about: bytes) -> bytes:
    """One span as a whole export request. ValueError for ids that are none.

    Several of these in a row are one request with all of them, as a span and its attributes are one span:
    where protobuf messages are joined, their repeated fields are too (encoding guide, "Last One Wins").
    """
    told = b"".join((_bare(span), *(_attribute(*it) for it in span.attributes[:MAX_ATTRIBUTES])))
    spans = _SCOPE + _field(ScopeSpans.SPANS_FIELD_NUMBER, told)
    resource = about + _field(ResourceSpans.SCOPE_SPANS_FIELD_NUMBER, spans)
    return _field(ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER, resource)


def _bare(span: SpanRecord) -> bytes:
    """A span without its attributes."""
    out = Span(
        trace_id=_trace_id(span.trace_id),
        span_id=_span_id(span.span_id),
        parent_span_id=_span_id(span.parent_id) if span.parent_id else b"",
        name=span.name,
        kind=_KINDS[span.kind],
        flags=_FLAGS,
        start_time_unix_nano=span.start,
        end_time_unix_nano=span.end,
    )
    for trace_id, span_id in span.links:
        out.links.add(trace_id=_trace_id(trace_id), span_id=_span_id(span_id), flags=_FLAGS)
    if span.error:
        out.status.code, out.status.message = Status.STATUS_CODE_ERROR, span.error
    return bytes(out.SerializeToString())


def _attribute(name: str, value: AttributeValue) -> bytes:
    """One attribute, as the part of a span that it is."""
    if isinstance(value, str) and len(value) > _SHORT:
        text = _field(AnyValue.STRING_VALUE_FIELD_NUMBER, value.encode())
        told = _name(name) + _field(KeyValue.VALUE_FIELD_NUMBER, text)
        return _field(Span.ATTRIBUTES_FIELD_NUMBER, told)
    if isinstance(value, (float, tuple)):
        return _made(name, value)
    return _known(name, value)


def _made(name: str, value: AttributeValue) -> bytes:
    out = Span()
    _put(out.attributes.add(key=name).value, value)
    return bytes(out.SerializeToString())


_known = lru_cache(_MOST_KNOWN, typed=True)(_made)


@lru_cache(_MOST_KNOWN)
def _name(name: str) -> bytes:
    return bytes(KeyValue(key=name).SerializeToString())


def _field(number: int, value: bytes) -> bytes:
    """A text or a message as a field of another."""
    return _head(number, len(value)) + value


@lru_cache(_MOST_KNOWN)
def _head(number: int, size: int) -> bytes:
    """Tag and length (protobuf encoding guide, "Length-Delimited Records"); the tags here are below 16."""
    head = [number << 3 | 2]
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((*head, size))


def _put(out: AnyValue, value: AttributeValue) -> None:
    match value:
        case str():
            out.string_value = value
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
