import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

import pytest

from loom_shell import exporting
from loom_shell.endpoints import Endpoint
from loom_shell.exporting import Bounds, Exporting
from loom_shell.metrics import resource
from loom_shell.otlp import described, encoded
from loom_shell.secret import Secret
from tests.shell.test_otlp import record
from tests.support.otlp import DEADLINE, Receiver, receiver

ABOUT = described(resource("p", "1"))
SMALL = Bounds(spans=4, octets=100_000, batch_spans=2, batch_octets=100_000, attempts=3, linger=0.01)


def span(number: int, size: int = 10) -> bytes:
    return encoded(record(span_id=f"{number:016x}", attributes=(("a", "x" * size),)), ABOUT)


class Told:
    """What an exporter dropped and noted; to be waited for."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.drops: list[tuple[str, str, str, int]] = []
        self.notes: list[str] = []

    def drop(self, exporter: str, signal: str, reason: str, count: int) -> None:
        with self.changed:
            self.drops.append((exporter, signal, reason, count))
            self.changed.notify_all()

    def note(self, text: str) -> None:
        with self.changed:
            self.notes.append(text)
            self.changed.notify_all()

    def wait_notes(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.notes) >= count, DEADLINE)

    def wait_drops(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: sum(it[3] for it in self.drops) >= count, DEADLINE)


@contextmanager
def exporter(url: str, told: Told, bounds: Bounds = SMALL) -> Iterator[Exporting]:
    endpoint = Endpoint("one", f"{url}/v1/traces", f"{url}/v1/metrics", (("x-key", Secret("k")),))
    made = Exporting(endpoint, told.drop, told.note, bounds)
    try:
        yield made
    finally:
        made.close(0.1)


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def ids(told: Receiver) -> list[int]:
    return [int(it.span_id, 16) for it in told.spans]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "BACK_OFF", 0.02)
    monkeypatch.setattr(exporting, "MAX_BACK_OFF", 0.1)


@pytest.mark.spec("telemetry.headers")
def test_spans_arrive_as_protobuf_with_the_endpoints_headers(told: Told) -> None:
    with receiver() as there, exporter(there.url, told) as one:
        for number in (1, 2, 3):
            one.put(span(number))
        assert one.close(DEADLINE)
    assert ids(there) == [1, 2, 3]
    for path, _body, headers in there.bodies:
        assert path == "/v1/traces"
        assert headers["content-type"] == "application/x-protobuf"
        assert headers["x-key"] == "k"
    assert told.drops == told.notes == []


@pytest.mark.spec("telemetry.bounded")
def test_what_waits_is_bounded_by_number_and_the_oldest_go(told: Told) -> None:
    with receiver(silent=True) as there, exporter(there.url, told) as one:
        one.put(span(1))
        there.wait(lambda it: it.asked == 1)
        for number in range(2, 12):
            one.put(span(number))
        assert sum(it[3] for it in told.drops) == 6
        assert {it[:3] for it in told.drops} == {("one", "traces", "queue full")}
        with there.changed:
            there.silent = False
            there.over = True
            there.changed.notify_all()
        assert one.close(DEADLINE)
        assert ids(there) == [1, 8, 9, 10, 11]


@pytest.mark.spec("telemetry.bounded")
def test_what_waits_is_bounded_by_bytes(told: Told) -> None:
    with receiver(silent=True) as there, exporter(there.url, told) as one:
        one.put(span(1))
        there.wait(lambda it: it.asked == 1)
        for number in (2, 3, 4):
            one.put(span(number, 60_000))
        assert told.drops == [("one", "traces", "queue full", 1)] * 2


@pytest.mark.spec("telemetry.retry")
def test_one_that_is_down_gets_the_spans_when_it_is_back(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    with exporter(f"http://127.0.0.1:{unused_port()}", told) as one:
        one.put(span(1))
        told.wait_notes(1)
        assert told.notes == ["one does not take spans: unreachable"]
        with receiver() as there:
            monkeypatch.setattr(
                one, "_endpoint", Endpoint("one", f"{there.url}/v1/traces", "", one._endpoint.headers)
            )
            there.wait(lambda it: len(it.bodies) == 1)
            assert ids(there) == [1]
            told.wait_notes(2)
    assert told.notes[1] == "one takes spans again"
    assert told.drops == []


@pytest.mark.spec("telemetry.retry")
@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_status_that_passes_is_tried_again(told: Told, status: int) -> None:
    with receiver(status=[status, 200]) as there, exporter(there.url, told) as one:
        one.put(span(1))
        there.wait(lambda it: len(it.bodies) == 1)
        assert there.asked == 2
        assert one.close(DEADLINE)
    assert told.drops == []


@pytest.mark.spec("telemetry.drops")
@pytest.mark.parametrize("status", [302, 400, 401, 404, 500])
def test_a_refusal_is_final_and_counted(told: Told, status: int) -> None:
    with receiver(status=[status, 200]) as there, exporter(there.url, told) as one:
        one.put(span(1))
        told.wait_drops(1)
        one.put(span(2))
        there.wait(lambda it: len(it.bodies) == 1)
        assert ids(there) == [2]
    assert told.drops == [("one", "traces", "refused", 1)]
    assert told.notes[0] == f"one does not take spans: refused ({status})"


@pytest.mark.spec("telemetry.drops")
def test_one_that_never_takes_a_request_does_not_keep_it_for_ever(told: Told) -> None:
    with receiver(status=[503]) as there, exporter(there.url, told) as one:
        one.put(span(1))
        told.wait_drops(1)
        assert there.asked == SMALL.attempts
    assert told.drops == [("one", "traces", "unavailable", 1)]
    assert len(told.notes) == 1


@pytest.mark.spec("telemetry.drops")
def test_one_that_does_not_answer_in_time_is_given_up(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exporting.TIMEOUT <= 5
    monkeypatch.setattr(exporting, "TIMEOUT", 0.1)
    with receiver(silent=True) as there, exporter(there.url, told) as one:
        one.put(span(1))
        told.wait_drops(1)
    assert told.drops == [("one", "traces", "timeout", 1)]


@pytest.mark.spec("telemetry.drops")
def test_spans_a_success_did_not_take_are_counted(told: Told) -> None:
    with receiver(rejects=1) as there, exporter(there.url, told) as one:
        one.put(span(1))
        told.wait_drops(1)
        assert len(there.bodies) == 1
    assert told.drops == [("one", "traces", "rejected", 1)]


@pytest.mark.spec("telemetry.shutdown")
def test_closing_ends_in_time_and_counts_what_stays(told: Told) -> None:
    with receiver(silent=True) as there, exporter(there.url, told) as one:
        for number in (1, 2, 3):
            one.put(span(number))
        there.wait(lambda it: it.asked == 1)
        began = time.monotonic()
        assert not one.close(0.2)
        assert time.monotonic() - began < 2
    assert sum(it[3] for it in told.drops) == 3
    assert {it[2] for it in told.drops} == {"shutdown"}


@pytest.mark.spec("telemetry.shutdown")
def test_closing_does_not_wait_out_a_back_off(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "BACK_OFF", 60.0)
    monkeypatch.setattr(exporting, "MAX_BACK_OFF", 60.0)
    with receiver(status=[503, 200]) as there, exporter(there.url, told) as one:
        one.put(span(1))
        told.wait_notes(1)
        assert one.close(DEADLINE)
        assert ids(there) == [1]


@pytest.mark.spec("telemetry.metrics")
def test_one_that_takes_no_metrics_gets_none_any_more(told: Told) -> None:
    with receiver(metrics_status=404) as there, exporter(there.url, told) as one:
        one.put_metrics(b"")
        one.put_metrics(b"\n\x00")
        told.wait_notes(1)
        one.put_metrics(b"\n\x00")
        one.put(span(1))
        there.wait(lambda it: len(it.bodies) == 1)
        assert there.asked == 2
    assert told.notes == ["one takes no metrics (404): it gets none from now on"]
    assert told.drops == []


@pytest.mark.spec("telemetry.metrics")
def test_metrics_that_are_not_taken_are_counted(told: Told) -> None:
    with receiver(metrics_status=400) as there, exporter(there.url, told) as one:
        one.put_metrics(b"\n\x00")
        told.wait_drops(1)
    assert told.drops == [("one", "metrics", "refused", 1)]


def test_an_endpoint_for_metrics_alone_gets_no_spans(told: Told) -> None:
    with receiver() as there:
        made = Exporting(Endpoint("m", "", f"{there.url}/v1/metrics"), told.drop, told.note)
        made.put(span(1))
        made.put_metrics(b"\n\x00")
        assert made.close(DEADLINE)
        assert [path for path, _, _ in there.bodies] == ["/v1/metrics"]


def test_a_garbled_answer_to_a_success_changes_nothing(told: Told) -> None:
    with receiver(is_garbled=True) as there, exporter(there.url, told) as one:
        one.put(span(1))
        assert one.close(DEADLINE)
    assert told.drops == told.notes == []


@pytest.mark.spec("telemetry.linger")
def test_spans_that_come_close_together_go_out_in_one_request(told: Told) -> None:
    patient = Bounds(batch_spans=3, linger=DEADLINE * 3)
    with receiver() as there, exporter(there.url, told, patient) as sent:
        for number in (1, 2, 3):
            sent.put(span(number))
        there.wait(lambda it: bool(it.bodies))
        assert ids(there) == [1, 2, 3]
        assert there.asked == 1
        sent.put(span(4))
        assert sent.close(DEADLINE)
        assert ids(there) == [1, 2, 3, 4]


@pytest.mark.spec("telemetry.linger")
def test_a_span_alone_waits_for_others_only_so_long(told: Told) -> None:
    with receiver() as there, exporter(there.url, told, Bounds(linger=0.05)) as sent:
        sent.put(span(1))
        there.wait(lambda it: bool(it.bodies))
        assert ids(there) == [1]
