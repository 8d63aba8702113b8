import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import chain
from loom_core.chain import Anchor, Conversation
from loom_core.prefix import MOST_BEGINNINGS, MOST_STEPS, Memo, staying, whole
from tests.support.conversations import (
    MARKER,
    SCOPE,
    Message,
    Sent,
    answer,
    asks_tool,
    body,
    conversations,
    prompt,
    result,
    sent,
    text,
)

TURNS = [prompt("a"), answer("b"), prompt("a"), asks_tool("t"), result("t", "and"), answer("c"), prompt("a")]
SYSTEM: Message = {"role": "system", "content": [text("x")]}


@pytest.fixture(autouse=True)
def _nothing_is_known() -> Iterator[None]:
    chain.MEMO.clear()
    yield
    chain.MEMO.clear()


def read(request: bytes) -> Conversation:
    found = chain.read(request, SCOPE)
    assert found is not None
    return found


def afresh(request: bytes) -> Conversation:
    chain.MEMO.clear()
    return read(request)


def changed(messages: list[Message], at: int, new: Message) -> list[Message]:
    return [*messages[:at], new, *messages[at + 1 :]]


calls = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 30), sent, st.integers(0, 3)), min_size=2, max_size=10
)


@given(st.lists(conversations(), min_size=3, max_size=3), calls)
@pytest.mark.spec("weave.memo")
def test_what_is_known_changes_nothing(
    told: list[list[Message]], calls: list[tuple[int, int, Sent, int]]
) -> None:
    """Calls of three conversations in one scope: shorter, longer, edited in the middle, written otherwise."""
    chain.MEMO.clear()
    requests = []
    for which, length, how, edit in calls:
        messages = told[which][:length] + told[0]
        if edit and messages:
            messages = changed(messages, edit % len(messages), prompt("edited"))
        requests.append(body(messages, how))
    found = [read(request) for request in requests]
    assert found == [read(request) for request in requests], "again, with all of it known"
    assert found == [afresh(request) for request in requests]


@pytest.mark.spec("weave.memo")
def test_threads_read_the_same() -> None:
    requests = [body(TURNS * count, Sent(system="s" * lead)) for count in range(1, 9) for lead in (1, 9)]
    expected = [afresh(request) for request in requests]
    found: dict[int, list[Conversation]] = {}

    def run(number: int) -> None:
        turned = requests[number:] + requests[:number]
        for _ in range(5):
            seen = [read(request) for request in turned]
        found[number] = seen[-number or len(seen) :] + seen[: -number or len(seen)]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(4)] == [expected] * 4


@pytest.mark.spec("weave.memo-bounds")
def test_what_is_known_is_bounded() -> None:
    for number in range(MOST_BEGINNINGS + 3):
        read(body([prompt(f"{number}"), answer("x"), *TURNS]))
    assert len(chain.MEMO.beginnings) == MOST_BEGINNINGS
    memo: Memo[int] = Memo(5_000)
    for number in range(60):
        request = body([prompt(f"{number} " + "x" * 900), *TURNS])
        skimmed = memo.skim(f"{number % 50}", request)
        assert skimmed is not None
        memo.keep(f"{number % 50}", request, skimmed, staying(skimmed), number)
        assert sum(it.end for it in memo.beginnings) <= 6_500
    assert [it.value for it in memo.beginnings][-1] == 59, "what was used last stays"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b'{"messages":[1,2,3,4]}', b'{"messages":[1,2,]}'),
        (b'{"messages":[1,2,3,4]}', b'{"messages":[1,2 3]}'),
        (b'{"messages":[1,2,3,4]}', b'{"messages":[1,2,3'),
        (b'{"messages":[1,2,3,4]}', b'{"messages":[1,2],"messages":[]}'),
        (b'{"a":1,"messages":[1,2,3,4]}', b'{"a":1,"messages":[1,2,3],"a":2}'),
        (b'{"messages":[1,2,3,4]}', b'{"messages":[1,23,4,5]}'),
        (b'{"messages":[1,2,3,4],"b":0}', b'{"messages":[1,2 , 3,4,5 ] , "c" : "\\ud800" }'),
        (b'{"messages":[1,2,3,4],"b":0}', b'{"messages":[1,2 ] }'),
    ],
)
@pytest.mark.spec("weave.memo")
def test_a_request_that_goes_on_in_any_way_is_read_as_a_whole_one_is(first: bytes, second: bytes) -> None:
    memo: Memo[str] = Memo()
    skimmed = memo.skim("k", first)
    assert skimmed is not None
    memo.keep("k", first, skimmed, 2, "two")
    found, expected = memo.skim("k", second), whole(second)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert found.top == expected.top
    new = expected.ranges[2:] if found.known else expected.ranges
    assert found.ranges == new
    assert len(found.shape) == len(second)


@pytest.mark.spec("weave.memo")
def test_a_conversation_that_grows_is_read_on_from_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    read_in: list[Any] = []
    real = chain.link.read
    long = TURNS * 9
    read(body(long, Sent(markers=(0, 3))))
    monkeypatch.setattr(chain.link, "read", lambda *args: (read_in.append(args), real(*args))[1])
    found = read(body([*long, answer("x"), prompt("y")], Sent(markers=(0, 3))))
    assert len(read_in) <= 8, "the last messages are new, or could have changed"
    assert found.newest == Anchor(
        found.anchors[-1].key, len(long) + 1, found.newest.place if found.newest else 0
    )


@pytest.mark.spec("weave.memo", "weave.memo-bounds")
def test_a_conversation_that_goes_back_is_read_on_from_an_earlier_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_in: list[Any] = []
    real = chain.link.read
    monkeypatch.setattr(chain.link, "read", lambda *args: (read_in.append(args), real(*args))[1])
    messages = [turn for number in range(MOST_STEPS * 3) for turn in (prompt(f"{number}"), answer("x"))]
    steps = [messages[:length] for length in range(4, len(messages), 4)]
    requests = [body([*step, prompt("other")], Sent()) for step in (*steps, *steps[::-5])]
    read_in.clear()
    found = [read(request) for request in requests]
    assert len(read_in) <= 8 * len(requests), "few messages are read again, whichever way it goes"
    assert max(len(it.before) for it in chain.MEMO.beginnings) == MOST_STEPS
    assert found == [afresh(request) for request in requests]


@pytest.mark.parametrize(
    "messages",
    [
        [prompt("a"), answer("b"), SYSTEM, SYSTEM, SYSTEM, SYSTEM],
        [prompt("a"), answer("b"), SYSTEM, prompt("c"), SYSTEM, SYSTEM, SYSTEM],
        [{"role": "user", "content": [text("a") | {"cache_control": MARKER}]}, *TURNS * 3],
    ],
)
@pytest.mark.spec("weave.memo")
def test_what_lies_in_the_known_part_is_not_forgotten(messages: list[Message]) -> None:
    one, two = (body(messages, Sent(system="s" * 9, first=first)) for first in (True, False))
    expected = [afresh(two), afresh(one)]
    assert [read(two), read(one), read(two)] == [*expected, expected[0]], "also where it begins elsewhere"


@pytest.mark.spec("weave.memo-bounds")
def test_the_same_beginning_is_kept_once() -> None:
    request = body(TURNS)
    read(request)
    read(request)
    assert len(chain.MEMO.beginnings) == 1
