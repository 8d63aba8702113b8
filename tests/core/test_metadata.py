import json
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import asdict

from loom_core import block, jsontext, metadata, wire
from loom_core.block import CANARY
from loom_core.cutting import NOTHING, Found, find
from loom_core.metadata import Metadata

WORD = CANARY.decode()
LABEL = "UserPromptSubmit hook additional context: "
TRACE, ROOT, HOOK = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
SAID = {
    "canary": WORD,
    "session_id": "5f0c1d2e-0000-4000-8000-000000000001",
    "trace_id": TRACE,
    "traceparent": f"00-{TRACE}-{ROOT}-01",
    "prompt_id": "p-1",
    "hook_span_id": HOOK,
    "parent_span_id": "1234567890abcdef",
    "started_at": 1_700_000_000_000_000_000,
    "hook_started_at": 1_700_000_000_000_000_001,
    "hook_ended_at": 1_700_000_000_000_000_002,
    "sent_at": 1_700_000_000_000_000_003,
    "source": "laptop",
    "cwd": "/somewhere",
    "transcript_path": "/somewhere/x.jsonl",
    "machine": {"fqdn": "host.example", "ram": 17_179_869_184, "uptime": 3600.5, "disk_free": 5},
    "prompt": "say hi",
}
MARK = {"type": "ephemeral", "ttl": "1h"}


def ours(prompt: str = "say hi", **more: object) -> str:
    values = json.dumps({**SAID, "prompt": prompt, **more}, ensure_ascii=False, separators=(",", ":"))
    return f"{WORD} {values} {WORD}"


PLAIN = LABEL + ours()


def reminder(text: str) -> str:
    return f"<system-reminder>\n{text}\n</system-reminder>"


def text(words: str, marker: object = None) -> dict[str, Any]:
    made = {"type": "text", "text": words}
    return made if marker is None else {**made, "cache_control": marker}


def user(*content: object) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def system(*content: object) -> dict[str, Any]:
    return {**user(*content), "role": "system"}


def assistant(*content: object) -> dict[str, Any]:
    return {**user(*content), "role": "assistant"}


def request(*messages: object, **more: object) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages), **more}


def written(value: object, **style: object) -> bytes:
    how: dict[str, Any] = {"ensure_ascii": False, **style}
    return json.dumps(value, **how).encode("utf-8", "surrogatepass")


def cut(*messages: object) -> list[Any]:
    """The messages after cutting."""
    body = written(request(*messages))
    left: list[Any] = json.loads(wire.apply(body, find(body).edits))["messages"]
    return left


HI, YO = user("hi"), assistant("yo")
LAYOUTS: dict[str, tuple[list[Any], list[Any]]] = {
    "A, a string": ([HI, system(f"One.\n\n{PLAIN}\n\nTwo.")], [HI, system("One.\n\nTwo.")]),
    "A, a list": ([HI, system(text(f"{PLAIN}\n\nTwo.", MARK))], [HI, system(text("Two.", MARK))]),
    "A, alone": ([HI, system(PLAIN)], [HI]),
    "B, a string": (
        [HI, system(f"{reminder('One.')}\n\n{reminder(PLAIN)}")],
        [HI, system(reminder("One."))],
    ),
    "B, a list": (
        [HI, system(text(f"{reminder(PLAIN)}\n\n{reminder('Two.')}", MARK))],
        [HI, system(text(reminder("Two."), MARK))],
    ),
    "C": (
        [user(text(reminder("One.")), text(reminder(PLAIN)), text("hi", MARK))],
        [user(text(reminder("One.")), text("hi", MARK))],
    ),
    "C, a string": ([user(f"{reminder(PLAIN)}\nhi")], [user("hi")]),
    "1.0.128": (
        [user(text("hi"), text(f"<user-prompt-submit-hook>{ours()}</user-prompt-submit-hook>", MARK))],
        [user(text("hi", MARK))],
    ),
    "1.0.128, a string": (
        [user(f"hi\n<user-prompt-submit-hook>{ours()}</user-prompt-submit-hook>")],
        [user("hi")],
    ),
    "old form": ([HI, system(text(f"{LABEL}{WORD}\n" + json.dumps(SAID, indent=1)))], [HI]),
    "in every message": (
        [user(f"{PLAIN}\n\nhi"), system(PLAIN), YO, user(text(reminder(PLAIN)), text("so")), system(PLAIN)],
        [HI, YO, user(text("so"))],
    ),
    "in the first message alone": ([user(PLAIN), HI, YO], [HI, YO]),
    "twice in a message": (
        [user(text(PLAIN), text("a"), text(PLAIN), text("b"))],
        [user(text("a"), text("b"))],
    ),
    "all of a list": ([HI, user(text(PLAIN), text(reminder(PLAIN)))], [HI]),
}


@pytest.mark.parametrize(("before", "after"), LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("style", [{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": True}])
@pytest.mark.spec("metadata.forms", "metadata.old-form", "metadata.block-goes", "metadata.message-goes")
def test_blocks_go_from_every_layout(before: list[Any], after: list[Any], style: dict[str, Any]) -> None:
    more = {"system": [text("s", MARK)], "tools": [], "max_tokens": 5, "x": [1e-7, {"y": None}]}
    body = written(request(*before, **more), **style)
    found = find(body)
    left = wire.apply(body, found.edits)
    assert json.loads(left) == request(*after, **more)
    assert list(json.loads(left)) == ["model", "messages", "system", "tools", "max_tokens", "x"]
    assert CANARY not in left
    assert find(left) is NOTHING
    assert (found.left, found.notes) == (0, ())
    assert found.last is not None
    assert found.last.span_id == ROOT


@pytest.mark.spec("metadata.count-tokens")
def test_blocks_go_from_a_body_that_counts_tokens() -> None:
    body = written({"messages": [HI, system(PLAIN)], "model": "m"})
    assert json.loads(wire.apply(body, find(body).edits)) == {"messages": [HI], "model": "m"}


@pytest.mark.spec("metadata.untouched")
def test_without_a_canary_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "shaped", None)
    body = written(request(HI, YO))
    assert find(body) is NOTHING
    assert wire.apply(body, find(body).edits) is body


HERE = Path(__file__)
SOURCES = [Path(block.__file__), Path(metadata.__file__), HERE, HERE.with_name("test_block.py")]


@pytest.mark.parametrize(
    "quoted", [PLAIN, reminder(PLAIN), *(it.read_text(encoding="utf-8") for it in SOURCES)]
)
@pytest.mark.spec("metadata.roles", "metadata.tools")
def test_no_assistant_tool_use_or_tool_result_holds_a_block(quoted: str) -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": quoted}
    body = written(
        request(
            HI,
            assistant(text(quoted), {"type": "tool_use", "id": "t", "name": "n", "input": {"text": quoted}}),
            user(result, {**result, "content": [text(quoted, MARK)]}),
            assistant(quoted),
            {"role": "other", "content": quoted},
            user({"type": "document", "title": quoted, "source": {"type": "text", "data": quoted}}),
            user(
                {"type": "odd", "text": quoted}, {"type": "text", "text": [quoted]}, {"text": quoted}, quoted
            ),
            system=[text(quoted)],
            tools=[{"description": quoted}],
            metadata={"text": quoted},
        )
    )
    assert find(body) == NOTHING


@pytest.mark.spec("metadata.typed")
def test_our_own_source_typed_by_a_person_is_no_block() -> None:
    body = written(request(*(user(it.read_text(encoding="utf-8")) for it in SOURCES[:2])))
    assert find(body).edits == ()


@pytest.mark.spec("metadata.roles")
def test_a_role_is_read_however_it_is_written() -> None:
    body = written(request(HI, system(PLAIN))).replace(b'"system"', b'"syst\\u0065m"')
    assert find(body).cut == 1


A, B = text("a"), text("b")
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": PLAIN}
GONE = text(PLAIN, MARK)
SHORT = {"type": "ephemeral", "ttl": "5m"}
MARKERS: dict[str, tuple[list[Any], list[Any]]] = {
    "to the block before": ([user(A, B, GONE)], [user(A, {**B, "cache_control": MARK})]),
    "over other blocks of metadata": ([user(A, text(PLAIN), GONE)], [user({**A, "cache_control": MARK})]),
    "to the message before": ([user(A, B), system(GONE)], [user(A, {**B, "cache_control": MARK})]),
    "to a string": ([HI, system(GONE)], [user(text("hi", MARK))]),
    "to a string, cut itself": ([user(f"hi\n\n{PLAIN}"), system(GONE)], [user(text("hi", MARK))]),
    "to a block, cut itself": (
        [user(text(f"hi\n\n{PLAIN}")), system(GONE)],
        [user(text("hi", MARK))],
    ),
    "over messages that go": ([HI, system(PLAIN), system(GONE)], [user(text("hi", MARK))]),
    "to a tool result": ([user(RESULT), system(GONE)], [user({**RESULT, "cache_control": MARK})]),
    "from the first of a list": ([HI, user(GONE, B)], [user(text("hi", MARK)), user(B)]),
    "over an assistant": ([HI, YO, system(GONE)], [user(text("hi", MARK)), YO]),
    "over an assistant's blocks": (
        [user(A), assistant({"type": "thinking", "thinking": "t", "signature": "s"}, B), system(GONE)],
        [
            user({**A, "cache_control": MARK}),
            assistant({"type": "thinking", "thinking": "t", "signature": "s"}, B),
        ],
    ),
    "never to thinking": (
        [user(A, {"type": "thinking"}, {"type": "redacted_thinking"}, GONE)],
        [user({**A, "cache_control": MARK}, {"type": "thinking"}, {"type": "redacted_thinking"})],
    ),
    "never to an empty or unknown block": (
        [user(A, {"type": "what"}), user(""), user(text("")), system(GONE)],
        [user({**A, "cache_control": MARK}, {"type": "what"}), user(""), user(text(""))],
    ),
    "not where one is": (
        [user(text("a", SHORT)), system(GONE)],
        [user(text("a", SHORT))],
    ),
    "not past one": (
        [user(A), assistant(text("b", SHORT)), system(GONE)],
        [user(A), assistant(text("b", SHORT))],
    ),
    "where null is": ([user({**A, "cache_control": None}), system(GONE)], [user(text("a", MARK))]),
    "null is none": ([user(A), system({**text(PLAIN), "cache_control": None})], [user(A)]),
    "two to one place": (
        [user(A, GONE, text(PLAIN, SHORT)), system(text(PLAIN, SHORT)), YO],
        [user({**A, "cache_control": MARK}), YO],
    ),
    "two to two places": (
        [user(A, GONE, B, text(PLAIN, SHORT))],
        [user({**A, "cache_control": MARK}, {**B, "cache_control": SHORT})],
    ),
    "nowhere to": ([user(GONE, A)], [user(A)]),
    "not into what cannot be read": ([user({"text": "x"}), system(GONE)], [user({"text": "x"})]),
}


def flat(messages: list[Any]) -> list[Any]:
    """Role and block without marker, a string being one text block (weaving.md)."""
    return [
        (message["role"], {key: value for key, value in item.items() if key != "cache_control"})
        for message in messages
        for item in (
            [text(message["content"])] if isinstance(message["content"], str) else message["content"]
        )
    ]


@pytest.mark.parametrize(("before", "after"), MARKERS.values(), ids=MARKERS)
@pytest.mark.spec(
    "metadata.marker-moves",
    "metadata.marker-string",
    "metadata.marker-served",
    "metadata.marker-assistant",
    "metadata.marker-place",
    "metadata.marker-count",
)
def test_a_marker_moves(before: list[Any], after: list[Any]) -> None:
    assert cut(*before) == after
    assert json.dumps(after).count('"ephemeral"') <= json.dumps(before).count('"ephemeral"')


@pytest.mark.spec("metadata.marker-bytes")
def test_a_marker_keeps_its_bytes() -> None:
    raw = b'{ "ttl" : "1h",  "type":"ephem\\u0065ral", "x":1e0 }'
    body = written(request(HI, system(text(PLAIN, "RAW")))).replace(b'"RAW"', raw)
    assert wire.apply(body, find(body).edits) == (
        b'{"model": "m", "messages": [{"role": "user", "content": '
        b'[{"type":"text","text":"hi","cache_control":' + raw + b"}]}]}"
    )


@pytest.mark.spec("metadata.marker-place")
def test_a_marker_that_has_no_place_is_noted() -> None:
    assert "dropped" in find(written(request(user(GONE, A)))).notes[0]
    assert find(written(request(user(text("a", SHORT), GONE)))).notes == ()
    odd = written(request(HI, system(GONE))).replace(b'"role": "user"', b'"role": "user", "role": "user"')
    assert "dropped" in find(odd).notes[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([user(PLAIN)], [user(PLAIN)]),
        ([user(text(PLAIN, MARK))], [user(text(PLAIN, MARK))]),
        ([system(PLAIN)], [system(PLAIN)]),
        ([user(PLAIN), system(text(PLAIN))], [user(PLAIN)]),
        ([user(text(PLAIN)), system(GONE)], [user(text(PLAIN, MARK))]),
        ([user(PLAIN), YO, HI], [user(PLAIN), YO, HI]),
        ([user(PLAIN), system("Be kind."), HI], [user(PLAIN), system("Be kind."), HI]),
        ([user(PLAIN), YO, user(f"hi\n\n{PLAIN}")], [user(PLAIN), YO, HI]),
        ([user(PLAIN), system(PLAIN), HI], [HI]),
        ([assistant("yo"), user(PLAIN)], [YO]),
        ([system(PLAIN), YO, HI], [YO, HI]),
    ],
)
@pytest.mark.spec("metadata.first")
def test_a_request_still_begins_with_a_message_of_the_user(before: list[Any], after: list[Any]) -> None:
    assert cut(*before) == after
    found = find(written(request(*before)))
    stays = WORD in str(after)
    assert found.left == int(stays)
    assert any("has to begin" in note for note in found.notes) == stays
    assert found.last is not None, "what it said is known"


@pytest.mark.spec("metadata.last")
def test_the_last_block_speaks() -> None:
    def said(prompt: str) -> str:
        return LABEL + ours(prompt)

    def last(*messages: object) -> Metadata | None:
        return find(written(request(*messages))).last

    one = last(user(f"{said('1')}\n\nhi"), system(said("2")), YO, HI, system(f"{said('3')}\n\n{said('4')}"))
    assert one is not None
    assert one.prompt == "4"
    two = last(user(text("x"), text(f"{LABEL}{ours('1')}\n{ours('2')}")), YO, user(RESULT))
    assert two is not None
    assert two.prompt == "2"
    assert last(HI, system(said("1")), YO, HI, system(f"{LABEL}{WORD} {{x}} {WORD}")) is None


@pytest.mark.spec("metadata.noted", "metadata.broken")
def test_what_was_cut_and_left_is_counted_and_noted() -> None:
    broken, open_ended = f"{LABEL}{WORD} {{x}} {WORD}", f"{LABEL}{WORD} {{x"
    found = find(written(request(user(f"hi\n\n{PLAIN}\n\n{broken}"), YO, user(f"{open_ended}\n\n{PLAIN}"))))
    assert (found.cut, found.left) == (3, 1)
    assert [note.rpartition(": ")[2] for note in found.notes] == ["1", "1"]
    assert cut(HI, system(f"{open_ended}\n\n{PLAIN}")) == [HI, system(open_ended)]


@pytest.mark.parametrize("escape", [json.dumps, lambda words: json.dumps(words).replace("/", "\\/")])
@pytest.mark.spec("metadata.escapes", "metadata.surrogates", "metadata.untouched")
def test_escapes_and_halves_of_pairs_survive(escape: Callable[[str], str]) -> None:
    prompt = 'say "\\" \N{GRINNING FACE} ü / </system-reminder>\n\t\0'
    words = f'\N{GRINNING FACE}\\ud83d "/" \n\n{PLAIN.replace("say hi", json.dumps(prompt)[1:-1])}\n\nü\ud83d'
    token = escape(words)
    body = b'{"x":"\\udead","messages":[{"role":"user","content":' + token.encode() + b"}]}"
    found = find(body)
    left = wire.apply(body, found.edits)
    assert (found.cut, len(found.edits)) == (1, 1)
    edit = found.edits[0]
    assert left == body[: edit.start] + body[edit.end :]
    assert json.loads(left)["messages"][0]["content"] == '\N{GRINNING FACE}\\ud83d "/" \n\nü\ud83d'
    assert found.last is not None
    assert found.last.prompt == prompt


@pytest.mark.parametrize(
    "body",
    [
        CANARY,
        b'"' + PLAIN.encode() + b'"',
        written([HI, system(PLAIN)]),
        written({"messages": None, "x": PLAIN}),
        written({"messages": PLAIN}),
        written({"messages": {"role": "user", "content": PLAIN}}),
        written({"prompt": PLAIN}),
        written(request(HI, system(PLAIN)))[:-1],
        written(request(HI, system(PLAIN))) + b"}",
        b"\xef\xbb\xbf" + written(request(HI, system(PLAIN))),
        written(request(HI, system(PLAIN))).replace(b'"model"', b'"messages":[],"model"'),
        written(request(HI, system(PLAIN))).replace(b'"m"', b'"\n"'),
        written(request(HI, system(PLAIN))).replace(b'"m"', b"[" * 5000 + b"]" * 5000),
    ],
)
@pytest.mark.spec("metadata.no-json", "metadata.noted", "metadata.repeated-keys")
def test_a_body_that_is_no_request_is_left_as_it_is_and_noted(body: bytes) -> None:
    found = find(body)
    assert (found.edits, found.last, len(found.notes)) == ((), None, 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"content": PLAIN},
        {"role": "user"},
        {"role": None, "content": PLAIN},
        {"role": "user", "content": None, "x": PLAIN},
        {"role": "user", "content": {"text": PLAIN}},
        {"role": "user", "content": [], "x": PLAIN},
        {"role": "user", "content": "", "x": PLAIN},
        PLAIN,
        [PLAIN],
        5,
    ],
)
@pytest.mark.spec("metadata.no-raise")
def test_a_message_of_an_unknown_shape_stays(odd: object) -> None:
    assert cut(odd, HI, system(PLAIN)) == [odd, HI]
    assert cut(HI, system(PLAIN), odd) == [HI, odd]


@pytest.mark.spec("metadata.repeated-keys")
def test_a_message_or_block_with_repeated_keys_stays() -> None:
    body = written(request(HI, user(f"hi {PLAIN}"))).replace(b'"hi U', b'"x", "content": "hi U')
    found = find(body)
    assert (found.edits, found.cut) == ((), 0)
    assert "cannot be read" in found.notes[0]
    body = written(request(HI, user(A, text(PLAIN)))).replace(b'"User', b'"x", "text": "User')
    assert find(body).edits == ()


@pytest.mark.spec("metadata.no-json")
def test_bytes_that_are_not_utf8_stay_beside_a_cut() -> None:
    body = written(request(user(f"hi ? {PLAIN}"), user("?"))).replace(b"?", b"\xff\xfe")
    left = wire.apply(body, find(body).edits)
    assert CANARY not in left
    assert left.count(b"\xff\xfe") == 2


@pytest.mark.spec("metadata.fields")
def test_the_words_of_a_block_are_read() -> None:
    found = find(written(request(HI, system(PLAIN))))
    assert found.last == Metadata(
        span_id=ROOT,
        machine=(("fqdn", "host.example"), ("ram", 17_179_869_184), ("uptime", 3600), ("disk_free", 5)),
        **{key: value for key, value in SAID.items() if key not in {"canary", "machine"}},  # type: ignore[arg-type]
    )


def read(**values: object) -> Metadata:
    found = metadata.read(json.dumps({**SAID, **values}).encode())
    assert found is not None
    return found


WRONG: list[object] = [None, 5, -1, True, 1.5, [], {}, "", "x y\n", "x" * 5000, "0" * 32, "0" * 16, "\ud800"]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: repr(wrong)[:12])
@pytest.mark.spec("metadata.fields")
def test_a_wrong_value_reads_as_absent(wrong: object) -> None:
    right = read()
    for name in ("trace_id", "traceparent", "hook_span_id", "parent_span_id"):
        other = read(**{name: wrong})
        kept = {"trace_id": TRACE, "traceparent": ""}.get(name, "")
        assert getattr(other, name) == kept
        assert other.prompt == right.prompt
    assert read(traceparent=wrong).span_id == ""
    assert read(traceparent=wrong, trace_id=wrong).trace_id == ""
    if wrong not in {"0" * 32, "0" * 16} if isinstance(wrong, str) else True:
        assert read(session_id=wrong).session_id == read(prompt_id=wrong).prompt_id == ""
    if wrong not in (5, True) and not isinstance(wrong, str):
        for name in ("started_at", "hook_started_at", "hook_ended_at", "sent_at"):
            assert getattr(read(**{name: wrong}), name) == 0
    if not isinstance(wrong, str) or len(wrong) > 4999 or "\n" in wrong:
        assert read(source=wrong).source == read(cwd=wrong).cwd == ""
        assert read(transcript_path=wrong).transcript_path == ""


@pytest.mark.spec("metadata.fields")
def test_fields_are_bounded() -> None:
    assert read(prompt="ü" * 10_000).prompt == "ü" * metadata.MAX_PROMPT
    assert read(session_id="x" * 256).session_id == "x" * 256
    assert read(session_id="x" * 257).session_id == ""
    assert read(cwd="/" * 4096).cwd == "/" * 4096
    assert read(cwd="/" * 4097).cwd == ""
    assert read(sent_at=2**63 - 1).sent_at == 2**63 - 1
    assert read(sent_at=2**63).sent_at == 0
    facts = read(machine={"n" * 99: "v" * 999, "big": 2**63, "yes": True, "no": None, "e": 1e300, "l": []})
    assert facts.machine == (("n" * 64, "v" * 256),)
    assert len(read(machine={str(n): n for n in range(99)}).machine) == metadata.MAX_FACTS
    assert read(machine="x").machine == ()


@pytest.mark.spec("metadata.fields")
def test_the_traceparent_says_which_trace_it_is() -> None:
    other = "f" * 32
    assert read(trace_id=other).trace_id == TRACE
    assert read(trace_id=other, traceparent="").trace_id == other
    assert read(traceparent=f" 00-{TRACE}-{ROOT}-03 ").traceparent == f"00-{TRACE}-{ROOT}-03"
    assert len(read(traceparent=f"01-{TRACE}-{ROOT}-03-{'x' * 999}").traceparent) == metadata.MAX_WORD


@pytest.mark.spec("metadata.closing-tag")
def test_the_closing_tag_is_read_as_it_was_typed() -> None:
    assert read(prompt="a &lt;/system-reminder> b &lt;").prompt == "a </system-reminder> b &lt;"


@pytest.mark.spec("metadata.fields")
def test_odd_blocks_are_read_as_far_as_they_go() -> None:
    assert metadata.read(b'{"canary":"x"}') == Metadata()
    assert metadata.read(b"[]") == Metadata()
    assert metadata.read(b"{") is None
    assert metadata.read(b'{"a":1e999}') is None
    half = metadata.read(b'{"prompt":"a\\ud83d b","cwd":"\xed\xa0\x80"}')
    assert half is not None
    for value in asdict(half).values():
        if isinstance(value, str):
            value.encode()
    assert read(x=10**400).prompt == "say hi"
    endless = written(request(HI, system(LABEL + ours(x="?")))).replace(b'\\"?\\"', b"1e999")
    assert (find(endless).cut, find(endless).last) == (1, None)


# Whole conversations against a model over parsed values, written without looking at bytes.

BLOCKS = [
    PLAIN,
    reminder(PLAIN),
    reminder(LABEL + ours('" }\n{ \N{GRINNING FACE} ü')),
    PLAIN.replace("User", ""),
]
WORDS = [
    "hi",
    "Be kind.",
    reminder("One.\nTwo."),
    f"{WORD}?",
    '\N{GRINNING FACE} ü\ud800 "/\\',
    f"{LABEL}No.",
]
LINES = [f"{LABEL}Be kind.\n{ours()}", f"{LABEL}{ours()}\nBe kind."]
markers = st.sampled_from([None, None, MARK, SHORT])
texts = st.lists(st.sampled_from([*BLOCKS, *WORDS, *LINES]), min_size=1, max_size=4).map("\n\n".join)
texts = texts | st.sampled_from(BLOCKS)
items = (
    st.builds(text, texts, markers)
    | st.builds(text, texts, markers)
    | st.sampled_from(
        [RESULT, {**RESULT, "cache_control": SHORT}, {"type": "image"}, {"type": "thinking"}, text("")]
    )
)
contents = texts | st.lists(items, min_size=1, max_size=4)
roles = st.sampled_from(["user", "user", "system", "assistant"])
messages = st.fixed_dictionaries({"role": roles, "content": contents})
conversations = st.lists(messages, max_size=6)
styles = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": True}])


def model_text(words: str) -> str:
    kept = [piece for piece in words.split("\n\n") if piece not in BLOCKS]
    return "\n\n".join(piece.replace("\n" + ours(), "").replace(ours() + "\n", "") for piece in kept)


def model(conversation: list[Any]) -> list[Any]:
    """What cutting does, on parsed values: texts, then messages, then markers."""
    apart = json.loads(json.dumps(conversation))  # Equal blocks are objects of their own.
    made = [cut_by_itself(message) for message in apart]
    if made and all(gone for _, gone in made[0]) and must_stay(conversation, made):
        made[0] = [(part, False) for part in parts_of(deepcopy(conversation[0]))]
    places = [(index, *place) for index, message in enumerate(made) for place in message]
    for number, (_, part, gone) in enumerate(places):
        if gone and "cache_control" in part:
            for before, other, gone_before in reversed(places[:number]):
                if gone_before:
                    continue
                if "cache_control" in other:
                    break
                usable = other["type"] in {"text", "image", "tool_result"} and other.get("text") != ""
                if conversation[before]["role"] != "assistant" and usable:
                    other["cache_control"] = part["cache_control"]
                    break
    left = []
    for message, places_in in zip(conversation, made, strict=True):
        kept = [part for part, gone in places_in if not gone]
        if kept:
            plain = isinstance(message["content"], str) and "cache_control" not in kept[0]
            left.append({**message, "content": kept[0]["text"] if plain else kept})
    return left


def parts_of(message: dict[str, Any]) -> list[Any]:
    content = message["content"]
    return [text(content)] if isinstance(content, str) else list(content)


def cut_by_itself(message: dict[str, Any]) -> list[tuple[Any, bool]]:
    """Each part of a message, cut, and whether nothing is left of it."""
    places = []
    for part in parts_of(message):
        words = part.get("text")
        if message["role"] != "assistant" and words:
            part["text"] = model_text(words)
        places.append((part, bool(words) and not part["text"]))
    return places


def must_stay(conversation: list[Any], made: list[list[tuple[Any, bool]]]) -> bool:
    begins = [
        message["role"]
        for message, places in zip(conversation, made, strict=True)
        if not all(gone for _, gone in places)
    ]
    return not begins or (conversation[0]["role"] == "user" and begins[0] != "user")


@given(conversations, styles)
@pytest.mark.spec("metadata.model", "metadata.untouched", "metadata.marker-moves", "metadata.marker-count")
def test_cutting_is_what_the_model_says(conversation: list[Any], style: dict[str, Any]) -> None:
    body = written(request(*conversation, tools=[5e-1]), **style)
    found = find(body)
    left = wire.apply(body, found.edits)
    assert json.loads(left.decode("utf-8", "surrogatepass")) == request(*model(conversation), tools=[0.5])
    assert left.count(b"ephemeral") <= body.count(b"ephemeral")


@given(conversations, styles)
@pytest.mark.spec("metadata.idempotent")
def test_cutting_twice_is_cutting_once(conversation: list[Any], style: dict[str, Any]) -> None:
    body = written(request(*conversation), **style)
    once = wire.apply(body, find(body).edits)
    again = find(once)
    assert (again.edits, again.cut) == ((), 0)
    assert wire.apply(once, again.edits) is once


@given(conversations, styles)
@pytest.mark.spec("metadata.untouched", "metadata.exact")
def test_edits_never_overlap_and_undone_give_the_body_back(
    conversation: list[Any], style: dict[str, Any]
) -> None:
    body = written(request(*conversation), **style)
    left, back, done = wire.apply(body, find(body).edits), b"", 0
    for edit in sorted(find(body).edits, key=lambda edit: (edit.start, edit.end)):
        assert edit.start >= done
        assert body[done : edit.start] == left[: edit.start - done]
        left = left[edit.start - done :].removeprefix(edit.new)
        back += body[done : edit.end]
        done = edit.end
    assert left == body[done:]
    assert back + left == body


def otherwise(conversation: list[Any], flips: list[bool]) -> list[Any]:
    """The same conversation, as a later call writes it: strings as lists, markers elsewhere."""
    made: list[Any] = json.loads(json.dumps(conversation))
    for message, flip in zip(made, flips, strict=False):
        content = message["content"]
        if flip and isinstance(content, str):
            message["content"] = [text(content, MARK)]
        elif flip and len(content) == 1 and content[0]["type"] == "text":
            message["content"] = content[0]["text"]
        elif flip:
            for part in content:
                part.pop("cache_control", None)
    return made


@given(conversations, st.integers(0, 6), st.lists(st.booleans(), max_size=6))
@pytest.mark.spec("metadata.prefix", "metadata.pure")
def test_what_extends_a_conversation_still_does_when_both_are_cut(
    conversation: list[Any], size: int, flips: list[bool]
) -> None:
    begun = conversation[:size]
    # A request of nothing but blocks keeps the first, and what follows decides whether it must.
    assume(not begun or len(model([HI, *begun])) > 1)
    whole, part = flat(cut(*otherwise(conversation, flips))), flat(cut(*begun))
    assert whole[: len(part)] == part


@given(conversations, st.integers(0, 6))
@pytest.mark.spec("metadata.pure", "metadata.prefix")
def test_cutting_the_parts_is_cutting_the_whole(conversation: list[Any], size: int) -> None:
    first, second = [HI, *conversation[:size]], [HI, *conversation[size:]]
    assert flat(cut(*first))[1:] + flat(cut(*second))[1:] == flat(cut(*first, *second[1:]))[1:]


@given(st.binary(), st.binary())
@pytest.mark.spec("metadata.no-raise")
def test_any_bytes_can_be_asked_for_blocks(before: bytes, after: bytes) -> None:
    for body in (before, before + CANARY + after, b'{"messages":[' + before + CANARY + after + b"]}"):
        assert find(body).edits == ()


@given(conversations, st.data())
@pytest.mark.spec("metadata.no-raise")
def test_a_damaged_body_can_be_asked_for_blocks(conversation: list[Any], data: st.DataObject) -> None:
    body = bytearray(written(request(HI, system(PLAIN), *conversation)))
    for at in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=3)):
        body[at] = data.draw(st.sampled_from(b'"{}[],:\\ \xff1'))
    found = find(bytes(body))
    left = wire.apply(bytes(body), found.edits)
    try:
        json.loads(bytes(body))
    except ValueError:
        return
    json.loads(left)


def milliseconds(act: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        begun = time.process_time()
        act()
        times.append(time.process_time() - begun)
    return min(times) * 1e3


def marked_everywhere(size: int) -> bytes:
    return written(request(user(A, *[item for _ in range(size // 1200) for item in (GONE, {"type": "x"})])))


LARGE: dict[str, Callable[[int], bytes]] = {
    "turns": lambda size: written(request(*[HI, system(PLAIN), YO] * (size // 900))),
    "one large text": lambda size: written(request(user('ü\n"' * (size // 8) + f"\n\n{PLAIN}"))),
    "large text, pieces between": lambda size: written(request(user(f'\n\nü\n"\n\n{PLAIN}' * (size // 800)))),
    "in ASCII": lambda size: written(request(user(f"ü{PLAIN}ü\n" * (size // 800))), ensure_ascii=True),
    "markers": marked_everywhere,
    "canaries in tool results": lambda size: written(request(HI, *[user(RESULT)] * (size // 900))),
    "half pairs": lambda size: written(request(user("\ud800" * (size // 6) + PLAIN)), ensure_ascii=True),
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
@pytest.mark.spec("metadata.linear")
def test_the_time_grows_as_the_body_does(make: Callable[[int], bytes]) -> None:
    small, large = make(50_000), make(400_000)
    # Eight times the body: squared growth would be 64 times the time.
    assert milliseconds(lambda: find(large)) < 24 * max(milliseconds(lambda: find(small)), 1)


@pytest.mark.spec("metadata.linear")
def test_a_body_of_ten_megabytes_is_cut() -> None:
    body = written(request(user("x" * 10_000_000), system(PLAIN), *[YO, HI, system(PLAIN)] * 100))
    found = find(body)
    assert found.cut == 101
    assert CANARY not in wire.apply(body, found.edits)
    without = body.replace(CANARY, CANARY.lower())
    # It is not even parsed.
    assert milliseconds(lambda: find(without)) < milliseconds(lambda: wire.shaped(without))


def test_a_text_is_read_only_where_a_canary_is(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, int]] = []
    plain = jsontext.read

    def noted(body: bytes, start: int, end: int) -> jsontext.JsonText:
        read.append((start, end))
        return plain(body, start, end)

    monkeypatch.setattr(jsontext, "read", noted)
    body = written(request(*[HI, YO] * 50, user(A, B, text(PLAIN)), YO))
    assert isinstance(find(body), Found)
    assert len(read) == 1
