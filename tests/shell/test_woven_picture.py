import io
import json
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve
from rich.cells import cell_len
from rich.console import Console

from loom_core.actions import Keep
from loom_core.woven import WovenIn
from loom_shell.last_woven import Last, LastWoven
from loom_shell.woven_picture import picture
from loom_shell.woven_view import view
from tests.support.conversations import hostile, prompt
from tests.support.weaving import FIRST, LIST, SECOND, Sources, sent, through

MARKER = {"type": "ephemeral"}
OBEYED = {
    chr(code) for code in (*range(10), *range(11, 32), *range(127, 160), 0x200B, 0x202E, 0x2028, 0xFEFF)
}
"""What a terminal obeys, or what hides, but for the line feed."""


def drawn(last: Last, *, full: bool = False, width: int = 80, color: bool = False) -> str:
    """What a terminal of this width is sent."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=color,
        color_system="standard" if color else None,
        legacy_windows=False,
    )
    for one in picture(console, last, view(last.body or b"", last.blocks), full=full, zone=UTC):
        console.print(one)
    return file.getvalue()


def last_of(keep: Keep) -> Last:
    known = LastWoven()
    known.keep(keep)
    last = known.page().last
    assert last
    return last


def of_ann(sources: Sources, told: bytes) -> Last:
    (keep,) = through(sources, told).of(Keep)
    return last_of(keep)


def unwoven(**fields: Any) -> Last:  # noqa: ANN401  # JSON
    """A request of which nothing is the Loom's."""
    return last_of(Keep("s", WovenIn("ann", 1, 2), json.dumps(fields).encode()))


@pytest.mark.spec("woven.picture", "woven.view", "woven.cut")
def test_a_request_is_drawn_with_the_looms_blocks_in_frames() -> None:
    sources = Sources(lists={LIST: ("The tests are slow.",)})
    told = drawn(
        of_ann(sources, sent(system=[{"type": "text", "text": "Be\nbrief.", "cache_control": MARKER}]))
    )
    assert told.splitlines() == [
        "● session 5e551011-0000-4000-8000-000000000001",
        "  profile ann · 22:13:20 · m · 1 message · 952 bytes",
        "  woven: 160 tokens = identity 9 + sticky 97 + ephemeral 54",
        "  1 prompt, new text at the last one, memory: answered",
        "",
        "system prompt",
        "  text        ◆ cache 5m Be brief.",
        "  ╭─ woven: identity · 9 tokens ───────────────────────────────────────────────╮",
        "  │ ## Self                                                                    │",
        "  │                                                                            │",
        "  │ I am Ann.                                                                  │",
        "  │                                                                            │",
        "  │ ## Mood                                                                    │",
        "  │ … 2 more rows: --full shows all                                            │",
        "  ╰────────────────────────────────────────────────────────────────────────────╯",
        "",
        "user 1",
        "  text        Tea?",
        "  ╭─ woven: sticky · 97 tokens ────────────────────────────────────────────────╮",
        "  │ <system-reminder> …                                                        │",
        "  │ ## News                                                                    │",
        "  │                                                                            │",
        "  │ The build is red.                                                          │",
        "  │                                                                            │",
        "  │ Noted in this session as worth remembering:                                │",
        "  │ … 7 more rows: --full shows all                                            │",
        "  ╰─ 1 piece, 1 memorable, memory #m-1 ────────────────────────────────────────╯",
        "  ╭─ woven: ephemeral · 54 tokens ─────────────────────────────────────────────╮",
        "  │ <system-reminder> …                                                        │",
        "  │ It is noon.                                                                │",
        "  ╰────────────────────────────────────────────────────────────────────────────╯",
    ]


@pytest.mark.spec("woven.picture")
def test_what_was_woven_before_is_in_the_sum() -> None:
    sources = Sources()
    through(sources, sent(*FIRST))
    told = drawn(of_ann(sources, sent(*SECOND)))
    assert "1 woven again" in told
    assert told.count("─ woven: identity") == told.count("─ woven: ephemeral") == 1


@pytest.mark.spec("woven.cut")
def test_all_of_every_text_is_there_if_it_is_asked_for() -> None:
    long = "A long line of words that goes on. " * 30 + "THE END"
    last = of_ann(Sources(), sent(prompt(f"one\ntwo\n\n\tthree\n{long}")))
    short, full = drawn(last), drawn(last, full=True)
    assert "THE END" not in short
    assert "THE END" in full
    assert "    one\n    two\n    \n        three\n    A long" in full
    assert "Background notes that a proxy" in full
    assert "more rows" not in full


@pytest.mark.spec("woven.picture")
def test_a_request_that_went_up_unwoven_says_so() -> None:
    told = evolve(WovenIn("ann", 1, 2), missing="store", trouble="no answer from the store")
    last = last_of(Keep("s", told, sent()))
    assert "  went up unwoven: no answer from the store\n" in drawn(last)
    slow = last_of(Keep("s", evolve(told, missing="", decided="empty"), sent()))
    assert "  nothing is woven in\n  0 prompts, nothing new at the last one\n" in drawn(slow)
    assert "  trouble: no answer from the store\n" in drawn(slow)


@pytest.mark.spec("woven.view")
def test_tools_and_a_marker_on_all_are_shown_and_one_line_is_one_row() -> None:
    told = drawn(
        unwoven(
            tools=[{"name": f"Tool{number}", "cache_control": MARKER} for number in range(40)],
            cache_control={"type": "ephemeral", "ttl": "1h"},
            messages=[{"content": "日本語 " * 100}, {"role": "assistant", "content": []}],
        )
    )
    lines = told.splitlines()
    assert lines[1] == "  profile ann · 00:00:00 · no model · 2 messages · 4,423 bytes"
    assert "  ◆ cache 1h on the request as a whole" in lines
    assert any(line.startswith("40 tools ◆ cache 5m Tool0, Tool1") and line.endswith("…") for line in lines)
    assert [line for line in lines if line.startswith(("no role", "assistant"))] == [
        "no role 1",
        "assistant 2",
    ]
    assert max(map(cell_len, lines)) <= 80


@given(words=hostile, name=hostile, full=st.booleans(), width=st.integers(20, 100))
@pytest.mark.spec("woven.clean", "woven.cut")
def test_no_text_says_anything_to_the_terminal(words: str, name: str, *, full: bool, width: int) -> None:
    last = unwoven(
        model=name,
        tools=[{"name": name}],
        system=words,
        messages=[
            {"role": name, "content": [{"type": name, "text": words}, {"type": "text", "text": words}]}
        ],
    )
    last = evolve(last, session=name, woven=evolve(last.woven, profile=name, trouble=words, recall=name))
    told = drawn(last, full=full, width=width)
    assert not OBEYED & set(told)
    assert max(map(cell_len, told.splitlines())) <= width


@pytest.mark.spec("woven.clean")
def test_a_woven_text_says_nothing_to_the_terminal_either() -> None:
    sources = Sources(texts={"ann:mood": "Calm.\x1b]0;title\x07\x9b2J\rover"})
    told = drawn(of_ann(sources, sent()), full=True, color=True)
    assert "\x1b]" not in told
    assert not {"\x07", "\x9b", "\r"} & set(told)
    assert "\x1b[35m" in told, "the identity has a colour of its own"
