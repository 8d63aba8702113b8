import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.scribe.said import Part, said
from tests.support.scribed import told


def read(content: object, role: str = "assistant", **fields: object) -> list[tuple[str, str]]:
    raw = json.dumps({"type": role, "message": {"role": role, "content": content}, **fields}).encode()
    return [(one.kind, one.text) for one in said(told(1, raw=raw, role=role)[0]).parts]


@pytest.mark.spec("scribe.show")
def test_a_line_is_words_tools_and_results() -> None:
    assert read("Hello.") == [("words", "Hello.")]
    assert read([
        {"type": "thinking", "thinking": "Hm."},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "name": "Bash", "input": {"command": "ls"}},
        {"type": "tool_result", "content": [{"type": "text", "text": "a\nb"}, {"type": "image"}]},
        {"type": "tool_result", "content": "c"},
        {"type": "image"},
        "odd",
    ]) == [
        ("thinking", "Hm."),
        ("words", "I look."),
        ("tool", 'Bash {"command":"ls"}'),
        ("result", "a\nb\n[image]"),
        ("result", "c"),
        ("mark", "image"),
        ("mark", "a block of no type"),
    ]  # fmt: skip


@pytest.mark.spec("scribe.show")
def test_who_speaks_is_told() -> None:
    row, _ = told(1, "Hello.")
    assert said(row).who == "user"
    results = json.dumps({"type": "user", "message": {"role": "user", "content": [{"type": "tool_result"}]}})
    assert said(evolve(row, raw=results)).who == "tool"
    summary = json.dumps(
        {"type": "user", "isCompactSummary": True, "message": {"role": "user", "content": "x"}}
    )
    assert said(evolve(row, raw=summary)).who == "summary"
    boundary = json.dumps({"type": "system", "subtype": "compact_boundary"})
    assert said(evolve(row, role="", type="system", raw=boundary)).who == "compaction"


def test_a_line_that_nobody_said_has_no_parts() -> None:
    row, _ = told(1, role="", raw=b'{"type":"mode"}')
    assert (said(row).who, said(row).parts) == ("line", ())


def test_a_line_with_a_problem_says_so_and_one_without_its_raw_line_has_its_text() -> None:
    row, _ = told(1, "Hello.")
    assert said(evolve(row, raw="")).parts == (Part("words", "Hello."),)
    assert "not JSON" in said(evolve(row, raw="{", problem="not JSON")).parts[0].text


@given(st.text(), st.text())
def test_anything_can_be_read(raw: str, role: str) -> None:
    row, _ = told(1)
    said(evolve(row, raw=raw, role=role))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda of: (
            st.lists(of)
            | st.dictionaries(st.sampled_from(["type", "text", "content", "input", "name", "x"]), of)
        ),
    )
)
def test_any_content_can_be_read(content: object) -> None:
    read(content)
