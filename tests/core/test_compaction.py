import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.call import CallKind, read
from loom_core.compaction import (
    BY_CLASS,
    BY_HEADER,
    INSTRUCTION,
    INSTRUCTS,
    MAX_BEGINNING,
    PARTLY,
    SUMMARISES,
    detect,
    is_continued,
    may_compact,
    texts,
)
from loom_core.metadata import Metadata
from loom_core.values import Headers
from loom_core.wordings import CONTINUED, INSTRUCTIONS, SUMMARISER
from tests.support.compactions import (
    BARE_CLIENT,
    CASES,
    NEW_CLIENT,
    OLD_CLIENTS,
    SUMMARISING,
    SYSTEM,
    Case,
    continued,
    instruction,
)
from tests.support.conversations import hostile, text

PATH = b"/v1/messages"
CLASS, HEADER = b"x-claude-code-request-class", b"x-claude-code-compaction"
OLD, NEW = instruction("2.1.9"), instruction(NEW_CLIENT)


@pytest.mark.parametrize("case", CASES, ids=lambda it: it.name)
@pytest.mark.spec("compact.signals", "compact.place", "compact.kind")
def test_a_compaction_of_each_known_client_is_known_and_says_by_what(case: Case) -> None:
    said = read(PATH, case.headers, case.body(), None)
    found = said.compaction
    assert found is not None
    assert (found.drift, found.begins, found.is_certain) == ("", "", True)
    hinted = case.client == NEW_CLIENT
    by = (
        (BY_CLASS, BY_HEADER, INSTRUCTS)
        if hinted
        else (SUMMARISES, INSTRUCTS)
        if case.is_old
        else (INSTRUCTS,)
    )
    assert found.by == by
    assert found.trigger == (case.trigger if hinted else "")
    assert found.has_own_system is case.is_old
    assert (said.kind, said.prompt) == (CallKind.COMPACTION, "")


@pytest.mark.parametrize(
    ("lines", "system", "said", "by", "certain"),
    [
        ({CLASS: b"compaction"}, SYSTEM, "Sum it up.", (BY_CLASS,), True),
        ({HEADER: b"auto"}, SYSTEM, "Sum it up.", (BY_HEADER,), True),
        ({CLASS: b"compaction"}, SYSTEM, "", (BY_CLASS,), True),
        ({CLASS: b"compaction"}, SYSTEM, OLD, (BY_CLASS, PARTLY), True),
        ({}, SUMMARISING, "Sum it up.", (SUMMARISES,), True),
        ({}, SYSTEM, OLD, (PARTLY,), False),
        ({}, SYSTEM, INSTRUCTIONS[1].begins, (PARTLY,), False),
        ({CLASS: b"main"}, SYSTEM, NEW, (INSTRUCTS,), False),
        ({CLASS: b"new"}, SYSTEM, NEW, (INSTRUCTS,), False),
        ({CLASS: b"main", HEADER: b"auto"}, SYSTEM, NEW, (BY_HEADER, INSTRUCTS), True),
    ],
)
@pytest.mark.spec("compact.drift-instruction", "compact.class-believed")
def test_where_header_and_words_do_not_fit_it_has_drifted(
    lines: dict[bytes, bytes], system: object, said: str, by: tuple[str, ...], *, certain: bool
) -> None:
    found = detect(lines, list(system) if isinstance(system, tuple) else system, said, "")
    assert found is not None
    assert (found.by, found.drift, found.begins) == (by, INSTRUCTION, said[:MAX_BEGINNING])
    assert found.is_certain is certain


@pytest.mark.parametrize("said", [OLD, INSTRUCTIONS[1].begins])
@pytest.mark.spec("compact.class-believed", "compact.ordinary")
def test_a_part_of_an_instruction_in_a_request_of_another_class_says_nothing(said: str) -> None:
    assert detect({CLASS: b"main"}, list(SYSTEM), said, "") is None


@pytest.mark.spec("compact.signals")
def test_only_a_trigger_that_is_known_is_told() -> None:
    found = [detect({HEADER: value}, None, NEW, "") for value in (b"auto", b"manual", b"\xff", b"x" * 999)]
    assert [it.trigger if it else None for it in found] == ["auto", "manual", "", ""]


@pytest.mark.parametrize("said", [OLD, NEW, INSTRUCTIONS[1].begins])
@pytest.mark.spec("compact.typed")
def test_what_a_hook_says_was_typed_is_no_instruction(said: str) -> None:
    assert detect({}, list(SYSTEM), said, said) is None
    body = json.dumps({"messages": [{"role": "user", "content": said}]}).encode()
    found = read(PATH, (), body, Metadata(prompt_id="p", prompt=said))
    assert (found.kind, found.compaction, found.prompt) == (CallKind.MAIN, None, said)


ORDINARY = [
    ("typed, in the middle", [{"role": "user", "content": f"What is this?\n{NEW}"}]),
    ("before other words", [{"role": "user", "content": [text(NEW), text("What is this?")]}]),
    ("of the assistant", [{"role": "user", "content": "Well?"}, {"role": "assistant", "content": NEW}]),
    ("an earlier message", [{"role": "user", "content": NEW}, {"role": "assistant", "content": "So?"}]),
    (
        "before an answer",
        [
            {"role": "user", "content": NEW},
            {"role": "assistant", "content": "So?"},
            {"role": "user", "content": "Tea?"},
        ],
    ),
    (
        "a tool's result",
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": NEW}]}],
    ),
    (
        "a file in a result",
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [text(NEW)]}]}],
    ),
    (
        "what a tool is given",
        [
            {"role": "user", "content": "Write it."},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "W", "input": {"x": NEW}}],
            },
        ],
    ),
    ("a system message", [{"role": "user", "content": "Tea?"}, {"role": "system", "content": NEW}]),
    ("code", [{"role": "user", "content": f'BEGINS = "{INSTRUCTIONS[1].begins}"\nTASK = "{OLD}"'}]),
    ("a summary", [{"role": "user", "content": continued(NEW_CLIENT, summary=NEW)}]),
]


@pytest.mark.parametrize("messages", [it for _, it in ORDINARY], ids=[name for name, _ in ORDINARY])
@pytest.mark.parametrize("headers", [(), ((CLASS, b"main"),)], ids=["no hints", "main"])
@pytest.mark.spec("compact.ordinary", "compact.place")
def test_the_words_anywhere_else_say_nothing(messages: list[object], headers: Headers) -> None:
    for system in (None, "Be brief.", [text(f"Do not say: {SUMMARISER.begins}")], f"Or {SUMMARISER.begins}"):
        asked = json.dumps({"messages": messages, "system": system, "tools": [{}]}).encode()
        found = read(PATH, headers, asked, None)
        assert (found.kind, found.compaction) == (CallKind.MAIN, None)


@pytest.mark.spec("compact.ordinary")
def test_a_count_of_tokens_compacts_nothing() -> None:
    for case in CASES:
        found = read(PATH + b"/count_tokens", case.headers, case.body(), None)
        assert (found.kind, found.compaction) == (CallKind.COUNT, None)


@given(
    st.dictionaries(
        st.sampled_from([CLASS, HEADER]), st.sampled_from([b"compaction", b"auto", b"main", b"\xff"])
    ),
    st.sampled_from([None, 5, "", SUMMARISER.begins, list(SYSTEM), list(SUMMARISING), [None, {"text": 5}]]),
    hostile | st.sampled_from([OLD, NEW, OLD[:90], NEW[:60]]),
    hostile,
)
@pytest.mark.spec("compact.garbage", "compact.signals")
def test_each_detection_has_a_signal_and_a_drift_its_beginning(
    lines: dict[bytes, bytes], system: object, said: str, typed: str
) -> None:
    found = detect(lines, system, said, typed)
    if found is None:
        assert not lines.get(HEADER)
        assert lines.get(CLASS) != b"compaction"
    else:
        assert found.by
        assert found.begins == (said[:MAX_BEGINNING] if found.drift else "")


@pytest.mark.spec("compact.signals")
def test_the_quick_look_passes_whatever_may_compact() -> None:
    for case in CASES:
        asked = json.loads(case.body())
        ends = [json.dumps(it, ensure_ascii=False).encode() for it in asked["messages"][-2:]]
        assert may_compact(json.dumps(asked["system"]).encode(), ends)
    assert not may_compact(b'"Be brief."', [b'{"role":"user","content":"Tea?"}'])


@pytest.mark.spec("compact.continuation")
def test_a_text_with_a_summary_is_known_by_its_beginning() -> None:
    for client in (*OLD_CLIENTS, NEW_CLIENT, BARE_CLIENT):
        assert is_continued(continued(client))
    assert not is_continued(f"What is: {CONTINUED}")


def test_the_texts_of_a_content_are_those_of_its_blocks() -> None:
    assert list(texts("a")) == ["a"]
    assert list(texts([text("a"), None, {"text": 5}])) == ["a", "", ""]
    assert list(texts(None)) == list(texts({"text": "a"})) == []


@pytest.mark.spec("compact.drift-told")
def test_what_is_told_of_unknown_words_holds_no_secret() -> None:
    key = "sk-ant-api03-" + "A" * 60
    found = detect({b"x-claude-code-request-class": b"compaction"}, None, f"use {key} and go on", "")
    assert found
    assert found.begins.startswith("use ")
    assert "AAAA" not in found.begins
