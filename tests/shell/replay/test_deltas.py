import pytest

from loom_shell.replay.deltas import texts

FRAME = b'event: content_block_delta%bdata: {"type":"content_block_delta","index":%d,"delta":{"%b":"%b"}}%b'


def frame(index: int, words: bytes, end: bytes = b"\n", kind: bytes = b"text") -> bytes:
    return FRAME % (end, index, kind, words, end + end)


def said(stream: bytes) -> list[bytes]:
    found = list(texts(stream).values())
    places = sorted(place for it in found for place in it)
    assert b"".join(stream[begin:end] for begin, end in places) == stream
    return [b"".join(stream[begin:end] for begin, end in it) for it in found[:-1]]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_what_was_said_in_pieces_is_one_text_for_each_block(end: bytes) -> None:
    start = b'data: {"type":"content_block_start","index":0,"content_block":{"text":"no"}}' + end + end
    stream = (
        start + frame(0, b"so ", end) + frame(1, b'{\\"a', end, b"partial_json") + frame(0, b"it is", end)
    )
    assert said(stream) == [b"so it is", b'{\\"a']


def test_a_text_that_breaks_off_is_said_as_far_as_it_came() -> None:
    stream = frame(0, b"so ") + frame(0, b"it is\\n")
    for size in range(len(stream)):
        assert b"".join(said(stream[:size])) in b"so it is\\n"
    assert said(stream[: stream.index(b" is") + 3]) == [b"so it is"]


def test_a_frame_that_is_no_delta_is_none() -> None:
    assert said(b'data: {"type":"content_block_delta"}\n\ndata: content_block_delta "text":"x') == []
