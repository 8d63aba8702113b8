import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core.publication import PublishedLine
from loom_shell.intro.said import MOST_BYTES, MOST_RAW, MOST_SESSION, Said, said
from loom_shell.stream import Entry
from tests.support.heard import entry


@pytest.mark.spec("intro.said")
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_what_user_and_assistant_say_in_words_is_heard(role: str) -> None:
    assert said(entry(3, "Pebble is nine.", role)) == Said("s", role, "Pebble is nine.", "s-3", "3-0")
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "One."},
        {"type": "tool_use", "name": "Bash", "input": {"command": "ls"}},
        {"type": "text", "text": "Two."},
    ]
    heard = said(entry(3, "", role, content=blocks))
    assert heard is not None
    assert heard.text == "One.\n\nTwo."
    alone = said(entry(3, "", role, content="Just a text."))
    assert alone is not None
    assert alone.text == "Just a text."


@pytest.mark.spec("intro.said")
@pytest.mark.parametrize(
    "fields",
    [
        {"content": [{"type": "tool_result", "content": "x"}, {"type": "text", "text": "y"}]},
        {"content": [{"type": "web_search_tool_result", "content": []}, {"type": "text", "text": "y"}]},
        {"content": [{"type": "thinking", "thinking": "x"}]},
        {"content": [{"type": "tool_use", "name": "x"}]},
        {"content": []},
        {"content": " \n"},
        {"content": 7},
        {"isSidechain": True},
        {"agentId": "a1"},
        {"isCompactSummary": True},
        {"message": {"role": "system", "content": "x"}},
        {"message": {"content": "x"}},
        {"message": None},
        {"type": "system", "subtype": "compact_boundary"},
        {"type": "attachment"},
        {"type": "api-request"},
    ],
)
def test_nothing_else_is_heard(fields: dict[str, object]) -> None:
    assert said(entry(1, "x", **fields)) is None


@pytest.mark.spec("intro.said")
def test_a_tool_result_that_only_the_stream_or_only_the_line_names_is_none() -> None:
    one = entry(1, "x")
    assert said(Entry("1-0", evolve(one.published, content_types=("tool_result",)))) is None
    results = entry(1, "", content=[{"type": "tool_result"}, {"type": "text", "text": "x"}])
    assert said(Entry("1-0", evolve(results.published, content_types=("text",)))) is None


@pytest.mark.spec("intro.said")
@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<system-reminder>\nbe < kind\n</system-reminder>\n\nHello.", "Hello."),
        ("a<system-reminder>1</system-reminder>b<system-reminder>2</system-reminder>c", "abc"),
        ("<system-reminder>open, and never closed", "&lt;system-reminder>open, and never closed"),
        ("<system-reminder>all</system-reminder>", None),
    ],
)
def test_a_reminder_is_not_what_somebody_said(text: str, left: str | None) -> None:
    heard = said(entry(1, text))
    assert (heard and heard.text) == left


@pytest.mark.spec("intro.redacted", "intro.bounded")
def test_what_is_heard_is_without_secrets_safe_and_short() -> None:
    heard = said(entry(1, "my key is sk-ant-abcdef123456\u202e\nHuman: <system-reminder>"))
    assert heard is not None
    assert heard.text == "my key is [redacted: anthropic key]\n> Human: &lt;system-reminder>"
    long = said(entry(1, "ß" * 20_000))
    assert long is not None
    assert len(long.text.encode()) <= MOST_BYTES
    assert long.text.endswith("… [cut: 20000 characters in all]")


@pytest.mark.spec("intro.bounded", "intro.said")
def test_what_is_too_large_or_of_no_session_is_left_alone() -> None:
    one = entry(1, "x").published
    for session in ("", "s" * (MOST_SESSION + 1)):
        assert said(Entry("1-0", evolve(one, session=session))) is None
    assert said(Entry("1-0", evolve(one, raw=one.raw + b" " * MOST_RAW))) is None
    heard = said(Entry("1-0", evolve(one, line_id="")))
    assert heard is not None
    assert heard.line == "1-0"


@pytest.mark.spec("intro.bounded")
@pytest.mark.parametrize("piece", ["<system-reminder>", "<system-reminder><", "</system-reminder", "<"])
def test_reading_takes_no_longer_for_odd_texts(piece: str) -> None:
    began = time.process_time()
    said(entry(1, piece * (200_000 // len(piece))))
    assert time.process_time() - began < 2


@pytest.mark.spec("intro.said")
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(("type", "message", "content", "role", "text", "uuid")), inner, max_size=5
            )
        ),
        max_leaves=9,
    ).map(lambda told: json.dumps(told).encode()),
    st.text(max_size=5),
    st.sampled_from(("user", "assistant", "x")),
)
def test_no_entry_makes_it_raise(raw: bytes, session: str, kind: str) -> None:
    heard = said(Entry("1-0", PublishedLine(session, kind, kind, (), raw, "/f", 0, "")))
    assert heard is None or heard.text.strip()
