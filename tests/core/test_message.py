import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core import message
from loom_core.message import Block, Seen, from_json, told
from loom_core.sse import Frame

USAGE = {
    "input_tokens": 3,
    "cache_read_input_tokens": 40,
    "cache_creation_input_tokens": 5,
    "output_tokens": 1,
}
MESSAGE: dict[str, Any] = {"type": "message", "id": "msg_1", "model": "claude-opus-4-6", "usage": USAGE}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
words = st.sampled_from(
    ["type", "index", "delta", "content_block", "message", "usage", "error", "text", "id", "input_tokens"]
)
kinds = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop", "error"]
)
values = st.recursive(
    scalars | kinds, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4)
)


def frame(kind: str, **fields: object) -> Frame:
    return Frame(kind.encode(), msgspec.json.encode({"type": kind, **fields}))


def start(index: int, **block: object) -> Frame:
    return frame("content_block_start", index=index, content_block=block)


def delta(index: int, **fields: object) -> Frame:
    return frame("content_block_delta", index=index, delta=fields)


def read(*frames: Frame, skipped: int = 0) -> Seen:
    return told(Seen(), frames, skipped)


@pytest.mark.spec("observer.message", "observer.usage")
def test_a_stream_tells_the_message_its_figures_and_its_end() -> None:
    begun = read(frame("message_start", message=MESSAGE))
    assert begun == Seen(
        message_id="msg_1",
        model="claude-opus-4-6",
        input_tokens=3,
        output_tokens=1,
        cache_read=40,
        cache_creation=5,
        frames=1,
    )
    stop = frame("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 12})
    ended = told(begun, (stop, frame("message_stop")), 0)
    assert (ended.stop_reason, ended.output_tokens, ended.frames) == ("end_turn", 12, 3)
    assert (begun.complete, ended.complete) == (False, True)


@pytest.mark.spec("observer.usage")
def test_the_last_figure_wins_and_one_left_out_keeps_the_one_before() -> None:
    def usage(**figures: object) -> Frame:
        return frame("message_delta", delta={}, usage=figures)

    seen = read(
        frame("message_start", message=MESSAGE),
        usage(output_tokens=10),
        usage(output_tokens=25, cache_read_input_tokens=0),
        frame("message_delta", delta={"stop_reason": None}),
        usage(output_tokens=None, input_tokens="7", cache_creation_input_tokens=-1),
    )
    figures = (seen.input_tokens, seen.output_tokens, seen.cache_read, seen.cache_creation)
    assert figures == (3, 25, 0, 5)


@pytest.mark.spec("observer.usage")
def test_each_figure_is_read_from_its_own_name() -> None:
    later = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 4,
    }
    seen = read(frame("message_start", message=MESSAGE), frame("message_delta", delta={}, usage=later))
    assert (seen.input_tokens, seen.output_tokens, seen.cache_read, seen.cache_creation) == (1, 2, 3, 4)


@pytest.mark.spec("observer.message")
def test_a_stop_reason_left_out_keeps_the_one_before() -> None:
    stop = frame("message_delta", delta={"stop_reason": "tool_use"})
    assert read(stop, frame("message_delta", delta={})).stop_reason == "tool_use"


@pytest.mark.spec("observer.blocks")
def test_text_thinking_and_tool_input_are_put_together() -> None:
    seen = read(
        start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="So "),
        delta(0, type="thinking_delta", thinking="so."),
        delta(0, type="signature_delta", signature="sig"),
        delta(0, type="signature_delta", signature="ned"),
        frame("content_block_stop", index=0),
        start(1, type="text", text="Hel"),
        delta(1, type="text_delta", text="lo"),
        start(2, type="tool_use", id="toolu_1", name="Bash", input={}),
        delta(2, type="input_json_delta", partial_json='{"comm'),
        delta(2, type="input_json_delta", partial_json='and":"ls"}'),
    )
    assert seen.blocks == (
        Block("thinking", "So so.", signature="signed"),
        Block("text", "Hello"),
        Block("tool_use", '{"command":"ls"}', id="toolu_1", name="Bash"),
    )
    assert seen.odd == 0


@pytest.mark.spec("observer.blocks")
def test_blocks_told_in_parallel_are_kept_apart_also_over_two_folds() -> None:
    first = (start(0, type="tool_use", id="a"), start(1, type="tool_use", id="b"))
    more = (delta(1, partial_json="{1"), delta(0, partial_json="{0"), delta(1, partial_json="}"))
    seen = told(told(Seen(), first + more, 0), (delta(0, partial_json="}"),), 0)
    assert [(block.id, block.text) for block in seen.blocks] == [("a", "{0}"), ("b", "{1}")]


@pytest.mark.spec("observer.blocks")
def test_a_block_that_starts_whole_is_kept_whole() -> None:
    seen = read(
        start(0, type="thinking", thinking="So.", signature="signed"),
        start(1, type="tool_use", input={"a": 1}),
    )
    assert seen.blocks == (Block("thinking", "So.", signature="signed"), Block("tool_use", '{"a":1}'))


@pytest.mark.spec("observer.error")
def test_an_error_inside_a_200_is_read() -> None:
    seen = read(frame("error", error={"type": "overloaded_error", "message": "Overloaded"}))
    assert (seen.error, seen.complete, seen.odd) == ("overloaded_error", False, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"[DONE]",
        b"",
        b"{",
        b'{"type": "text", "a": "\xff"}',
        b'"\xff"',
        b'{"type": "message_start", "message": {"id": "\\ud800"}}',
        b"9" * 5_000,
        b"[" * 100_000,
        b"null",
        b"[]",
        b"{}",
        b'{"type": "unheard_of"}',
        b'{"type": "message_start"}',
        b'{"type": "content_block_start", "content_block": []}',
        b'{"type": "content_block_delta", "index": "0", "delta": {}}',
        b'{"type": "message_delta", "delta": null}',
        b'{"type": "error", "error": "overloaded"}',
    ],
    ids=lambda data: data[:50].decode("latin-1"),
)
@pytest.mark.parametrize("name", [b"", b"message_start", b"content_block_delta", b"error"])
@pytest.mark.spec("observer.odd", "observer.no-raise")
def test_what_cannot_be_understood_is_counted_odd_and_changes_nothing_else(name: bytes, data: bytes) -> None:
    before = read(frame("message_start", message=MESSAGE), start(0, type="text", text="a"))
    after = told(before, (Frame(name, data), delta(0, text="b")), 0)
    assert (after.odd, after.frames) == (1, 4)
    assert after.blocks == (Block("text", "ab"),)
    assert after.message_id == "msg_1"


@pytest.mark.parametrize("index", [1, -1, 10**12])
@pytest.mark.spec("observer.odd")
def test_a_delta_of_a_block_that_never_started_is_odd(index: int) -> None:
    seen = read(start(0, type="text"), delta(index, text="x"))
    assert (seen.odd, seen.blocks) == (1, (Block("text"),))


@pytest.mark.spec("observer.odd", "observer.oversize")
def test_frames_the_reader_skipped_are_counted_odd() -> None:
    assert told(Seen(odd=1, frames=5), (), 2) == Seen(odd=3, frames=5)


@pytest.mark.parametrize("name", [b"ping", b"vertex_event", b"message_begin"])
@pytest.mark.spec("observer.unknown")
def test_unknown_frames_and_pings_are_counted_and_not_read(name: bytes) -> None:
    assert read(Frame(name, b"{broken"), Frame(name, b'{"type": "message_stop"}')) == Seen(frames=2)


@pytest.mark.spec("observer.unknown")
def test_a_frame_without_a_name_is_read_by_its_type() -> None:
    unnamed = [Frame(b"", frame(kind).data) for kind in ("ping", "content_block_stop", "message_stop")]
    assert read(*unnamed) == Seen(frames=3, complete=True)


@pytest.mark.spec("observer.unknown")
def test_an_unknown_delta_changes_nothing() -> None:
    seen = read(start(0, type="text"), delta(0, type="citations_delta", citation={"a": 1}))
    assert (seen.odd, seen.blocks) == (0, (Block("text"),))


@pytest.mark.spec("observer.text-bound")
def test_content_beyond_the_bound_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message, "MAX_TEXT", 10)
    started = read(start(0, type="text", text="12345"), start(1, type="thinking"), delta(0, text="67"))
    assert not started.cut
    full = told(started, (delta(1, type="signature_delta", signature="89"), delta(0, text="01")), 0)
    assert full.blocks == (Block("text", "12345670"), Block("thinking", signature="89"))
    assert full.cut
    exactly = told(started, (delta(1, thinking="890"),), 0)
    assert (exactly.blocks[1].text, exactly.cut) == ("890", False)
    over = told(full, (delta(0, text="more"), delta(1, type="signature_delta", signature="more")), 0)
    assert (over.blocks, over.cut) == (full.blocks, True)


@pytest.mark.spec("observer.text-bound")
def test_that_something_was_cut_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message, "MAX_TEXT", 1)
    seen = told(read(start(0, type="text", text="12")), (frame("message_stop"),), 0)
    assert seen.cut
    assert read(start(0, type="text", text="12"), start(1, type="text")).cut


@pytest.mark.spec("observer.blocks-bound")
def test_blocks_beyond_the_bound_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message, "MAX_BLOCKS", 2)
    two = read(start(0, type="text", text="0"), start(1, type="text", text="1"))
    assert not two.cut
    three = told(two, (start(2, type="text", text="2"),), 0)
    assert (three.blocks, three.cut) == (two.blocks, True)
    whole = [{"type": "text", "text": str(number)} for number in range(3)]
    assert from_json(msgspec.json.encode({**MESSAGE, "content": whole})).blocks == two.blocks
    assert from_json(msgspec.json.encode({**MESSAGE, "content": whole})).cut
    assert not from_json(msgspec.json.encode({**MESSAGE, "content": whole[:2]})).cut


@pytest.mark.spec("observer.names-bound")
def test_names_are_kept_up_to_their_bound() -> None:
    long = "x" * 300
    kept = "x" * 256
    named = {"id": long, "model": long}
    seen = read(
        frame("message_start", message=named),
        start(0, type=long, id=long, name=long),
        frame("message_delta", delta={"stop_reason": long}),
        frame("error", error={"type": long}),
    )
    assert seen == Seen(kept, kept, kept, blocks=(Block(kept, id=kept, name=kept),), error=kept, frames=4)
    assert from_json(msgspec.json.encode({"type": "error", "error": {"type": long}})).error == kept


@pytest.mark.spec("observer.json")
def test_a_json_message_is_read_as_its_stream_would_be() -> None:
    content = [
        {"type": "thinking", "thinking": "So.", "signature": "signed"},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
        {"type": "tool_use", "id": "toolu_2", "name": "Now", "input": {}},
    ]
    whole = msgspec.json.encode({**MESSAGE, "content": content, "stop_reason": "tool_use"})
    seen = from_json(whole)
    assert seen == Seen(
        message_id="msg_1",
        model="claude-opus-4-6",
        stop_reason="tool_use",
        input_tokens=3,
        output_tokens=1,
        cache_read=40,
        cache_creation=5,
        blocks=(
            Block("thinking", "So.", signature="signed"),
            Block("text", "Hello"),
            Block("tool_use", '{"command":"ls"}', id="toolu_1", name="Bash"),
            Block("tool_use", id="toolu_2", name="Now"),
        ),
        complete=True,
    )
    streamed = read(frame("message_start", message=MESSAGE), *(start(i, **b) for i, b in enumerate(content)))
    assert streamed.blocks == seen.blocks


@pytest.mark.spec("observer.json")
def test_a_token_count_is_read() -> None:
    assert from_json(b'{"input_tokens": 2095}') == Seen(input_tokens=2095, complete=True)


@pytest.mark.spec("observer.json", "observer.error")
def test_a_json_error_is_read() -> None:
    body = b'{"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}}'
    assert from_json(body) == Seen(error="rate_limit_error")


@pytest.mark.parametrize("body", [b"{}", b"[]", b'"text"', b'{"data": [], "has_more": false}'])
@pytest.mark.spec("observer.json")
def test_other_json_is_complete_and_says_nothing(body: bytes) -> None:
    assert from_json(body) == Seen(complete=True)


@pytest.mark.parametrize("body", [b"", b"{", b'"\xff"', b"[" * 100_000, b"9" * 5_000, b"<html>"])
@pytest.mark.spec("observer.odd", "observer.no-raise")
def test_a_body_that_is_no_json_is_odd(body: bytes) -> None:
    assert from_json(body) == Seen(odd=1)


@pytest.mark.spec("observer.kinds")
def test_values_of_the_wrong_kind_are_absent() -> None:
    odd = {"type": "message", "id": 7, "model": None, "stop_reason": [], "usage": {"input_tokens": True}}
    assert from_json(msgspec.json.encode(odd)) == Seen(complete=True)
    assert from_json(b'{"input_tokens": true}') == Seen(complete=True)
    assert from_json(b'{"input_tokens": -1}') == Seen(complete=True)
    mixed = [None, "text", {"type": 1, "text": 2, "input": 3, "id": 4, "name": 5, "signature": 6}]
    assert from_json(msgspec.json.encode({"type": "message", "content": mixed})).blocks == (Block(""),) * 3
    assert from_json(b'{"type": "message", "content": "text"}').blocks == ()
    both = b'{"type": "message", "content": [{"text": "said", "input": {"not": "said"}}]}'
    assert from_json(both).blocks == (Block("", "said"),)


@pytest.mark.spec("observer.text-bound")
def test_json_content_beyond_the_bound_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message, "MAX_TEXT", 6)

    def cut(*content: object) -> tuple[list[str], bool]:
        seen = from_json(msgspec.json.encode({**MESSAGE, "content": content}))
        return [block.text + "|" + block.signature for block in seen.blocks], seen.cut

    assert cut({"thinking": "1234", "signature": "56"}) == (["1234|56"], False)
    assert cut({"thinking": "1234", "signature": "567"}) == (["1234|56"], True)
    assert cut({"thinking": "12", "signature": "34"}, {"text": "567"}) == (["12|34", "56|"], True)
    assert cut({"text": "1234567"}, {"text": "8"}, {}) == (["123456|", "|", "|"], True)


@given(st.lists(st.tuples(kinds | st.just(""), values)), st.integers(0, 3))
@pytest.mark.spec("observer.no-raise", "exchange.total")
def test_frames_of_any_json_are_read_or_counted(pairs: list[tuple[str, object]], skipped: int) -> None:
    frames = tuple(Frame(name.encode(), encoded(value)) for name, value in pairs)
    seen = told(Seen(), frames, skipped)
    assert seen.frames == len(frames)
    assert skipped <= seen.odd <= skipped + len(frames)
    for _, value in pairs:
        from_json(encoded(value))


@given(st.lists(st.tuples(kinds, values)))
@pytest.mark.spec("observer.split", "exchange.split")
def test_frames_told_one_by_one_say_the_same_as_told_at_once(pairs: list[tuple[str, object]]) -> None:
    parts = (start(0, type="text"), *(Frame(name.encode(), encoded(value)) for name, value in pairs))
    parts = (*parts, delta(0, text="a"), delta(0, text="b"))
    seen = Seen()
    for part in parts:
        seen = told(seen, (part,), 0)
    assert seen == told(Seen(), parts, 0)


@pytest.mark.spec("observer.no-raise")
def test_json_as_deep_as_can_be_decoded_is_read() -> None:
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit() + 5):
        nested = b'{"a":' * depth + b"1" + b"}" * depth
        block = b'{"type":"tool_use","input":' + nested + b"}"
        from_json(b'{"type":"message","content":[' + block + b"]}")
        told(Seen(), (Frame(b"", b'{"type":"content_block_start","content_block":' + block + b"}"),), 0)


def encoded(value: object) -> bytes:
    """JSON of any value; what JSON has no form for goes as its text."""
    try:
        return msgspec.json.encode(value)
    except (ValueError, OverflowError):
        return repr(value).encode("utf-8", "replace")
