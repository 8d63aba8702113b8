"""A span record as an OTLP export request, through the SDK's own span and encoder.

Ids and times are the record's. There is no tracer and no ambient context, so nothing can be
attached to the wrong task, and a parent's sampling flag decides nothing.
"""

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from loom_core.trace import SpanRecord

MAX_ATTRIBUTES = 10_000
"""The SDK's own limit is 128; beyond ours the last ones go, for kind and session come first."""

_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_SCOPE = InstrumentationScope("loom")


def encoded(span: SpanRecord, about: Resource) -> bytes:
    """One span as a whole export request. ValueError for ids that are none.

    Several of these in a row are one request with all of them: where protobuf messages are joined,
    their repeated fields are too (protobuf encoding guide, "Last One Wins").
    """
    return bytes(encode_spans([readable(span, about)]).SerializeToString())


def readable(span: SpanRecord, about: Resource) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=_context(span.trace_id, span.parent_id) if span.parent_id else None,
        resource=about,
        attributes=dict(span.attributes[:MAX_ATTRIBUTES]),
        links=[Link(_context(trace_id, span_id)) for trace_id, span_id in span.links],
        kind=_KINDS[span.kind],
        instrumentation_scope=_SCOPE,
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
        start_time=span.start,
        end_time=span.end,
    )


def _context(trace_id: str, span_id: str) -> SpanContext:
    context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(1))
    if not context.is_valid:
        raise ValueError("a span id or trace id that is none")
    return context


def size_of(span: SpanRecord) -> int:
    """About how many bytes a record holds: what waits is bounded by it."""
    size = 512
    for name, value in span.attributes:
        size += len(name) + (len(value) if isinstance(value, str) else 16)
    return size
