import gzip
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core.events import (
    Event,
    FileRead,
    RequestChunkReceived,
    RequestEnded,
    TimerFired,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamHeadReceived,
)
from loom_core.position import WITNESS
from loom_core.values import ExchangeKey, TranscriptKey
from loom_shell.replay.deltas import texts
from loom_shell.replay.escapes import DEPTHS, depths
from loom_shell.replay.happened import Happened
from loom_shell.replay.holding import HELD_BYTES, HELD_SECONDS, Holding
from loom_shell.replay.recoding import done, undone
from loom_shell.replay.scrubbing import CARRIED, CARRIED_OF_STREAM, Scrubber
from tests.support import planted
from tests.support.samples import asked

ONE, OTHER, FILE = ExchangeKey("one"), ExchangeKey("other"), TranscriptKey("/t/x.jsonl")
KEY = b"sk-ant-api03-AAAAbbbbCCCCdddd"


def holding(*events: Event, at: float = 0.0) -> Holding:
    found = Holding(Scrubber(b"k" * 32))
    for event in events:
        found.add(Happened(ONE, event, at))
    return found


def names(found: Holding, now: float = 0.0) -> list[str]:
    return [type(one.what).__name__ for one in found.ready(now)]


def test_what_comes_behind_a_chunk_waits_with_it_until_the_body_is_whole() -> None:
    found = holding(asked(), RequestChunkReceived(1, b"{"))
    found.add(Happened(OTHER, TimerFired(1, "t")))
    assert names(found) == []
    found.add(Happened(ONE, RequestEnded(1)))
    assert names(found) == ["RequestReceived", "RequestChunkReceived", "TimerFired", "RequestEnded"]


@pytest.mark.spec("journal.held")
def test_nothing_waits_longer_than_ten_seconds() -> None:
    found = holding(UpstreamHeadReceived(1, 200, ()), UpstreamChunkReceived(1, b"x"), at=5.0)
    assert names(found, 5.0 + HELD_SECONDS - 0.1) == ["UpstreamHeadReceived"]
    assert names(found, 5.0 + HELD_SECONDS) == ["UpstreamChunkReceived"]
    assert HELD_SECONDS == 10


@pytest.mark.spec("journal.held")
def test_nothing_waits_beside_too_much_else() -> None:
    found = holding(UpstreamChunkReceived(1, b"x" * (HELD_BYTES // 2)))
    assert names(found) == []
    found.add(Happened(OTHER, UpstreamChunkReceived(1, b"x" * (HELD_BYTES // 2 + 1))))
    assert names(found) == ["UpstreamChunkReceived"]


@pytest.mark.spec("journal.secrets")
@given(st.lists(st.integers(0, 60), max_size=5), st.booleans())
def test_a_secret_in_any_pieces_is_found_however_long_they_take(cuts: list[int], slow: bool) -> None:  # noqa: FBT001
    whole, found = b"data: so it is %b, said he\n\n" % KEY, Holding(Scrubber(b"k" * 32))
    places = [0, *sorted(cuts), len(whole)]
    clean = []
    for begin, end in pairwise(places):
        found.add(Happened(ONE, UpstreamChunkReceived(1, whole[begin:end])))
        clean += [one.clean or b"" for one in found.ready(HELD_SECONDS if slow else 0.0)]
    found.add(Happened(ONE, UpstreamEnded(1)))
    clean += [one.clean or b"" for one in found.ready(0.0)]
    told = b"".join(clean)
    assert len(told) == len(whole)
    assert b"AAAA" not in told
    assert told.startswith(b"data: so it is ")


def bodies(*happened: tuple[ExchangeKey | TranscriptKey, Event], now: float = 0.0) -> list[bytes]:
    found = Holding(Scrubber(b"k" * 32))
    for key, event in happened:
        found.add(Happened(key, event))
    return [one.clean for one in found.ready(now) if one.clean is not None]


@pytest.mark.spec("journal.secrets")
def test_a_credential_of_a_query_is_looked_for_in_the_body_that_comes_with_it() -> None:
    begins = asked()
    begins = evolve(begins, request=evolve(begins.request, target=b"/v1/messages?api_key=plain-words-7"))
    told = bodies((ONE, begins), (ONE, RequestChunkReceived(1, b"so plain-words-7")), (ONE, RequestEnded(1)))
    assert not any(b"plain" in it for it in told)


@pytest.mark.hypothesis
@pytest.mark.spec("journal.secrets", "journal.encoded")
@given(
    st.data(),
    planted.said(),
    st.integers(1, 3),
    st.lists(st.sampled_from(["gzip", "deflate", "br", "zstd"]), max_size=2).map(tuple),
    st.sampled_from(["up", "down"]),
)
def test_a_secret_in_any_coding_and_any_pieces_goes_and_the_events_stay(
    how: st.DataObject, said: tuple[str, str], depth: int, codings: tuple[str, ...], way: str
) -> None:
    secret, text = said
    body = done(codings, how.draw(planted.nested(text, depth)).encode("utf-8", "surrogatepass"))
    chunks = how.draw(planted.pieces(body))
    headers = ((b"content-encoding", ", ".join(codings).encode()),)
    begins, chunk, ends = (
        (asked(headers=headers), RequestChunkReceived, RequestEnded(1))
        if way == "up"
        else (UpstreamHeadReceived(1, 200, headers), UpstreamChunkReceived, UpstreamEnded(1))
    )
    clean = bodies(*((ONE, it) for it in (begins, *(chunk(1, it) for it in chunks), ends)))[way == "up" :]
    assert len(clean) == len(chunks)
    if not codings:
        assert [len(it) for it in clean] == [len(it) for it in chunks]
    told = undone(codings, b"".join(clean))
    assert told is not None
    assert not planted.shows(secret, planted.read(told[0].decode(), depth))


@pytest.mark.hypothesis
@pytest.mark.spec("journal.secrets")
@given(st.data(), planted.said(), st.sampled_from(["deltas", "body"]))
def test_a_secret_in_escapes_and_pieces_goes_however_long_they_take(
    how: st.DataObject, said: tuple[str, str], form: str
) -> None:
    secret, text = said
    depth = how.draw(st.integers(0, DEPTHS - (form == "deltas")))
    whole = how.draw(planted.nested(text, depth))
    body = how.draw(planted.streamed(whole)) if form == "deltas" else whole.encode("utf-8", "surrogatepass")
    found, clean = Holding(Scrubber(b"k" * 32)), b""
    for chunk in how.draw(planted.pieces(body)):
        found.add(Happened(ONE, UpstreamChunkReceived(1, chunk)))
        clean += b"".join(one.clean or b"" for one in found.ready(HELD_SECONDS))
    assert len(clean) == len(body)
    told = clean.decode("utf-8", "replace")
    assert not planted.shows(secret, told)
    assert not any(planted.shows(secret, it.text) for it in depths(told))
    if form == "deltas":
        told = b"".join(clean[begin:end] for begin, end in texts(clean)[b"1"]).decode("utf-8", "replace")
        assert not any(planted.shows(secret, it) for it in (told, *(it.text for it in depths(told))))


@pytest.mark.spec("journal.encoded")
def test_of_a_compressed_body_that_waited_too_long_nothing_is_kept() -> None:
    body, found = gzip.compress(b"tea" * 50), Holding(Scrubber(b"k" * 32))
    found.add(Happened(ONE, UpstreamHeadReceived(1, 200, ((b"content-encoding", b"gzip"),))))
    found.add(Happened(ONE, UpstreamChunkReceived(1, body[:20])))
    clean = [one.clean for one in found.ready(HELD_SECONDS)]
    found.add(Happened(ONE, UpstreamChunkReceived(1, body[20:])))
    found.add(Happened(ONE, UpstreamEnded(1)))
    clean += [one.clean for one in found.ready(0.0)]
    assert [it for it in clean if it] == [bytes(20), bytes(len(body) - 20)]


@pytest.mark.spec("journal.secrets")
@pytest.mark.parametrize("secret", [planted.PRIVATE, KEY.decode()])
def test_a_secret_of_a_transcript_is_found_though_two_reads_share_it(secret: str) -> None:
    line = json.dumps({"uuid": "u-1", "text": f"{'tea ' * 99}{secret}"}).encode() + b"\n"
    for cut in range(300, len(line), 7):
        again = max(0, cut - WITNESS)
        reads = [(0, line[:cut]), (again, line[again:])]
        first, second = bodies(
            *((FILE, FileRead(1, "1", at, it, len(line), is_current=True)) for at, it in reads)
        )
        assert second.startswith(first[again:])
        assert not planted.shows(secret, json.loads(first[:again] + second)["text"])


def long_key(size: int) -> tuple[list[str], str]:
    """Its lines, of so many bytes together, and all of it."""
    lines = [f"{number:08}".translate(LETTERS) * 8 for number in range(size // 64)]
    return lines, "\n".join([planted.PRIVATE.partition("\n")[0], *lines, planted.PRIVATE.rpartition("\n")[2]])


LETTERS = str.maketrans("0123456789", "AbCdEfGhIj")


@pytest.mark.spec("journal.secrets")
@pytest.mark.parametrize("cut", [500, CARRIED - 50, CARRIED + 50, CARRIED + WITNESS + 70, CARRIED + 4_000])
@pytest.mark.parametrize("before", ["", '{"a":1}\n', f'["{"tea " * 99}"]\n'])
def test_a_private_key_of_a_transcript_goes_to_its_end_however_long_it_is(cut: int, before: str) -> None:
    lines, key = long_key(CARRIED * 3)
    line = before.encode() + json.dumps({"text": f"so {key} it is", "b": "tea"}).encode() + b"\n"
    places = [0, *range(cut, len(line), cut), len(line)]
    reads = [(max(0, at - WITNESS), end) for at, end in pairwise(places)]
    clean = bodies(
        *((FILE, FileRead(1, "1", at, line[at:end], len(line), is_current=True)) for at, end in reads)
    )
    whole = clean[0] + b"".join(it[WITNESS:] for it in clean[1:])
    assert not any(it in whole.decode() for it in lines)
    assert whole.startswith(before.encode() + b'{"text": "so [redacted')
    assert json.loads(whole.splitlines()[-1])["b"] == "tea"
    assert whole.endswith(b' it is", "b": "tea"}\n')


@pytest.mark.spec("journal.secrets")
@pytest.mark.parametrize("cut", range(90, 700, 7))
def test_a_private_key_in_an_array_of_its_lines_goes_wherever_it_is_cut(cut: int) -> None:
    lines, key = long_key(600)
    body = json.dumps({"a": key.split("\n")})
    found, clean = Holding(Scrubber(b"k" * 32)), b""
    for part in (body[:cut], body[cut:]):
        found.add(Happened(ONE, UpstreamChunkReceived(1, part.encode())))
        clean += b"".join(one.clean or b"" for one in found.ready(HELD_SECONDS))
    assert not any(it[at : at + 8] in clean.decode() for it in lines for at in range(0, 64, 8))


@pytest.mark.spec("journal.secrets")
@pytest.mark.parametrize("form", ["json", "deltas", "source"])
def test_a_private_key_of_a_body_goes_to_its_end_however_long_it_takes(form: str) -> None:
    lines, key = long_key(CARRIED_OF_STREAM + 9_000)
    body = json.dumps({"text": f"so {key} it is", "b": "tea"}).encode()
    if form == "source":
        body = b"\n".join(b'write("%b")' % it.encode() for it in key.split("\n")) + b" it is"
    if form == "deltas":
        frame = b'data: {"type":"content_block_delta","index":%d,"delta":{"text":"%b"}}\n\n'
        said = [
            body[at : at + 999].replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            for at in range(0, len(body), 999)
        ]
        body = b"".join(frame % (1, it) + frame % (0, b"tea") for it in said)
    late = CARRIED_OF_STREAM + 5_000
    quote = body.rfind(b'"', late - 2_000, late) + 1 or late
    found, clean = Holding(Scrubber(b"k" * 32)), b""
    for begin, end in pairwise((0, 2_000, quote, quote + 7, len(body) - 50, len(body))):
        found.add(Happened(ONE, UpstreamChunkReceived(1, body[begin:end])))
        clean += b"".join(one.clean or b"" for one in found.ready(HELD_SECONDS))
    assert len(clean) == len(body)
    assert not any(it in clean.decode() for it in lines)
    assert clean.count(b" it is") == 1
    assert clean.count(b'"tea"') == body.count(b'"tea"')


def test_what_is_read_of_another_file_has_nothing_before_it() -> None:
    reads = [FileRead(1, file, 0, b"KEY=abcdefgh", 12, is_current=True) for file in "1223"]
    reads[2] = evolve(reads[2], offset=40)
    assert bodies(*((FILE, it) for it in reads)) == bodies((FILE, reads[0])) * 4
