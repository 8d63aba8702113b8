"""The fields of a request in one pass, as they lie there."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.asked import Asked, as_asked
from loom_core.wire import Edit, apply
from tests.support.behind import first
from tests.support.conversations import Message, Sent, body, conversations, sent


@pytest.mark.spec("turn.call")
def test_fields_are_left_as_they_lie_there() -> None:
    asked = as_asked(b'{"model": "m", "messages":[{"a": 1.50}, 2], "tools" : [ ], "unknown": {}}')
    assert [bytes(one) for one in asked.messages] == [b'{"a": 1.50}', b"2"]
    assert (bytes(asked.model), bytes(asked.tools), bytes(asked.system)) == (b'"m"', b"[ ]", b"")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1"])
@pytest.mark.spec("turn.call")
def test_json_that_is_no_object_has_no_fields(body: bytes) -> None:
    assert as_asked(body) == Asked()


@pytest.mark.parametrize("messages", [b"null", b'"text"', b"{}"])
@pytest.mark.spec("turn.call")
def test_messages_that_are_no_list_leave_the_other_fields(messages: bytes) -> None:
    asked = as_asked(b'{"messages":' + messages + b',"model":"m"}')
    assert (asked.messages, bytes(asked.model)) == ([], b'"m"')


@pytest.mark.spec("turn.call")
def test_bytes_that_are_no_json_raise_what_the_reader_raises() -> None:
    with pytest.raises(msgspec.DecodeError):
        as_asked(b"{")


@given(conversations(), sent, st.integers(1, 12))
@pytest.mark.spec("turn.call-new")
def test_messages_behind_are_left_out_and_nothing_else(
    messages: list[Message], how: Sent, count: int
) -> None:
    request = body(messages, how)
    whole, new = as_asked(request), as_asked(request, first(request, count))
    left_out = count if count <= len(whole.messages) else 0
    assert list(map(bytes, new.messages)) == list(map(bytes, whole.messages[left_out:]))
    assert [bytes(getattr(new, name)) for name in Asked.__struct_fields__[1:]] == [
        bytes(getattr(whole, name)) for name in Asked.__struct_fields__[1:]
    ]


@given(conversations(), sent, st.integers(1, 12), st.sets(st.integers(0, 20)))
@pytest.mark.spec("turn.call-new")
def test_edits_before_within_and_after_move_what_is_behind(
    messages: list[Message], how: Sent, count: int, where: set[int]
) -> None:
    request = body(messages, how)
    whole, behind = as_asked(request), first(request, count)
    if behind is None:
        return
    # White space: in front, behind the brace each message begins with, and at the very end.
    starts = [request.index(bytes(raw), behind.start) + 1 for raw in whole.messages]
    edits = [Edit(start, start, b" " * (index + 1)) for index, start in enumerate(starts) if index in where]
    edits += [Edit(0, 1, b"  {"), Edit(len(request), len(request), b" ")]
    made = apply(request, edits)
    moved = behind.moved(edits)
    assert made[: moved.start].endswith(b"[")
    assert len(as_asked(made, moved).messages) == len(whole.messages) - count
    assert [bytes(raw).replace(b" ", b"") for raw in as_asked(made, moved).messages] == [
        bytes(raw).replace(b" ", b"") for raw in whole.messages[count:]
    ]
