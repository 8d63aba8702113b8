import json
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.block import CANARY
from loom_core.reading import Json
from loom_core.transcript_line import MAX_TEXT, TranscriptLine, Usage, counted, read

COMMON = {"sessionId": "s-1", "uuid": "u-1", "timestamp": "2026-11-20T10:00:00.000Z", "version": "2.1.329"}
USAGE = {
    "input_tokens": 3,
    "output_tokens": 40,
    "cache_read_input_tokens": 500,
    "cache_creation_input_tokens": 6000,
    "service_tier": "standard",
}


def line(kind: str, **fields: Json) -> bytes:
    return json.dumps({"type": kind, **COMMON, **fields}).encode()


def says(*content: Json, **message: Json) -> dict[str, Json]:
    return {
        "id": "m-1",
        "role": "assistant",
        "model": "opus",
        "content": list(content),
        "usage": USAGE,
        **message,
    }


def told(raw: bytes) -> dict[str, Json]:
    """What a line says, without what it does not say."""
    said = read(raw)
    common = {"session": "s-1", "id": "u-1", "at": COMMON["timestamp"], "raw": raw}
    found = {name: getattr(said, name) for name in TranscriptLine.__struct_fields__}
    empty = {name: getattr(TranscriptLine(), name) for name in TranscriptLine.__struct_fields__}
    return {name: value for name, value in found.items() if value != common.get(name, empty[name])}


CASES: dict[str, tuple[bytes, dict[str, Json]]] = {
    "a prompt": (
        line("user", message={"role": "user", "content": "Tea?"}),
        {"kind": "user", "role": "user", "content_types": ("text",), "text": "Tea?"},
    ),
    "an answer": (
        line("assistant", requestId="req_1", message=says({"type": "text", "text": "Yes."})),
        {
            "kind": "assistant",
            "role": "assistant",
            "content_types": ("text",),
            "text": "Yes.",
            "message_id": "m-1",
            "request_id": "req_1",
            "model": "opus",
            "usage": Usage(3, 40, 500, 6000),
        },
    ),
    "thinking, words and tools": (
        line(
            "assistant",
            message=says(
                {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                {"type": "text", "text": "One."},
                {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"text": "ls"}},
                {"type": "text", "text": "Two."},
                {"type": "server_tool_use", "id": "t2", "name": "web_search"},
                {"type": "tool_use", "id": "t3", "name": "Bash"},
                usage=None,
            ),
        ),
        {
            "kind": "assistant",
            "role": "assistant",
            "content_types": ("thinking", "text", "tool_use", "server_tool_use"),
            "text": "One.\n\nTwo.",
            "tools": ("Bash", "web_search"),
            "message_id": "m-1",
            "model": "opus",
        },
    ),
    "a result": (
        line(
            "user",
            toolUseResult={"stdout": "secret"},
            message={"role": "user", "content": [{"type": "tool_result", "content": "secret"}]},
        ),
        {"kind": "user", "role": "user", "content_types": ("tool_result",)},
    ),
    "of a subagent": (
        line("user", isSidechain=True, agentId="a-1", message={"role": "user", "content": "Go."}),
        {
            "kind": "user",
            "role": "user",
            "content_types": ("text",),
            "text": "Go.",
            "is_sidechain": True,
            "agent": "a-1",
        },
    ),
    "a boundary": (
        line("system", subtype="compact_boundary", content="Conversation compacted", compactMetadata={}),
        {"kind": "system", "is_boundary": True, "content_types": ("text",), "text": "Conversation compacted"},
    ),
    "another system line": (
        line("system", subtype="local_command", content=""),
        {"kind": "system", "content_types": ("text",)},
    ),
    "a compaction's summary": (
        line("user", isCompactSummary=True, message={"role": "user", "content": "We did."}),
        {
            "kind": "user",
            "role": "user",
            "content_types": ("text",),
            "text": "We did.",
            "is_summary": True,
        },
    ),
    "a summary": (
        b'{"type":"summary","summary":"Tea","leafUuid":"u-9"}',
        {"kind": "summary", "session": "", "id": "", "at": "", "content_types": ("text",), "text": "Tea"},
    ),
    "an attachment": (
        line("attachment", attachment={"type": "hook_additional_context", "content": ["x"]}),
        {"kind": "attachment"},
    ),
    "a mode": (line("mode", mode="plan"), {"kind": "mode"}),
    "a type of next year": (
        line("hologram", content=[{"type": "beam"}]),
        {"kind": "hologram", "content_types": ("beam",)},
    ),
    "flags that are none": (
        line("system", subtype=["compact_boundary"], isSidechain="true", isCompactSummary=1),
        {"kind": "system"},
    ),
    "blocks that are none": (
        line(
            "user", message={"role": "user", "content": ["words", 7, None, {"text": "?"}, {"type": "text"}]}
        ),
        {"kind": "user", "role": "user", "content_types": ("text",)},
    ),
    "nothing": (b"{}", {"session": "", "id": "", "at": ""}),
}
EACH_CASE = pytest.mark.parametrize(("raw", "said"), CASES.values(), ids=CASES)


@EACH_CASE
@pytest.mark.spec("transcripts.classified", "transcripts.unknown", "transcripts.words")
def test_a_line_says_what_it_is(raw: bytes, said: dict[str, Json]) -> None:
    assert told(raw) == said
    assert read(raw + b"\n") == read(raw)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "too long"),
        (b"   ", "not JSON"),
        (b'{"type":"user"', "not JSON"),
        (b'{"type":"user"}{}', "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"type":"us\xc3er"}', "not UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "not JSON"),
        (b"3", ""),
        (b'["user"]', ""),
        (b'{"type":"user","a":1e999,"type":"mode"}', ""),
        (rb'{"type":"user","message":{"content":"\ud83d"}}', ""),
    ],
)
@pytest.mark.spec("transcripts.problem", "transcripts.unknown")
def test_a_line_that_cannot_be_read_says_why(raw: bytes, problem: str) -> None:
    said = read(raw)
    assert said.problem == problem
    assert said.raw == raw.decode("utf-8", "replace").encode()


@pytest.mark.spec("transcripts.problem")
def test_of_bytes_that_are_no_text_the_rest_is_read() -> None:
    said = read(b'{"type":"user","uuid":"u-1","message":{"role":"user","content":"T\xe9a?"}}')
    assert (said.kind, said.id, said.role, said.text) == ("user", "u-1", "user", "T\ufffda?")


@pytest.mark.spec("transcripts.classified")
def test_half_a_pair_of_surrogates_hides_nothing() -> None:
    text = r"\ud83d\ude00 \ud83d \\ud83d"
    said = read(rb'{"type":"user","message":{"role":"user","content":"%b"}}' % text.encode())
    assert (said.role, said.text) == ("user", "😀 \ufffd \\ud83d")


@pytest.mark.parametrize("name", ["uuid", "sessionId", "agentId", "requestId", "type", "timestamp"])
@pytest.mark.parametrize(
    "value", [7, None, ["x"], {"a": 1}, "two words", "a\nb", "x" * 257, "\ud800", "\x9f"]
)
@pytest.mark.spec("transcripts.classified")
def test_a_name_that_is_none_reads_as_absent(name: str, value: Json) -> None:
    without = json.loads(line("user"))
    without.pop(name, None)
    assert told(json.dumps(without | {name: value}).encode()) == told(json.dumps(without).encode())


@pytest.mark.spec("transcripts.bounded")
def test_words_and_names_are_bounded() -> None:
    content = [
        {"type": "text", "text": "x" * MAX_TEXT},
        *({"type": f"type-{number}"} for number in range(1_000)),
        *({"type": "tool_use", "name": f"tool-{number}"} for number in range(1_000)),
        {"type": "text", "text": "y"},
    ]
    said = read(line("assistant", message=says(*content)))
    assert said.text == "x" * MAX_TEXT
    assert len(said.content_types) == len(said.tools) == 64
    assert len(read(line("user", message={"content": "z" * 2 * MAX_TEXT})).text) == MAX_TEXT


@pytest.mark.spec("transcripts.metadata", "transcripts.canary")
def test_neither_words_nor_the_line_hold_a_metadata_block() -> None:
    canary = CANARY.decode()
    block = (
        f'UserPromptSubmit hook additional context: {canary} {{"canary":"{canary}","prompt":"p"}} {canary}'
    )
    said = read(line("user", message={"role": "user", "content": f"Tea?\n\n{block}"}))
    assert said == read(line("user", message={"role": "user", "content": "Tea?"}))
    assert read(f"{block[:80]} no JSON".encode()).raw == b"[loom metadata]"


# ------------------------------------------------------------------ usage


@pytest.mark.spec("transcripts.usage")
def test_the_usage_of_a_response_is_counted_once() -> None:
    lines = [
        line("assistant", message=says({"type": "thinking"}, usage=USAGE | {"output_tokens": 1})),
        line("assistant", message=says({"type": "text", "text": "Yes."})),
        line("assistant", message=says({"type": "tool_use", "name": "Bash"})),
        line("assistant", message=says(id="m-2", usage={"input_tokens": 7})),
        line("assistant", message=says(id="", usage={"input_tokens": 9})),
        line("user", message={"role": "user", "content": "Tea?"}),
    ]
    used = {"m-1": Usage(3, 40, 500, 6000), "m-2": Usage(7)}
    for order in permutations(map(read, lines)):
        assert counted(order) == used
        assert counted([*order, *order]) == used


@pytest.mark.parametrize("usage", [None, 7, [], {}, "x"])
@pytest.mark.spec("transcripts.usage")
def test_a_usage_that_is_none_is_not_counted(usage: Json) -> None:
    assert counted([read(line("assistant", message=says(usage=usage)))]) == {}


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", None, [1]])
@pytest.mark.spec("transcripts.usage")
def test_a_count_that_is_none_counts_nothing(count: Json) -> None:
    said = read(line("assistant", message=says(usage={"input_tokens": count, "output_tokens": 2})))
    assert said.usage == Usage(output_tokens=2)


# ------------------------------------------------------------------ anything

NAMES = ["type", "uuid", "sessionId", "message", "role", "content", "id", "usage", "name", "text", "summary"]
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=6) | st.just(CANARY.decode()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
        )
    ),
    max_leaves=12,
)
raws = st.binary(max_size=40) | json_values.map(json.dumps).map(str.encode)


@given(raws, st.integers(0, 30))
@pytest.mark.spec("transcripts.total", "transcripts.canary")
def test_anything_is_a_line(raw: bytes, cut: int) -> None:
    for given_ in (raw, raw[:cut]):
        said = read(given_)
        assert isinstance(said, TranscriptLine)
        assert CANARY not in said.raw
        assert CANARY.decode() not in said.text
        assert said.raw.decode().encode() == said.raw
        assert CANARY in given_ or said.problem or said.raw == given_.removesuffix(b"\n")
