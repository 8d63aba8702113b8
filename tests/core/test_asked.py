"""The fields of a request in one pass, as they lie there."""

import msgspec
import pytest

from loom_core.asked import Asked, as_asked


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
