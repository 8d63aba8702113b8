import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from loom_core.events import TurnJoined
from loom_core.message import Block, Seen
from loom_core.rules import Content
from loom_core.spans import call_spans, hook_span, tool_span, turn_span
from loom_shell import telemetry as module
from loom_shell.endpoints import Endpoint, TelemetrySettings
from loom_shell.exporting import Bounds
from loom_shell.log import Log
from loom_shell.secret import Secret
from loom_shell.telemetry import Telemetry
from tests.shell.test_otlp import record
from tests.support.facts import (
    AT,
    METADATA,
    ROOT,
    SESSION,
    TRACE,
    asked,
    body,
    call_facts,
    tool_facts,
    turn_facts,
)
from tests.support.otlp import DEADLINE, Receiver, Span, receiver

SECRETS = (
    "sk-ant-api03-Abcdefgh1234567890",
    "ghp_Abcdefgh1234567890Abcdefgh1234567890",
    "AKIAIOSFODNN7EXAMPLE",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----",
)


class Notes:
    """A log on a pipe, and the lines that came out of it."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        self.log = Log(self._in, "json")

    def lines(self) -> list[dict[str, object]]:
        self.log.close(1.0)
        os.close(self._in)
        with os.fdopen(self._out) as lines:
            return [json.loads(line) for line in lines]


@contextmanager
def telemetry(*urls: str, **what: object) -> Iterator[Telemetry]:
    made = Telemetry(settings(*urls), Log(os.open(os.devnull, os.O_WRONLY)), **what)
    try:
        yield made
    finally:
        made.close(0.1)


def settings(*urls: str) -> TelemetrySettings:
    return TelemetrySettings(
        "my project",
        tuple(
            Endpoint(
                f"e{number}", f"{url}/v1/traces", f"{url}/v1/metrics", (("x-key", Secret(f"k{number}")),)
            )
            for number, url in enumerate(urls)
        ),
    )


def turn(content: Content = Content.FULL) -> list[object]:
    """The records of a turn of two calls with a tool between them."""
    first = call_facts(content, request=asked(content, seed=1))
    messages = [
        {"role": "user", "content": "What is here?"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "a b"}]},
    ]
    assert first.call is not None
    joined = TurnJoined(AT, TRACE, ROOT, 2, 1, frozenset({first.call.system_hash}))
    second = call_facts(
        content,
        request=asked(content, seed=2),
        joined=joined,
        body=body(*messages),
        seen=Seen(model="claude-sonnet-5", blocks=(Block("text", "Two files."),), stop_reason="end_turn"),
    )
    return [
        hook_span(TRACE, ROOT, SESSION, METADATA, content),
        *call_spans(first),
        tool_span(tool_facts(content=content)),
        *call_spans(second),
        turn_span(turn_facts(content=content)),
    ]


def tree(spans: list[Span], parent: str = "") -> list[object]:
    """Names as nested lists."""
    return [
        [span.name, *tree(spans, span.span_id)]
        for span in sorted(spans, key=lambda it: (it.start, it.attributes.get("loom.turn.call_index", 0)))
        if span.parent_id == parent
    ]


def refusing() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.spec("telemetry.exact", "spans.tree")
def test_a_turn_arrives_as_the_tree_it_is() -> None:
    with receiver() as there, telemetry(there.url) as sent:
        assert sent.enabled
        for span in turn():
            sent.emit(span)
        assert sent.close(DEADLINE)
        assert tree(there.spans) == [
            [
                "user-turn:5e551011",
                ["hook:collect-metadata"],
                ["loom: POST /v1/messages", ["chat claude-sonnet-5-20260101"]],
                ["loom: POST /v1/messages", ["chat claude-sonnet-5"]],
                ["execute_tool Bash"],
            ]
        ]
        assert {span.trace_id for span in there.spans} == {TRACE}
        for span in there.spans:
            assert list(span.attributes)[:2] == ["openinference.span.kind", "session.id"]
            assert span.attributes["session.id"] == SESSION
            assert span.resource["openinference.project.name"] == "my project"
            assert span.dropped == 0


@pytest.mark.spec("spans.redaction")
def test_no_secret_is_in_the_protobuf() -> None:
    said = "\n".join(SECRETS)
    sent_body = body(
        {"role": "user", "content": said},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": said}]},
        system=said,
        tools=[{"name": "T", "description": said}],
    )
    seen = Seen(blocks=(Block("text", said), Block("tool_use", json.dumps({"k": said}), name="N")))
    with receiver() as there, telemetry(there.url) as sent:
        for span in call_spans(call_facts(body=sent_body, seen=seen, failure=said)):
            sent.emit(span)
        sent.emit(turn_span(turn_facts(prompt=said, answer=said)))
        assert sent.close(DEADLINE)
        octets = b"".join(it[1] for it in there.bodies)
    assert b"redacted: anthropic key" in octets
    for word in (b"Abcdefgh1234567890", b"IOSFODNN7", b"MIIEvQIBADANBgkq"):
        assert word not in octets


@pytest.mark.spec("spans.content")
@pytest.mark.parametrize("content", [Content.METADATA, Content.OFF])
def test_less_content_is_not_in_the_protobuf(content: Content) -> None:
    with receiver() as there, telemetry(there.url) as sent:
        for span in turn(content):
            sent.emit(span)
        assert sent.close(DEADLINE)
        octets = b"".join(it[1] for it in there.bodies)
    for word in (b"What is here", b"Two files", b"terse", b"I shall", b'"command"', b"a b"):
        assert word not in octets
    assert SESSION.encode() in octets


@pytest.mark.spec("telemetry.apart")
def test_endpoints_stand_side_by_side_each_with_its_own_headers() -> None:
    with receiver() as one, receiver() as two, telemetry(one.url, two.url) as sent:
        for span in turn():
            sent.emit(span)
        assert sent.close(DEADLINE)
        assert len(one.spans) == len(two.spans) == 7
        assert {it[2]["x-key"] for it in one.bodies} == {"k0"}
        assert {it[2]["x-key"] for it in two.bodies} == {"k1"}


@pytest.mark.spec("telemetry.headers")
def test_the_environment_adds_no_header_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=for-another")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "host.name=box")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1")
    monkeypatch.setenv("HTTP_PROXY", refusing())
    with receiver() as there, telemetry(there.url) as sent:
        sent.emit(turn_span(turn_facts()))
        assert sent.close(DEADLINE)
        assert "authorization" not in there.bodies[0][2]
        assert "host.name" not in there.spans[0].resource
        assert len(there.spans[0].attributes) > 10


@pytest.mark.spec("telemetry.apart", "telemetry.never-waits")
@pytest.mark.parametrize("unwell", ["down", "silent", "refusing"])
def test_one_that_is_unwell_delays_neither_the_others_nor_who_emits(unwell: str) -> None:
    state = {"silent": True} if unwell == "silent" else {"status": [403]}
    with receiver(**state) as bad, receiver() as good:
        url = refusing() if unwell == "down" else bad.url
        with telemetry(url, good.url) as sent:
            took: list[float] = []
            for number in range(300):
                span = record(span_id=f"{number + 1:016x}")
                began = time.thread_time()
                sent.emit(span)
                took.append(time.thread_time() - began)
            wait_for(good, 300)
            assert sorted(took)[290] < 0.005
            sent.close(0.2)
        assert len(good.spans) == 300
        lost = {key: count for key, count in sent.dropped.items() if key[1] == "traces"}
        assert {exporter for exporter, _, _ in lost} == {"e0"}
        assert sum(lost.values()) == 300


def wait_for(there: Receiver, count: int) -> None:
    until = time.monotonic() + DEADLINE
    while len(there.spans) < count:
        assert time.monotonic() < until
        with there.changed:
            there.changed.wait(0.05)


@pytest.mark.spec("telemetry.never-waits")
def test_emitting_costs_microseconds() -> None:
    (large, _) = call_spans(call_facts())
    with receiver() as there, telemetry(there.url) as sent:
        began = time.thread_time()
        for _ in range(1_000):
            sent.emit(large)
        assert time.thread_time() - began < 1_000 * 200e-6


@pytest.mark.spec("telemetry.bounded", "telemetry.drops")
def test_what_waits_to_be_encoded_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    going = threading.Event()
    monkeypatch.setattr(module, "encoded", lambda *_: going.wait(DEADLINE) and b"")
    monkeypatch.setattr(module, "MAX_WAITING", 5)
    with receiver() as there, telemetry(there.url) as sent:
        for _ in range(8):
            sent.emit(record())
        assert sent.dropped == {("all", "traces", "queue full"): 3}
        going.set()
    monkeypatch.setattr(module, "MAX_OCTETS", 1_000)
    with receiver() as there, telemetry(there.url) as sent:
        sent.emit(record(attributes=(("a", "x" * 2_000),)))
        assert sent.dropped == {("all", "traces", "queue full"): 1}


@pytest.mark.spec("telemetry.drops")
def test_drops_are_measured_and_told_at_the_end() -> None:
    notes = Notes()
    with receiver(status=[400]) as there:
        sent = Telemetry(settings(there.url), notes.log)
        sent.emit(record())
        sent.emit(record(trace_id="none"))
        until = time.monotonic() + DEADLINE
        while len(sent.dropped) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
        client = TestClient(Starlette(routes=[Route("/loom/metrics", sent.metrics_page)]))
        text = client.get("/loom/metrics").text
        assert sent.close(DEADLINE)
    assert 'loom_telemetry_dropped_total{exporter="e0",reason="refused",signal="traces"} 1.0' in text
    assert 'loom_telemetry_dropped_total{exporter="all",reason="invalid",signal="traces"} 1.0' in text
    lines = notes.lines()
    assert "a span could not be encoded: ValueError" in {line["text"] for line in lines}
    last = lines[-1]
    assert last["text"] == "telemetry was not delivered"
    assert (last["e0 traces refused"], last["all traces invalid"]) == (1, 1)


@pytest.mark.spec("telemetry.shutdown")
def test_closing_delivers_what_waits_and_nothing_after() -> None:
    with receiver() as there, telemetry(there.url) as sent:
        for number in range(500):
            sent.emit(record(span_id=f"{number + 1:016x}"))
        assert sent.close(DEADLINE)
        assert len({span.span_id for span in there.spans}) == len(there.spans) == 500
        sent.emit(record())
        assert sent.dropped == {("all", "traces", "closed"): 1}
        assert sent.close(DEADLINE)


@pytest.mark.spec("telemetry.shutdown")
def test_closing_ends_in_time_though_nobody_answers() -> None:
    with receiver(silent=True) as one, receiver(silent=True) as two, telemetry(one.url, two.url) as sent:
        sent.emit(record())
        one.wait(lambda it: it.asked > 0)
        began = time.monotonic()
        assert not sent.close(0.3)
        assert time.monotonic() - began < 3
        assert sum(sent.dropped.values()) == 2


@pytest.mark.spec("telemetry.off")
def test_without_an_endpoint_nothing_is_built() -> None:
    before = threading.enumerate()
    with telemetry() as sent:
        assert not sent.enabled
        sent.emit(record())
        assert sent._thread is None
        new = [it.name for it in threading.enumerate() if it not in before]
        assert not [name for name in new if name.startswith(("telemetry", "exporter"))]
        assert sent.close(DEADLINE)
        assert sent.dropped == {}


@pytest.mark.spec("telemetry.metrics", "metrics.otlp")
def test_metrics_are_exported_from_time_to_time_and_at_the_end() -> None:
    with receiver() as there, telemetry(there.url, metrics_seconds=0.05) as sent:
        sent.record("loom.turns", 1, (("outcome", "complete"),))
        there.wait(lambda it: any(path == "/v1/metrics" for path, _, _ in it.bodies))
        sent.record("loom.turns", 1, (("outcome", "complete"),))
        assert sent.close(DEADLINE)
        (point,) = there.metrics["loom.turns"].sum.data_points
        assert point.as_int or point.as_double == 2


@pytest.mark.spec("metrics.prometheus", "metrics.level")
def test_the_page_is_prometheus_text() -> None:
    with telemetry() as sent:
        sent.watch("loom.streams.active", lambda: 2)
        client = TestClient(Starlette(routes=[Route("/loom/metrics", sent.metrics_page)]))
        answer = client.get("/loom/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "loom_streams_active 2.0" in answer.text


@pytest.mark.spec("telemetry.ids")
def test_the_loggers_of_opentelemetry_stay_on_and_silent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), receiver(status=[503, 200]) as there, telemetry(there.url) as sent:
        for span in turn():
            sent.emit(span)
        sent.record("loom.turns", 1)
        sent.close(DEADLINE)
        sent.record("loom.turns", 1)
    assert not logging.getLogger("opentelemetry.context").disabled
    assert [it for it in caplog.records if it.name.startswith("opentelemetry")] == []


@pytest.mark.spec("telemetry.bounded")
def test_each_endpoints_bounds_can_be_told() -> None:
    with receiver(silent=True) as there, telemetry(there.url, bounds=Bounds(spans=1, batch_spans=1)) as sent:
        sent.emit(record())
        there.wait(lambda it: it.asked == 1)
        for _ in range(3):
            sent.emit(record())
        sent.close(0.2)
        assert sent.dropped == {("e0", "traces", "queue full"): 2, ("e0", "traces", "shutdown"): 2}
