import gzip
from itertools import pairwise

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core import observer
from loom_core.encoding import MAX_DECODED
from loom_core.events import UpstreamHeadReceived
from loom_core.message import Block, Seen
from loom_core.observer import FOLD_AT, Observed, Stream, Unobserved, Whole, add, conclude, due, fold, observe
from loom_core.outgoing import Taken
from loom_core.rules import Rules, Tracing
from loom_core.sse import Frame, Reader
from loom_core.telling import answered
from loom_core.values import Headers
from loom_core.woven import WovenIn
from tests.support import samples

STREAM = (
    'event: message_start\r\ndata: {"type":"message_start","message":{"id":"msg_1","model":"m",'
    '"usage":{"input_tokens":3,"output_tokens":1}}}\r\n\r\n'
    ": a comment\n\n"
    'event: ping\ndata: {"type":"ping"}\n\n'
    'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    '"content_block":{"type":"text","text":""}}\n\n'
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    '"delta":{"type":"text_delta","text":"Grüße – 😀"}}\n\n'
    "data: [DONE]\n\n"
    'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    '"usage":{"output_tokens":9}}\n\n'
    'event: message_stop\ndata: {"type":"message_stop"}\n\n'
).encode()
SEEN = Seen(
    message_id="msg_1",
    model="m",
    stop_reason="end_turn",
    input_tokens=3,
    output_tokens=9,
    blocks=(Block("text", "Grüße – 😀"),),
    frames=7,
    odd=1,
    complete=True,
)
JSON = b'{"type": "error", "error": {"type": "not_found_error"}}'


def head(kind: bytes, *codings: bytes) -> Headers:
    return ((b"Content-Type", kind), *((b"Content-Encoding", coding) for coding in codings))


def seen_of(observed: Observed, *chunks: bytes, folding: bool = True) -> Seen | None:
    for chunk in chunks:
        observed = add(observed, chunk)
        if folding and due(observed):
            observed = fold(observed)
    return conclude(observed)


@pytest.mark.spec("observer.which")
def test_streams_and_json_are_chosen_by_their_type_in_any_spelling() -> None:
    assert observe(200, head(b"text/event-stream")) == Stream()
    assert observe(200, head(b" Text/Event-Stream ; charset=utf-8")) == Stream()
    assert observe(529, head(b"application/json")) == Whole((), is_stream=False)
    assert observe(200, head(b"Application/JSON;charset=utf-8")) == Whole((), is_stream=False)


@pytest.mark.parametrize("kind", [b"", b"text/html", b"application/jsonl", b"application/octet-stream"])
@pytest.mark.spec("observer.which")
def test_other_answers_are_not_observed(kind: bytes) -> None:
    assert observe(200, head(kind)) == Unobserved()
    assert observe(200, ()) == Unobserved()
    assert seen_of(Unobserved(), JSON) is None
    assert not due(Unobserved())


@pytest.mark.spec("observer.which", "observer.codings")
def test_an_encoded_stream_is_read_at_its_end() -> None:
    assert observe(200, head(b"text/event-stream", b"GZIP", b"br")) == Whole(("gzip", "br"), is_stream=True)
    assert observe(200, head(b"application/json", b"zstd")) == Whole(("zstd",), is_stream=False)


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.spec("observer.no-body")
def test_a_status_without_a_body_is_not_observed(status: int) -> None:
    assert observe(status, head(b"application/json")) == Unobserved()


@pytest.mark.spec("observer.no-body")
def test_the_answer_to_head_has_said_nothing() -> None:
    assert conclude(observe(200, head(b"application/json"))) is None
    assert conclude(observe(200, head(b"application/json", b"gzip"))) is None
    assert conclude(observe(200, head(b"text/event-stream"))) == Seen()


@pytest.mark.spec("observer.message", "observer.odd", "observer.unknown", "observer.comments")
def test_a_stream_is_read_to_its_end() -> None:
    assert seen_of(Stream(), STREAM) == SEEN


@pytest.mark.spec("observer.split", "observer.odd", "exchange.split")
def test_a_stream_is_read_the_same_byte_by_byte() -> None:
    single = [STREAM[at : at + 1] for at in range(len(STREAM))]
    assert seen_of(Stream(), *single) == SEEN
    folded: Observed = Stream()
    for byte in single:
        folded = fold(add(folded, byte))
    assert conclude(folded) == SEEN


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.lists(st.booleans(), min_size=13, max_size=13))
@pytest.mark.spec("observer.split", "exchange.split")
def test_any_split_and_any_time_of_reading_say_the_same(cuts: list[int], folds: list[bool]) -> None:
    edges = sorted({0, len(STREAM), *cuts})
    observed: Observed = Stream()
    for (begin, end), now in zip(pairwise(edges), folds, strict=False):
        observed = add(observed, STREAM[begin:end])
        observed = fold(observed) if now else observed
    assert conclude(observed) == SEEN


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
@pytest.mark.spec("observer.figures")
def test_the_figures_are_the_same_whether_or_not_the_text_is_read(cuts: list[int]) -> None:
    parts = (STREAM[begin:end] for begin, end in pairwise(sorted({0, len(STREAM), *cuts})))
    seen = seen_of(observe(200, head(b"text/event-stream"), has_text=False), *parts)
    assert seen == evolve(SEEN, blocks=(Block("text"),))
    squeezed = gzip.compress(STREAM)
    assert seen_of(observe(200, head(b"text/event-stream", b"gzip"), has_text=False), squeezed) == seen
    json = b'{"type":"message","content":[{"type":"text","text":"Yes."}],"usage":{"input_tokens":2}}'
    whole_json = seen_of(observe(200, head(b"application/json")), json)
    assert whole_json is not None
    alone = seen_of(observe(200, head(b"application/json"), has_text=False), json)
    assert alone == evolve(whole_json, blocks=()) != whole_json


@pytest.mark.parametrize(
    ("tracing", "woven"),
    [
        (Tracing(tells=True), None),
        (Tracing(is_recorded=True), None),
        (Tracing(), WovenIn("ann", 1, 2)),
        (Tracing(), None),
    ],
)
@pytest.mark.spec("observer.figures")
def test_what_was_said_is_read_for_spans_a_journal_and_the_check_of_a_summary(
    tracing: Tracing, woven: WovenIn | None
) -> None:
    taken = Taken(evolve(samples.asked(), rules=Rules(tracing=tracing)), b"{}", 2, woven=woven)
    _, looked = answered(taken, UpstreamHeadReceived(1, 200, head(b"text/event-stream")), 1, 1)
    seen = seen_of(looked, STREAM)
    assert seen is not None
    assert any(it.text for it in seen.blocks) == (tracing != Tracing() or woven is not None)


@pytest.mark.spec("observer.unfinished")
def test_a_frame_the_stream_broke_off_in_is_not_read() -> None:
    seen = seen_of(Stream(), STREAM[:-1])
    assert seen is not None
    assert (seen.complete, seen.frames, seen.odd) == (False, 6, 1)


@pytest.mark.spec("observer.batches")
def test_bytes_wait_until_enough_of_them_have_come() -> None:
    waiting = add(Stream(), b"x" * (FOLD_AT - 1))
    assert isinstance(waiting, Stream)
    assert not due(waiting)
    full = add(waiting, b"x")
    assert due(full)
    read = fold(full)
    assert isinstance(read, Stream)
    assert read.pending == b""
    assert not due(read)


@pytest.mark.spec("observer.batches")
def test_reading_with_nothing_waiting_changes_nothing() -> None:
    for observed in (Stream(), Whole((), is_stream=False), Unobserved()):
        assert fold(observed) is observed


@pytest.mark.spec("observer.oversize", "observer.batches")
def test_a_frame_of_ten_megabytes_is_skipped_and_what_is_kept_stays_small() -> None:
    observed: Observed = Stream()
    most = 0
    long = b"data: " + b"x" * 10_000_000 + b"\n\n"
    for at in range(0, len(long), 65_536):
        observed = fold(add(observed, long[at : at + 65_536]))
        assert isinstance(observed, Stream)
        most = max(most, len(observed.reader.rest))
    assert most < 2_200_000
    seen = seen_of(observed, STREAM)
    assert seen is not None
    assert (seen.odd, seen.complete) == (2, True)


@pytest.mark.spec("observer.oversize")
def test_frames_skipped_in_two_readings_are_counted_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer.sse, "MAX_FRAME", 8)
    observed: Observed = Stream()
    for _ in range(3):
        observed = fold(add(observed, b"data: too long\n\n"))
    assert conclude(observed) == Seen(odd=3)


@pytest.mark.parametrize(
    ("coding", "encoded"),
    [
        (b"gzip", gzip.compress(STREAM, mtime=0)),
        (b"br", brotli.compress(STREAM)),
        (b"zstd", zstandard.compress(STREAM)),
        (b"identity", STREAM),
    ],
)
@pytest.mark.spec("observer.codings")
def test_an_encoded_stream_says_the_same(coding: bytes, encoded: bytes) -> None:
    single = [encoded[at : at + 1] for at in range(len(encoded))]
    assert seen_of(observe(200, head(b"text/event-stream", coding)), *single) == SEEN


@pytest.mark.spec("observer.coding-cut")
def test_an_encoded_stream_that_broke_off_is_read_as_far_as_it_came() -> None:
    squeeze = gzip.compress(STREAM)[:-20]
    seen = seen_of(observe(200, head(b"text/event-stream", b"gzip")), squeeze)
    assert seen is not None
    assert (seen.message_id, seen.complete) == ("msg_1", False)


@pytest.mark.spec("observer.coding-unknown")
def test_what_cannot_be_decoded_is_odd() -> None:
    for coding in (b"gzip", b"snappy"):
        for kind in (b"text/event-stream", b"application/json"):
            assert seen_of(observe(200, head(kind, coding)), JSON) == Seen(odd=1)


@pytest.mark.spec("observer.bomb")
def test_a_bomb_is_read_up_to_the_limit() -> None:
    bomb = gzip.compress(STREAM + b"data: " + bytes(3 * MAX_DECODED) + b"\n\n" + STREAM, compresslevel=1)
    assert seen_of(observe(200, head(b"text/event-stream", b"gzip")), bomb) == SEEN


@pytest.mark.spec("observer.bomb-effort")
def test_frames_without_number_do_not_stand_in_memory_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once: list[int] = []
    feed = observer.sse.feed

    def watched(reader: Reader, data: bytes) -> tuple[Reader, tuple[Frame, ...]]:
        after, frames = feed(reader, data)
        at_once.append(len(frames))
        return after, frames

    monkeypatch.setattr(observer.sse, "feed", watched)
    bomb = gzip.compress(b"data\n\n" * 60_000)
    assert seen_of(observe(200, head(b"text/event-stream", b"gzip")), bomb) == Seen(frames=60_000, odd=60_000)
    assert max(at_once) < 50_000


@pytest.mark.spec("observer.json")
def test_a_json_answer_is_read_at_its_end() -> None:
    whole = observe(404, head(b"application/json"))
    assert seen_of(whole, JSON[:9], JSON[9:]) == Seen(error="not_found_error")
    assert not due(add(whole, b"x" * FOLD_AT))


@pytest.mark.spec("observer.too-large")
def test_an_answer_too_large_to_keep_is_dropped_and_odd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "MAX_KEPT", len(JSON))
    whole = add(observe(404, head(b"application/json")), JSON)
    assert conclude(whole) == Seen(error="not_found_error")
    dropped = add(whole, b" ")
    assert dropped == Unobserved(too_large=True)
    assert conclude(add(dropped, b" ")) == Seen(odd=1)


@given(
    st.sampled_from([b"text/event-stream", b"application/json", b"text/html"]),
    st.lists(st.sampled_from([b"gzip", b"br", b"zstd", b"deflate", b"\xff"]), max_size=2),
    st.lists(st.binary() | st.just(STREAM) | st.just(JSON), max_size=5),
)
@pytest.mark.spec("observer.no-raise", "exchange.total")
def test_any_answer_can_be_observed(kind: bytes, codings: list[bytes], chunks: list[bytes]) -> None:
    seen = seen_of(observe(200, head(kind, *codings)), *chunks)
    assert seen is None or isinstance(seen, Seen)
