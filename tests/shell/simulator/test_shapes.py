import gzip
import zlib
from collections.abc import Callable

import brotli
import msgspec
import pytest
import zstandard

from loom_shell.simulator.shapes import SHAPES
from loom_shell.simulator.sound import SOUND
from loom_shell.simulator.steps import Finish, Send, Wait
from tests.shell.simulator.raw import PROMPT, STREAMED, Heard, asked, heard

BY_NAME = {scenario.name: scenario for scenario in (*SOUND, *SHAPES)}
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}


def play(name: str, body: object = STREAMED, method: str = "POST", **options: str) -> Heard:
    return heard(BY_NAME[name].script(asked(body, method, **options)))


PLAIN = play("ok-stream").body


@pytest.mark.parametrize("name", ["close-delimited", "http10"])
def test_a_body_without_framing_ends_with_the_connection(name: str) -> None:
    steps = list(BY_NAME[name].script(asked(STREAMED)))
    said = heard(steps)
    assert not {b"content-length", b"transfer-encoding"} & set(said.headers)
    assert said.body == PLAIN
    assert steps[-1] == Finish()


def test_an_http_10_answer_says_so_and_may_be_json() -> None:
    said = play("http10", PROMPT)
    assert said.head.startswith(b"HTTP/1.0 200 ")
    assert msgspec.json.decode(said.rest)["type"] == "message"


def test_chunks_of_one_byte_are_as_many_as_the_body_has_bytes() -> None:
    said = play("one-byte-chunks")
    assert said.body == PLAIN
    assert {len(chunk) for chunk in said.chunks[:-1]} == {1}


def test_every_character_of_several_bytes_is_cut_in_two_chunks() -> None:
    said = play("split-utf8")
    assert said.body == PLAIN
    cut = said.chunks[:-2]
    assert len(cut) == sum(len(letter.encode()) > 1 for letter in PLAIN.decode())
    for chunk in cut:
        with pytest.raises(UnicodeDecodeError, match="unexpected end"):
            chunk[-1:].decode()
    steps = list(BY_NAME["split-utf8"].script(asked(STREAMED)))
    gaps = [step for step in steps if isinstance(step, Wait)]
    assert len(gaps) == len(said.chunks) - 1


@pytest.mark.parametrize("coding", DECODERS)
def test_an_encoded_stream_is_the_plain_one_under_its_coding(coding: str) -> None:
    said = play(f"{coding}-stream")
    assert said.headers[b"content-encoding"] == coding.encode()
    assert said.body != PLAIN
    assert DECODERS[coding](said.body) == PLAIN
    assert all(said.chunks[:-1])


def test_an_encoded_stream_shows_each_frame_as_soon_as_it_is_there() -> None:
    said, unpack = play("gzip-stream"), zlib.decompressobj(wbits=31)
    shown = [unpack.decompress(chunk) for chunk in said.chunks[:-2]]
    assert all(frame.endswith(b"\n\n") for frame in shown)


def test_encoded_json_has_the_length_of_its_encoded_bytes() -> None:
    said = play("gzip-json")
    assert said.whole
    assert msgspec.json.decode(gzip.decompress(said.rest))["type"] == "message"


def test_huge_answers_are_as_huge_as_asked_for() -> None:
    assert 8_000_000 < len(play("huge-json").rest) < 8_010_000
    small = msgspec.json.decode(play("huge-json", size="10").rest)
    assert (small["type"], small["filling"]) == ("message", "x" * 10)
    frames = play("huge-frame").body.split(b"\n\n")
    assert 10_000_000 < max(map(len, frames)) < 10_001_000
    assert play("huge-frame", size="100000").body.count(b"x" * 100_000) == 1


def test_informational_heads_come_before_the_final_one() -> None:
    first, second, rest = play("informational").raw.split(b"\r\n\r\n", 2)
    assert first == b"HTTP/1.1 100 Continue"
    assert second.startswith(b"HTTP/1.1 103 Early Hints\r\nlink:")
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    # RFC 9110 section 15.2: a server must not send 1xx to an HTTP/1.0 client.
    assert heard(BY_NAME["informational"].script(asked(http10=True))).status == 200


def test_trailers_stand_behind_the_last_chunk() -> None:
    said = play("trailers")
    assert said.headers[b"trailer"] == b"x-checksum"
    assert said.rest.endswith(b"\r\n0\r\nx-checksum: 5f3a\r\nx-took: 12ms\r\n\r\n")


def test_heads_may_be_long_and_odd() -> None:
    many = play("many-headers").head.split(b"\r\n")
    assert len(many) > 100
    assert sum(line.startswith(b"set-cookie: ") for line in many) == 3
    long = play("long-header").head.split(b"\r\n")
    assert max(map(len, long)) > 12_000
    assert b"x-latin: caf\xe9" in long
    assert sum(line.startswith(b"set-cookie: ") for line in long) == 2


@pytest.mark.parametrize(
    ("name", "status"), [("status-204", 204), ("status-304", 304), ("status-304-length", 304)]
)
def test_some_statuses_have_no_body(name: str, status: int) -> None:
    said = play(name)
    assert (said.status, said.rest) == (status, b"")
    assert (b"content-length" in said.headers) is (name == "status-304-length")


def test_a_redirect_names_another_place() -> None:
    said = play("status-302")
    assert (said.status, said.headers[b"location"]) == (302, b"/v1/elsewhere?to=1")


def test_a_head_answer_has_a_length_and_no_body() -> None:
    said = play("head-with-length", None, "HEAD")
    assert (said.headers[b"content-length"], said.rest) == (b"4711", b"")
    assert len(play("head-with-length").rest) == 4711


@pytest.mark.parametrize("scenario", SHAPES, ids=lambda one: one.name)
def test_every_shape_is_complete_by_its_own_framing(scenario: object) -> None:
    steps = list(scenario.script(asked(STREAMED, size="1000")))
    raw = b"".join(step.piece for step in steps if isinstance(step, Send))
    while raw.startswith(b"HTTP/1.1 1"):
        raw = raw.partition(b"\r\n\r\n")[2]
    assert Heard(raw, reset=False).whole
