import json
from typing import Any

import pytest

from loom_core import link, wire
from loom_core.link import Link
from loom_core.wire import Range

A = {"type": "text", "text": "a"}
MARK = {"type": "ephemeral"}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "c"}


def read(message: object) -> Link:
    raw = message if isinstance(message, bytes) else json.dumps(message).encode()
    body = b'{"messages":[' + raw + b"]}"
    shape, top = wire.shaped(body)
    assert top is not None
    return link.read(body, shape, Range(13, 13 + len(raw)))


def user(*content: str | dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


@pytest.mark.parametrize("words", ["a", "", 'ü \N{GRINNING FACE}\n"', "\ud83d", "\ud83d \N{GRINNING FACE}"])
@pytest.mark.spec("weave.flips", "weave.surrogates")
def test_a_string_is_one_text_block_with_or_without_a_marker(words: str) -> None:
    string = read(user(words))
    assert string == read(user({"text": words, "type": "text"}))
    marked = read(user({"type": "text", "cache_control": MARK, "text": words}))
    assert marked == Link("user", string.blocks, string.asks, marked=True)
    assert read(user({"type": "text", "text": words, "cache_control": None})) == string


@pytest.mark.spec("weave.flips")
def test_the_order_of_keys_and_escapes_do_not_matter() -> None:
    one = b'{"role":"user","content":[{"type":"x","y":{"b":[1,2.50],"a":"\\u00e9"}}]}'
    two = b'{ "content" : [ {"y":{"a":"\xc3\xa9","b":[ 1 , 2.5]},"type":"\\u0078"} ],"z":0, "role":"user"}'
    assert read(one) == read(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (b'"\\ud83d"', b'"\\ud83e"'),
        (b'"\\ud83d"', b'"\\ufffd"'),
        (b'"\\ud83d\\ud83d"', b'"\\ud83d"'),
        (b'["\\ud83d",1]', b'["\\ud83d",2]'),
        (b"1e400", b"1e401"),
        (b"1e400", b"null"),
        (b"1.0", b"1"),
        (b'"\xff"', b'"\xfe"'),
        (b'{"\\ud83d":1}', b'{"\\ud83e":1}'),
        (b"[" * 500 + b"1" + b"]" * 500, b"[" * 500 + b"2" + b"]" * 500),
        (b"1" * 5000, b"2" * 5000),
    ],
)
@pytest.mark.spec("weave.surrogates", "weave.garbage")
def test_two_odd_values_do_not_come_to_the_same(one: bytes, two: bytes) -> None:
    def blocks(value: bytes) -> list[bytes]:
        return read(b'{"role":"user","content":[{"type":"odd","x":' + value + b"}]}").blocks

    assert blocks(one) == blocks(one)
    assert blocks(one) != blocks(two)


@pytest.mark.spec("weave.surrogates")
def test_a_key_with_half_a_pair_in_it_is_taken_in_as_it_is() -> None:
    def block(key: bytes) -> Link:
        return read(b'{"role":"user","content":[{"type":"text","text":"a","' + key + b'":1}]}')

    assert block(b"\\ud83d").blocks != block(b"\\ud83e").blocks
    assert block(b"\\ud83d").asks


@pytest.mark.parametrize(
    ("message", "asks"),
    [
        (user("a"), True),
        (user(A, {"type": "image"}), True),
        (user("\ud83d"), True),
        (user(A, {**A, "text": "\ud83d"}), True),
        (user(RESULT, A), False),
        (user(A, RESULT), False),
        (user({**RESULT, "content": "\ud83d"}, A), False),
        (user(A, {"text": "a"}), False),
        (user(A, {"type": 5}), False),
        (user(A, {"type": "", "x": "\ud83d"}), False),
        (user(A, "a"), False),
        (user({"text": "a"}, A), True),
        ({"role": "user", "content": []}, False),
        ({"role": "assistant", "content": "a"}, False),
        ({"role": "system", "content": "a"}, False),
        ({"role": "assistant", "content": "\ud83d"}, False),
    ],
)
@pytest.mark.spec("weave.anchors")
def test_what_a_real_user_prompt_is(message: dict[str, Any], *, asks: bool) -> None:
    assert read(message).asks is asks


@pytest.mark.parametrize(
    "message",
    [
        b"null",
        b'"user"',
        b"5",
        b"[]",
        b'{"role":"user"}',
        b'{"role":5,"content":"a"}',
        b'{"content":"a"}',
        b'{"role":"user","content":null}',
        b'{"role":"user","content":{"type":"text","text":"a"}}',
        b'{"role":"user","content":"\\ud83d","content":"\\ud83d"}',
        b'{"role":"\\ud83d","x":1}',
        b'{"role":"user","content":{"x":1e400}}',
    ],
)
@pytest.mark.spec("weave.garbage")
def test_what_is_no_message_is_taken_in_whole(message: bytes) -> None:
    found = read(message)
    assert (found.role, found.asks, found.marked, len(found.blocks)) == ("", False, False, 1)
    assert found.blocks[0].endswith(message)
    assert read(message + b" ").blocks != found.blocks


@pytest.mark.spec("weave.surrogates")
def test_a_block_that_cannot_be_read_leaves_the_others_as_they_are() -> None:
    odd = read(user({**A, "cache_control": MARK}, {**A, "text": "\ud83d", "cache_control": MARK}, RESULT))
    assert odd.marked
    assert odd.blocks[0] == read(user("a")).blocks[0]
    assert odd.blocks[2] == read(user(RESULT)).blocks[0]
    assert odd.blocks[1] == read(user("\ud83d")).blocks[0]
    repeated = read(b'{"role":"user","content":[{"type":"text","text":"\\ud83d","text":"\\ud83d"}]}')
    assert not repeated.asks
