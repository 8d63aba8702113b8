import pytest

from loom_core import system, wire
from loom_core.system import Lies, System


def read(value: bytes) -> tuple[System, bytes]:
    body = b'{"messages":[],"system":' + value + b',"model":"m"}'
    _, top = wire.shaped(body)
    assert top is not None
    return system.read(body, top), body


@pytest.mark.parametrize(
    ("value", "lies"),
    [
        (b"null", Lies.EMPTY),
        (b'""', Lies.EMPTY),
        (b"[]", Lies.EMPTY),
        (b"[ \n\t\r]", Lies.EMPTY),
        (b'"Be brief."', Lies.STRING),
        (b'[ {"type":"text","text":"a"} ]', Lies.LIST),
        (b"[1]", Lies.LIST),
        (b"5", Lies.ODD),
        (b"{}", Lies.ODD),
        (b"true", Lies.ODD),
    ],
)
@pytest.mark.spec("weave.identity")
def test_how_it_lies_is_told(value: bytes, lies: Lies) -> None:
    found, body = read(value)
    assert found.lies is lies
    assert body[found.start : found.end] == found.raw == value


@pytest.mark.parametrize("end", [b"]", b" ]", b"\n\t ]"])
def test_the_place_of_a_list_is_right_after_its_last_block(end: bytes) -> None:
    found, body = read(b'[{"type":"text","text":"a"} , {"type":"text","text":"] "}' + end)
    assert body[: found.place].endswith(b'"] "}')
    assert body[found.place : found.end] == end


def test_absent_its_place_is_after_the_messages() -> None:
    body = b'{"x":1,"messages":[ ] ,"model":"m"}'
    found = system.read(body, wire.fields(body) or {})
    assert (found.lies, found.start, found.end) == (Lies.ABSENT, found.place, found.place)
    assert body[: found.place].endswith(b"[ ]")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b'"I am \\u0041lpha."', True),
        (b'[{"type":"text","text":"x"},{"type":"text","text":"So: Alpha"}]', True),
        (b'[{"type":"text","text":"Alp"},{"type":"text","text":"ha"}]', False),
        (b'[{"type":"Alpha","text":5},"Alpha",null]', False),
        (b'"\\ud83d Alpha"', True),
        (b'"\xff Alpha"', False),
        (b"[1e400]", False),
        (b"null", False),
        (b'{"text":"Alpha"}', False),
    ],
)
@pytest.mark.spec("weave.placeholder")
def test_words_are_found_in_its_texts(value: bytes, *, says: bool) -> None:
    found, _ = read(value)
    assert found.says("Alpha") is says


@pytest.mark.spec("weave.placeholder")
def test_no_words_are_always_found() -> None:
    assert read(b"null")[0].says("")
    assert read(b"[1]")[0].says("")
