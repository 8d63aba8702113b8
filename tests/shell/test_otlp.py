import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags

from loom_core.spans import call_spans, turn_span
from loom_core.trace import SpanRecord
from loom_shell.metrics import resource
from loom_shell.otlp import MAX_ATTRIBUTES, described, encoded, size_of
from tests.support.facts import AT, ROOT, TRACE, call_facts, turn_facts
from tests.support.otlp import decoded

ABOUT = described(resource("my project", "1.2"))


def record(**what: object) -> SpanRecord:
    given = {
        "trace_id": TRACE,
        "span_id": ROOT,
        "parent_id": "",
        "name": "n",
        "kind": "internal",
        "start": AT,
        "end": AT + 1,
        "attributes": (("a", "b"),),
    }
    return SpanRecord(**{**given, **what})


@pytest.mark.spec("telemetry.exact")
def test_a_record_arrives_as_it_is() -> None:
    sent = record(
        parent_id="b7ad6b7169203331",
        kind="client",
        attributes=(("z", "text"), ("a", 5), ("t", True), ("f", 0.5), ("l", ("x", "y")), ("é", "ü😀")),
        error="went wrong",
        links=(("c" * 32, "d" * 16),),
    )
    (span,) = decoded(encoded(sent, ABOUT))
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE, ROOT, "b7ad6b7169203331")
    assert (span.name, span.kind, span.start, span.end) == ("n", 3, AT, AT + 1)
    assert span.attributes == dict(sent.attributes)
    assert list(span.attributes) == [name for name, _ in sent.attributes]
    assert span.error == "went wrong"
    assert span.links == sent.links
    assert span.resource == {
        "service.name": "loom",
        "service.version": "1.2",
        "openinference.project.name": "my project",
    }


@pytest.mark.spec("telemetry.exact")
@pytest.mark.parametrize("length", [0, 1, 64, 65, 127, 128, 16_383, 16_384, 2_100_000])
def test_a_text_of_any_length_arrives_as_it_is(length: int) -> None:
    sent = record(attributes=(("é" * 100, "ü" * length), ("b", "b" * length), ("c", 1)))
    for _ in range(2):
        (span,) = decoded(encoded(sent, ABOUT))
        assert span.attributes == dict(sent.attributes)


def test_values_that_are_equal_and_of_another_type_are_told_apart() -> None:
    for value in (1, True, 1.0, 0, False, 0.0):
        (span,) = decoded(encoded(record(attributes=(("a", value),)), ABOUT))
        assert type(span.attributes["a"]) is type(value)


def test_a_root_has_no_parent_and_a_good_span_no_status() -> None:
    (span,) = decoded(encoded(record(), ABOUT))
    assert (span.parent_id, span.error, span.kind) == ("", "", 1)
    assert decoded(encoded(record(kind="server"), ABOUT))[0].kind == 2


@pytest.mark.spec("telemetry.limit")
def test_far_more_than_128_attributes_are_kept_in_order() -> None:
    many = tuple((f"a{number}", number) for number in range(MAX_ATTRIBUTES + 5))
    (span,) = decoded(encoded(record(attributes=many), ABOUT))
    assert list(span.attributes) == [name for name, _ in many[:MAX_ATTRIBUTES]]
    assert span.dropped == 0


def test_requests_in_a_row_are_one_request() -> None:
    spans = (record(), record(span_id="d" * 16))
    joined = b"".join(encoded(span, ABOUT) for span in spans)
    assert [span.span_id for span in decoded(joined)] == [span.span_id for span in spans]


@pytest.mark.parametrize(
    "wrong", [{"trace_id": ""}, {"span_id": "xyz"}, {"span_id": "0" * 16}, {"trace_id": "f" * 33}]
)
def test_an_id_that_is_none_is_a_value_error(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        encoded(record(**wrong), ABOUT)


def test_a_record_knows_about_how_large_it_is() -> None:
    for span in (*call_spans(call_facts()), turn_span(turn_facts())):
        assert 0.5 < size_of(span) / len(encoded(span, ABOUT)) < 2


@pytest.mark.spec("telemetry.ids")
def test_ids_and_times_are_the_records_and_nothing_else_decides_what_is_sampled() -> None:
    told = ExportTraceServiceRequest.FromString(encoded(record(), ABOUT))
    span = told.resource_spans[0].scope_spans[0].spans[0]
    assert (span.trace_id.hex(), span.span_id.hex()) == (TRACE, ROOT)
    assert span.flags & 1
    assert not span.flags & SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
