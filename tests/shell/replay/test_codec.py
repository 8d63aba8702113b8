import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.events import Event, HookReported, LookupsAnswered, TimerFired, UpstreamChunkReceived
from loom_core.lookup import Answers, Memory
from loom_core.trace import SpanRecord
from loom_core.values import ExchangeKey, Key, TranscriptKey, TurnKey
from loom_shell.replay.codec import (
    LONG,
    UnreadableError,
    codec,
    decoded,
    encoded,
    read_event,
    read_key,
    write_event,
    write_key,
)
from loom_shell.replay.digest import canonical
from tests.support import samples, transcript_samples, turn_samples, world
from tests.support.weaving import ANN, Sources, request, rules, sent, through

EVENTS: list[Event] = [
    *samples.events().values(),
    *turn_samples.events().values(),
    *transcript_samples.events().values(),
    request(of=rules(ANN)),
    TimerFired(2**70, "\ud800" * LONG),
    UpstreamChunkReceived(1, bytes(range(256)) * 9),
    LookupsAnswered(1, Answers({"z": "1", "a": "2"}, {"k": "\udfff"}, {"p*": (("k", "v"),)})),
]


class Blobs:
    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def put(self, content: bytes) -> str:
        self.kept.append(content)
        return str(len(self.kept) - 1)

    def get(self, name: str) -> bytes:
        return self.kept[int(name)]


def again(event: Event) -> Event:
    blobs = Blobs()
    return read_event(decoded(encoded(write_event(event, blobs.put))), blobs.get)


@pytest.mark.spec("journal.lossless")
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_reads_back_as_it_was(event: Event) -> None:
    found = again(event)
    assert found == event
    assert canonical(found) == canonical(event)


@pytest.mark.spec("journal.lossless")
@given(world.anything)
def test_any_event_reads_back_as_it_was(event: Event) -> None:
    assert again(event) == event


@pytest.mark.parametrize("key", [ExchangeKey("x"), TurnKey("s", "a"), TranscriptKey("\udcff/p")])
def test_every_key_reads_back_as_it_was(key: Key) -> None:
    assert read_key(decoded(encoded(write_key(key)))) == key


def test_a_number_that_is_none_reads_back() -> None:
    of, blobs = codec(Memory), Blobs()
    found = of.reads(decoded(encoded(of.writes(Memory("m", "x", score=math.nan), blobs.put))), blobs.get)
    assert math.isnan(found.score)


@given(st.text(max_size=20) | st.booleans() | st.integers() | st.floats(allow_nan=False))
def test_a_value_keeps_its_type_among_several(value: object) -> None:
    span = SpanRecord("t", "s", "", "n", "internal", 0, 1, (("a", value),))  # type: ignore[arg-type]
    of, blobs = codec(SpanRecord), Blobs()
    found = of.reads(decoded(encoded(of.writes(span, blobs.put))), blobs.get)
    assert (found, type(found.attributes[0][1])) == (span, type(value))


def test_there_is_a_form_of_every_action() -> None:
    for action in through(Sources(), sent()).done:
        assert encoded(codec(type(action)).writes(action, Blobs().put))


def test_rules_are_written_once() -> None:
    blobs = Blobs()
    form = write_event(request(of=rules(ANN)), blobs.put)
    assert set(form[1]["rules"]) == {"blob"}


@pytest.mark.parametrize(
    "form",
    [
        None,
        [],
        ["Unheard", {}],
        ["TimerFired", {}],
        ["TimerFired", {"at": "x", "timer": "t"}],
        ["TimerFired", {"at": True, "timer": "t"}],
        ["TimerFired", []],
        ["HookReported", {"at": 1, "hook": 1, "prompt_id": "", "tool_use_id": ""}],
        ["UpstreamFailed", {"at": 1, "cause": "NONE", "replayable": True, "detail": ""}],
        ["UpstreamHeadReceived", {"at": 1, "status": 200, "headers": [["a"]]}],
        ["UpstreamHeadReceived", {"at": 1, "status": 200, "headers": "a"}],
    ],
)
def test_a_form_that_stands_for_nothing_is_told(form: object) -> None:
    with pytest.raises(UnreadableError):
        read_event(form, Blobs().get)


@pytest.mark.parametrize("form", [None, [], ["x", "y"], ["turn", "s"], ["turn", 1, 2]])
def test_a_form_that_names_no_machine_is_told(form: object) -> None:
    with pytest.raises(UnreadableError):
        read_key(form)


def test_a_line_that_is_no_json_is_told() -> None:
    for line in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(UnreadableError):
            decoded(line)
    assert again(HookReported(1, "", "", "")) == HookReported(1, "", "", "")
