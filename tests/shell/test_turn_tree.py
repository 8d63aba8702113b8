import re

import pytest
from msgspec.structs import replace as evolve

from loom_shell.turn_tree import shown
from tests.support.turns_picture import (
    COMMAND,
    PICTURE,
    call,
    drawn,
    finished,
    picture,
    running,
    span,
    traces,
)

TURN = (("input.value", "Why?"), ("loom.turn.outcome", "complete"))


@pytest.mark.spec("turns.tree", "turns.totals", "turns.prices-least")
def test_a_turn_is_a_tree_of_its_calls_tools_and_subagents() -> None:
    assert drawn(finished()).splitlines() == [
        "● Why is the warp test red? Mend it, please.",
        "session 5e551071 · 10:00:00 · 13.8 s",
        "3 calls · 47.0k in (55% cached) · 1,040 out · ≥ $0.1552",
        "├── hook:collect-metadata · 41 ms",
        "├── claude-opus-4-5 · 2.8 s, first byte 820 ms",
        "│   18.2k in (0% cached) · 212 out · ≥ $0.1191",
        "├── claude-haiku-4-5 (auxiliary) · 500 ms, first byte 400 ms",
        "│   310 in (0% cached) · 9 out · $0.0004",
        "├── ⚙ Read · 40 ms",
        "├── ✗ Bash · 3.3 s: exit code 1",
        "├── Explore agent:a1 · 2.8 s",
        "│   1 call · 9,420 in (83% cached) · 188 out · ≥ $0.0036",
        "│   └── claude-haiku-4-5 · 2.6 s, first byte 400 ms",
        "│       9,420 in (83% cached) · 188 out · ≥ $0.0036",
        "└── claude-opus-4-5 · 4.5 s, first byte 510 ms",
        "    19.4k in (93% cached) · 640 out · ≥ $0.0325",
    ]


@pytest.mark.spec("turns.running")
def test_a_turn_without_its_own_span_is_running() -> None:
    assert drawn(running()).splitlines()[:3] == [
        "◌ Now the weft, too.",
        "session 5e551071 · 10:00:20 · running",
        "1 call · 20.2k in (95% cached) · 71 out · ≥ $0.0168",
    ]
    (one,) = shown(traces(running())[0])
    assert one.is_running
    over = [*running(), span("user-turn:5e551071", 1, 0, (20, 22), TURN, trace=2)]
    (one,) = shown(traces(over)[0])
    assert not one.is_running


@pytest.mark.spec("turns.running")
def test_a_turn_of_which_only_the_hook_is_known_is_running() -> None:
    (one,) = shown(traces([span("hook:collect-metadata", 2, 1, (0, 1))])[0])
    assert one.is_running


@pytest.mark.spec("turns.tree")
def test_two_turns_of_one_trace_are_two_trees() -> None:
    roots = [span("user-turn:5e551071", number, 77, (number, number + 1), TURN) for number in (2, 1)]
    assert [one.id[-1] for one in shown(traces(roots)[0])] == ["1", "2"]


@pytest.mark.spec("turns.tree")
def test_a_call_outside_of_a_turn_is_a_tree_too() -> None:
    request, chat = call(1, 0, (0, 1), (10, 0, 0, 5), prompt="Hello")
    alone = span(request.name, 1, 0, (0, 1), (("loom.call.kind", "main"),))
    assert drawn([alone, chat]).splitlines()[:2] == [
        "○ Hello",
        "session 5e551071 · 10:00:00 · outside of a turn",
    ]


@pytest.mark.spec("turns.tree")
def test_what_failed_says_how() -> None:
    refused = (("loom.call.kind", "main"), ("loom.turn.call_index", 1), ("http.response.status_code", 529))
    spans = [
        span("loom: POST /v1/messages", 2, 1, (0, 1), refused, error="status 529: overloaded_error"),
        span("user-turn:5e551071", 1, 0, (0, 2), (("loom.turn.outcome", "abandoned: silence"),), error="no"),
    ]
    lines = drawn(spans).splitlines()
    assert lines[0] == "✗ (prompt not kept)"
    assert lines[1].endswith("2.0 s · abandoned: silence")
    assert lines[2] == "└── POST /v1/messages 529 · 1.0 s: status 529: overloaded_error"


@pytest.mark.spec("turns.totals", "turns.tree")
def test_a_count_of_tokens_is_no_part_of_the_totals() -> None:
    counted = (
        ("loom.call.kind", "count_tokens"),
        ("loom.turn.call_index", 1),
        ("loom.counted_tokens", 1_234),
    )
    spans = [
        span("loom: POST /v1/messages/count_tokens", 2, 1, (0, 1), counted),
        span("user-turn:5e551071", 1, 0, (0, 2), TURN),
    ]
    assert drawn(spans).splitlines()[2:] == ["└── count_tokens · 1.0 s · 1,234 tokens"]


@pytest.mark.spec("turns.prices-unknown", "turns.prices-least")
def test_a_model_without_a_price_has_no_cost_and_makes_the_sum_the_least() -> None:
    spans = [
        *call(2, 1, (0, 1), (1_000, 0, 0, 20), model="claude-simulated-1"),
        *call(4, 1, (1, 2), (1_000, 0, 0, 20), model="claude-opus-5"),
        span("user-turn:5e551071", 1, 0, (0, 2), TURN),
    ]
    lines = drawn(spans).splitlines()
    assert lines[2] == "2 calls · 2,000 in (0% cached) · 40 out · ≥ $0.0055"
    assert "$" not in lines[4]
    assert lines[6].endswith("20 out · $0.0055")
    assert "$" not in drawn([*spans[:2], spans[4]])


@pytest.mark.spec("turns.clean")
def test_what_others_said_cannot_write_on_the_terminal() -> None:
    bad = "\x1b]0;owned\x07 [red]x[/red] \u202e\r\n\x9b2J \udcff" + "z" * 400
    chat = call(2, 1, (0, 1), (1, 0, 0, 1), model=bad, kind=bad)
    tool = span(f"execute_tool {bad}", 5, 1, (0, 1), error=bad)
    agent = span(f"agent:{bad}", 6, 1, (0, 1), (("agent.name", bad),))
    root = span("user-turn:x", 1, 0, (0, 2), (("input.value", bad), ("loom.turn.outcome", bad)), error=bad)
    told = drawn([*chat, tool, agent, root, *call(2, 1, (0, 1), (1, 0, 0, 1), prompt=bad, trace=2)])
    assert all(char.isprintable() for char in told.replace("\n", ""))
    assert "[red]x[/red]" in told
    assert len(told) < 4_000


@pytest.mark.spec("turns.tree")
def test_a_line_fits_80_columns_even_with_a_long_prompt() -> None:
    root = span("user-turn:x", 1, 0, (0, 2), (("input.value", "word " * 90),))
    first, second = drawn([root]).splitlines()
    assert len(first) <= 80
    assert re.fullmatch(r"● (word )+wo?r?d?…", first)
    assert second.startswith("session ")


def test_odd_spans_do_not_break_a_tree() -> None:
    odd = (("gen_ai.usage.input_tokens", -5), ("gen_ai.response.time_to_first_chunk", "soon"))
    spans = [
        span("user-turn:x", 1, 1, (0, 2)),
        span("a", 2, 3, (0, 1)),
        span("b", 3, 2, (0, 1)),
        span("loom: POST /v1/messages", 4, 9, (10**12, 10**12), (("loom.call.kind", "main"),)),
        span("chat ", 5, 4, (0, 1), odd),
    ]
    assert "outside of a turn" in drawn(spans)


@pytest.mark.spec("turns.picture")
def test_the_picture_in_the_readme_is_what_the_code_draws() -> None:
    found = PICTURE.read_text(encoding="utf-8") if PICTURE.exists() else ""
    # What it says, not how rich of this day draws it.
    assert words(found) == words(picture()), f"write it anew: {COMMAND}"


def words(svg: str) -> list[str]:
    """The text of a picture, piece by piece."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.spec("miss.shown")
def test_a_miss_of_the_cache_is_told_on_the_calls_line() -> None:
    request, chat = call(2, 1, (0, 1), (50_000, 0, 50_000, 20))
    words = "system block 2 changed (client)"
    why = (("loom.cache.miss", words), ("loom.cache.miss_tokens", 46_000), ("loom.cache.miss_cause", "x"))
    missed = evolve(chat, attributes=chat.attributes + why)
    lines = drawn([request, missed, span("user-turn:5e551071", 1, 0, (0, 2), TURN)]).splitlines()
    assert lines[-1].strip() == f"cache missed 46.0k: {words}"
    odd = evolve(chat, attributes=(*chat.attributes, ("loom.cache.miss", "tool \x1b[2J"), why[1]))
    assert "\x1b" not in drawn([request, odd])
