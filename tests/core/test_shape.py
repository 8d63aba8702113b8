import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core import shape, wrapper
from loom_core.shape import (
    ASIDE,
    ASSISTANT,
    FIRST,
    HOUR,
    KEY,
    KIND,
    MARKED,
    MOST_BLOCKS,
    OURS,
    SYSTEM,
    TOOL,
    USER,
    Shape,
    read,
)
from loom_core.woven import WovenIn
from tests.support.conversations import (
    MARKER,
    Message,
    Sent,
    answer,
    asks_tool,
    body,
    conversations,
    hostile,
    prompt,
    result,
    sent,
    text,
)

TURNS = [prompt("a"), asks_tool("t"), result("t"), answer("b"), prompt("c")]
OURS_TEXT = wrapper.reminder(wrapper.BACKGROUND, ['A "note".'])
STICKY = WovenIn("p", 1, 2, sticky=5)
PASSING = WovenIn("p", 1, 2, ephemeral=5)


def shaped(request: bytes, woven: WovenIn | None = None, before: Sequence[Shape] = ()) -> Shape:
    found = read(request, woven, before)
    assert found is not None
    return found


def written(**top: object) -> bytes:
    return json.dumps({"model": "m", "messages": [prompt("a")], **top}).encode()


def told(found: Shape) -> list[int]:
    return list(found.marks)


@pytest.mark.spec("miss.shape")
def test_a_request_is_a_key_and_a_byte_for_each_block_in_the_order_of_the_cache() -> None:
    tools = [{"name": "Bash"}, {"name": "Read", "cache_control": {"type": "ephemeral"}}]
    system = [text("one"), {**text("two"), "cache_control": MARKER}]
    found = shaped(written(messages=[*TURNS, {"role": "system", "content": "s"}], tools=tools, system=system))
    assert (found.model, found.tools, found.front) == ("m", ("Bash", "Read"), 4)
    assert [mark & KIND for mark in found.marks] == [
        *(TOOL, TOOL, SYSTEM, SYSTEM),
        *(USER, ASSISTANT, ASSISTANT, USER, ASSISTANT, USER, ASIDE),
    ]
    assert [at for at, mark in enumerate(found.marks) if mark & MARKED] == [1, 3]
    assert found.last_marker == 3
    assert found.marks[3] & HOUR
    assert not found.marks[1] & HOUR
    assert [bool(mark & FIRST) for mark in found.marks[4:]] == [True, True, False, True, True, True, True]
    assert len(found.keys) == KEY * len(found.marks)
    assert b"two" not in found.keys


@pytest.mark.spec("miss.chain")
@given(conversations(), sent, sent)
def test_strings_and_markers_and_spaces_change_no_key(
    messages: list[Message], one: Sent, other: Sent
) -> None:
    first, second = shaped(body(messages, one)), shaped(body(messages, other))
    assert first.keys[first.front * KEY :] == second.keys[second.front * KEY :]


@pytest.mark.spec("miss.chain")
def test_the_attribution_that_upstream_strips_is_one_and_the_same() -> None:
    words = [f"x-anthropic-billing-header: cc_version={version};" for version in ("1", "2", "10")]
    first, *others = (shaped(written(system=[text(it), text("main")])) for it in words)
    assert {it.keys for it in others} == {first.keys}
    assert shaped(written(system=[text("other"), text("main")])).keys != first.keys


def test_a_marker_on_the_request_stands_for_one_on_its_last_block() -> None:
    assert told(shaped(written(cache_control=MARKER))) == [USER | FIRST | MARKED | HOUR]
    assert told(shaped(written(cache_control=None))) == [USER | FIRST]
    first = written(cache_control=MARKER)
    longer = [prompt("a"), answer("b"), prompt("c")]
    second = written(cache_control=MARKER, messages=longer)
    assert shaped(second, None, (shaped(first),)) == shaped(second)
    assert shaped(second).last_marker == 2


@pytest.mark.spec("miss.loom")
def test_the_looms_own_blocks_are_told_by_what_was_woven() -> None:
    request = written(system=[text("main"), text("identity")], messages=[prompt("a", OURS_TEXT)])
    plain = [SYSTEM | FIRST, SYSTEM, USER | FIRST, USER]
    assert told(shaped(request)) == plain
    assert told(shaped(request, WovenIn("p", 1, 2))) == plain
    identity = shaped(request, WovenIn("p", 1, 2, identity=3))
    assert told(identity) == [SYSTEM | FIRST, SYSTEM | OURS, USER | FIRST, USER]
    assert told(shaped(request, STICKY))[3] == USER | OURS


@pytest.mark.spec("miss.loom")
def test_a_reminder_of_the_clients_is_none_of_ours() -> None:
    for content in (
        [text(OURS_TEXT), text("a")],
        [text(OURS_TEXT)],
        [text("a"), text(f"{OURS_TEXT} and more")],
        result("t", OURS_TEXT)["content"],
        [text("a"), {**text(OURS_TEXT), "cache_control": 5}, text("b")],
    ):
        found = shaped(written(messages=[{"role": "user", "content": content}]), STICKY)
        assert not any(mark & OURS for mark in found.marks)
    both = shaped(written(messages=[prompt("a", OURS_TEXT, OURS_TEXT, OURS_TEXT)]), STICKY)
    assert [bool(mark & OURS) for mark in both.marks] == [False, False, True, True]


@pytest.mark.spec("miss.resumed")
@given(conversations(), conversations(), sent, st.none() | sent, st.sampled_from([None, PASSING]))
def test_what_is_taken_over_changes_no_result(
    first: list[Message], more: list[Message], one: Sent, other: Sent | None, woven: WovenIn | None
) -> None:
    before = (shaped(body(first, one), woven),)
    for longer in ([*first, *more], first, first[:-2], [*more, *first]):
        request = body(longer, other or one)
        resumed, afresh = shaped(request, woven, before), shaped(request, woven)
        # How far the next call may go on from there can differ.
        assert evolve(resumed, known=None) == evolve(afresh, known=None)


@pytest.mark.spec("miss.resumed")
def test_a_conversation_that_goes_on_is_read_from_where_it_was() -> None:
    def call(count: int, **top: object) -> bytes:
        attribution = text(f"x-anthropic-billing-header: cch={'0' * count};")
        messages = [prompt("a"), *(it for n in range(count) for it in (asks_tool(f"{n}"), result(f"{n}")))]
        last = {**messages[-1], "content": [{**messages[-1]["content"][-1], "cache_control": MARKER}]}
        top = {"system": [attribution, text("main")], "tools": [{"name": "Bash"}], "max_tokens": 5, **top}
        return json.dumps({"model": "m", "messages": [*messages[:-1], last], **top}).encode()

    before = shaped(call(1))
    for count in range(2, 20):
        now = shaped(call(count), None, (before,))
        assert now == shaped(call(count))
        # What was taken over was not read again: a key that is wrong stays wrong.
        broken = evolve(before, keys=b"?" * len(before.keys))
        assert shaped(call(count), None, (broken,)).keys.startswith(b"?" * KEY * (before.front + 1))
        assert shaped(call(count, max_tokens=6), None, (broken,)).keys == now.keys
        assert shaped(call(count, model="n"), None, (broken,)).keys == now.keys
        before = now


@pytest.mark.spec("miss.chain")
def test_half_a_pair_of_surrogates_does_no_harm() -> None:
    request = rb'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"\ud83d"}]}]}'
    marked = request.replace(rb'"}]', rb'","cache_control":{"type":"ephemeral"}}]')
    first, second = shaped(request), shaped(marked)
    assert first.keys == second.keys
    assert second.last_marker == 0
    assert shaped(request.replace(b"ud83d", b"ud83e")).keys != first.keys


@pytest.mark.spec("miss.shape")
def test_a_request_of_too_many_blocks_has_no_shape() -> None:
    blocks = [text("a")] * MOST_BLOCKS
    assert read(written(messages=[{"role": "user", "content": blocks}])) is not None
    assert read(written(messages=[prompt("a"), {"role": "user", "content": blocks}])) is None
    assert shaped(written(tools=[{"name": "x" * 500}])).tools == ("x" * shape.MAX_NAME,)


@pytest.mark.spec("miss.never-raises")
@pytest.mark.parametrize(
    "request_", [b"", b"[]", b"null", b'{"messages":5}', b'{"messages":{}}', b"\xff", b"[" * 9_000]
)
def test_what_is_no_request_has_no_shape(request_: bytes) -> None:
    assert read(request_) is None
    assert read(request_, None, (shaped(written()),)) is None


@pytest.mark.spec("miss.never-raises")
@given(st.lists(st.one_of(hostile, st.none(), st.integers(), st.lists(hostile, max_size=2)), max_size=4))
def test_odd_parts_do_no_harm(odd: list[Any]) -> None:
    for values in (odd, [{"role": it, "content": it} for it in odd], [{"role": "user", "content": odd}]):
        for name in ("messages", "system", "tools", "cache_control", "model", "thinking"):
            request = written(**{name: values if name in {"messages", "tools"} else odd})
            before = shaped(written(messages=[prompt("a"), answer("b")]))
            first, again = read(request), read(request, STICKY, (before,))
            assert (first is None) == (again is None)
            if first and again:
                assert len(first.keys) == KEY * len(first.marks)
                assert first.keys == again.keys


@pytest.mark.spec("miss.resumed", "miss.chain")
@pytest.mark.parametrize("odd", [r'"\ud83d"', '1e400,"input":[1],"x":[2]', '[1],"input":[[],[2]]'])
def test_odd_blocks_in_what_is_new_are_read_and_marked_as_ever(odd: str) -> None:
    block = f'{{"type":"odd","n":{odd},"cache_control":{{"type":"ephemeral"}}}}'
    first = '{"messages":[{"content":"a","role":"user"}],"model":"m"}'
    second = first.replace("}],", f'}},{{"content":[{block}],"role":"assistant"}}],')
    before = shaped(first.encode())
    now = shaped(second.encode(), None, (before,))
    assert now == shaped(second.encode())
    assert (now.last_marker, len(now.marks)) == (1, 2)
