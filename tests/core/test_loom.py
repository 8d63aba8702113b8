"""The five properties of the core, over events in any order and in any order the world can bring."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core import exchange, loom
from loom_core.actions import (
    Action,
    LogExchange,
    SendChunk,
    SendHead,
    SendUpstream,
    SendUpstreamChunk,
)
from loom_core.events import (
    ClientGone,
    Event,
    RequestChunkReceived,
    RequestEnded,
    RequestReceived,
    ShutdownRequested,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamHeadReceived,
)
from loom_core.exchange import Finished, Idle
from loom_core.headers import to_client, to_upstream
from loom_core.outgoing import refusal
from loom_core.rules import Retry, Rules
from loom_core.values import Headers
from tests.support import samples
from tests.support.dialogue import FRAMES, UPLOAD
from tests.support.samples import AT, KEY, SSE_HEAD, asked
from tests.support.world import (
    Ledger,
    World,
    anything,
    bodies,
    chunks,
    failures,
    goings,
    heads,
    requests,
    run,
    sequences,
)

ROOT = Path(__file__).resolve().parents[2]
ANSWER = b"\r\n".join(FRAMES) + "data: Grüße – 😀\n\ndata: [DONE]\n\n".encode()

EACH_STATE = pytest.mark.parametrize("state", samples.states().values(), ids=samples.states())


def sent(actions: list[Action]) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, SendChunk))


def record(actions: list[Action]) -> LogExchange:
    (line,) = (action for action in actions if isinstance(action, LogExchange))
    return line


def cut(whole: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(whole), *(at % (len(whole) + 1) for at in cuts)})
    return [whole[begin:end] for begin, end in pairwise(edges)]


def test_a_machine_begins_idle_and_is_moved_by_step() -> None:
    assert loom.begin(KEY) == Idle()
    assert loom.step(KEY, Idle(), ClientGone(AT)) == (Finished(), ())


# ------------------------------------------------------------------ total


def test_there_is_a_sample_of_every_state() -> None:
    assert {type(state) for state in samples.states().values()} == set(get_args(exchange.State))


@EACH_STATE
@pytest.mark.parametrize("event", samples.events().values(), ids=samples.events())
@pytest.mark.spec("exchange.total")
def test_every_event_in_every_state_gives_a_state_and_actions(state: loom.State, event: Event) -> None:
    after, actions = loom.step(KEY, state, event)
    assert isinstance(after, loom.State)
    assert isinstance(actions, tuple)
    assert all(isinstance(action, Action) for action in actions)


@EACH_STATE
@given(st.lists(anything, max_size=6))
@pytest.mark.spec("exchange.total")
def test_any_events_from_any_state_give_states_and_actions(state: loom.State, events: list[Event]) -> None:
    for event in events:
        state, actions = loom.step(KEY, state, event)
        assert isinstance(state, loom.State)
        assert all(isinstance(action, Action) for action in actions)


# ------------------------------------------------------------------ balanced


@given(sequences, goings)
@pytest.mark.spec(
    "exchange.balanced", "exchange.record", "exchange.head", "exchange.over", "retry.after-head"
)
def test_events_in_any_order_leave_nothing_open_and_one_line_behind(events: list[Event], last: Event) -> None:
    ledger, state = Ledger(), loom.begin(KEY)
    for event in [*events, last]:
        state, _ = ledger.tell(state, event)
    assert isinstance(state, Finished)
    assert ledger.lines == (1 if ledger.began else 0)
    assert not ledger.open


@given(
    requests,
    bodies,
    st.lists(chunks, max_size=3),
    heads,
    failures,
    st.lists(st.integers(0, 5), max_size=30),
    goings,
)
@pytest.mark.spec("exchange.balanced", "exchange.bad-order", "exchange.record", "exchange.request")
def test_in_an_order_the_world_can_bring_nothing_is_noted_and_all_balances(
    request_: RequestReceived,
    body: list[bytes],
    answer: list[bytes],
    head: UpstreamHeadReceived,
    failed: UpstreamFailed,
    choices: list[int],
    last: Event,
) -> None:
    head, failed = evolve(head, at=AT), evolve(failed, at=AT)
    world = World(request_, list(body), list(answer))
    world.happens(request_)
    for choice in choices:
        may = world.possible(head, failed)
        if isinstance(world.state, Finished) or not may:
            break
        world.happens(may[choice % len(may)])
    if world.asked_sources:
        assert world.up == [] or b"I am Ann." in world.up[0], "it went up woven"
    elif world.ledger.head and refusal(request_) is None and world.request_ended and world.up:
        assert b"".join(world.up) == b"".join(body)
    if not isinstance(world.state, Finished):
        world.happens(last)
    assert isinstance(world.state, Finished)
    assert world.ledger.lines == 1
    assert world.ledger.notes == []


# ------------------------------------------------------------------ transparent and split

plain = st.lists(st.tuples(st.binary(min_size=1, max_size=8), st.binary(max_size=8)), max_size=6).map(tuple)


def exchanged(
    request: RequestReceived, body: list[bytes], status: int, head: Headers, answer: list[bytes]
) -> list[Action]:
    events: list[Event] = [request, *(RequestChunkReceived(AT, data) for data in body), RequestEnded(AT)]
    events += [UpstreamHeadReceived(AT, status, head)]
    events += [*(UpstreamChunkReceived(AT, data) for data in answer), UpstreamEnded(AT)]
    state, actions = run(events)
    assert isinstance(state, Finished)
    return actions


def uploaded(actions: list[Action]) -> bytes:
    parts = [
        action.data if isinstance(action, SendUpstreamChunk) else action.body or b""
        for action in actions
        if isinstance(action, SendUpstreamChunk | SendUpstream)
    ]
    return b"".join(parts)


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"]),
    st.sampled_from([b"/v1/messages?beta=true", b"/v1/messages/batches"]) | st.binary(),
    plain,
    st.lists(chunks),
    st.integers(200, 599),
    plain,
    st.lists(chunks),
)
@pytest.mark.spec("exchange.request", "exchange.bytes", "exchange.status", "exchange.headers", "headers.kept")
def test_what_goes_in_comes_out_both_ways(
    method: str,
    target: bytes,
    up: Headers,
    body: list[bytes],
    status: int,
    down: Headers,
    answer: list[bytes],
) -> None:
    request = asked(method, target, (*up, (b"transfer-encoding", b"chunked")))
    if refusal(request) is not None:
        return
    actions = exchanged(request, body, status, down, answer)
    (order,) = (action for action in actions if isinstance(action, SendUpstream))
    assert (order.method, order.target) == (method, target)
    assert order.headers[: len(to_upstream(up))] == to_upstream(up)
    assert uploaded(actions) == b"".join(body)
    (head,) = (action for action in actions if isinstance(action, SendHead))
    assert (head.status, head.headers) == (status, to_client(down))
    assert [action.data for action in actions if isinstance(action, SendChunk)] == answer
    assert (record(actions).received, record(actions).relayed) == (len(b"".join(body)), len(b"".join(answer)))


@given(
    st.binary(),
    st.lists(st.integers(0, 500), max_size=8),
    st.binary() | st.just(ANSWER),
    st.lists(st.integers(0, 500), max_size=8),
    st.sampled_from([SSE_HEAD, ((b"content-type", b"application/json"),), ()]),
    st.booleans(),
)
@pytest.mark.spec("exchange.split", "exchange.bytes", "observer.aside", "observer.split")
def test_any_split_of_body_and_answer_gives_the_same_bytes_and_the_same_observation(
    body: bytes,
    up: list[int],
    answer: bytes,
    down: list[int],
    head: Headers,
    streamed: bool,  # noqa: FBT001 drawn
) -> None:
    request = UPLOAD if streamed else asked()
    whole = exchanged(request, [body], 200, head, [answer])
    parts = exchanged(request, cut(body, up), 200, head, cut(answer, down))
    assert sent(parts) == sent(whole) == answer
    assert uploaded(parts) == uploaded(whole) == body
    assert record(parts) == record(whole)


@pytest.mark.spec("exchange.split", "observer.split", "observer.aside", "observer.odd")
def test_an_answer_that_comes_byte_by_byte_is_relayed_byte_by_byte_and_read_the_same() -> None:
    single = [bytes([byte]) for byte in ANSWER]
    actions = exchanged(asked(), [b"{}"], 200, SSE_HEAD, single)
    assert [action.data for action in actions if isinstance(action, SendChunk)] == single
    assert record(actions) == record(exchanged(asked(), [b"{}"], 200, SSE_HEAD, [ANSWER]))
    seen = record(actions).seen
    assert seen is not None
    assert (seen.message_id, seen.frames, seen.odd, seen.complete) == ("msg_1", 6, 2, True)


# ------------------------------------------------------------------ repeatable


@given(sequences)
@pytest.mark.spec("exchange.repeatable")
def test_the_same_events_give_the_same_states_and_actions(events: list[Event]) -> None:
    assert run(events) == run(events)


@given(sequences)
@pytest.mark.spec("exchange.repeatable")
def test_a_step_leaves_the_state_it_came_from_as_it_was(events: list[Event]) -> None:
    state = loom.begin(KEY)
    for event in events:
        before = repr(state)
        after, _ = loom.step(KEY, state, event)
        assert repr(state) == before
        state = after


def everything() -> str:
    """Every state with every event, and some stories, as text."""
    steps = [
        loom.step(KEY, state, event)
        for state in samples.states().values()
        for event in samples.events().values()
    ]
    rules = Rules(Retry(statuses=frozenset({429, 503, 529})))
    named = ((b"Connection", b"x-a, x-b, x-c"), *((b"x-%c" % letter, b"1") for letter in b"abcdef"))
    stories = [
        exchanged(asked(rules=rules, headers=named), [b"{}"], 200, (*SSE_HEAD, *named), [ANSWER]),
        exchanged(UPLOAD, [b"a", b"b"], 404, (), [b"{}"]),
        run([asked(rules=rules), RequestEnded(AT), UpstreamHeadReceived(AT, 429, ()), ShutdownRequested(AT)]),
    ]
    return re.sub(r"frozenset\(\{(.*?)\}\)", in_order, repr((steps, stories)))


def in_order(found: re.Match[str]) -> str:
    """A set as text: equal sets print in the order of their hashes, which differ between processes."""
    return f"frozenset({sorted(found[1].split(', '))})"


@pytest.mark.spec("exchange.repeatable")
def test_other_processes_with_other_hashes_come_to_the_same() -> None:
    code = "from tests.core.test_loom import everything; print(everything())"
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert told == [everything()] * 2
