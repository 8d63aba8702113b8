import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.turn_block import (
    CANARY,
    LIMIT,
    ROOM,
    clipped,
    fresh_ids,
    is_word,
    joined,
    output,
    size,
    text,
    whole,
)

CHANCE = bytes(range(1, 33))
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=300)
NASTY = st.sampled_from(
    ["😀", "é", "\ud800", '"', "\\", "{", "}", "<", "\x00", "\u2028", CANARY, "</system-reminder>"]
)
PROMPTS = st.one_of(
    ANY_TEXT, st.lists(NASTY, max_size=20).map("".join), st.builds(str.__mul__, NASTY, st.just(5000))
)


def block(**fields: str) -> str:
    return text("s-1", fresh_ids(CHANCE, ""), (1, 2), fields, {"fqdn": "a.b", "ram": 1})


def read(written: str) -> dict[str, object]:
    assert written.startswith(f"{CANARY} {{")
    assert written.endswith(f"}} {CANARY}")
    told = json.loads(written[len(CANARY) : -len(CANARY)])
    assert isinstance(told, dict)
    assert told["canary"] == CANARY
    return told


@pytest.mark.spec("hook.block")
def test_a_block_is_canary_object_canary_with_the_ids_first() -> None:
    told = read(block(prompt="hi", prompt_id="p", source="me", cwd="/x", transcript_path="/x/t.jsonl"))
    assert list(told) == [
        *("canary", "session_id", "trace_id", "traceparent", "prompt_id", "hook_span_id", "started_at"),
        *(
            "hook_started_at",
            "hook_ended_at",
            "sent_at",
            "source",
            "cwd",
            "transcript_path",
            "machine",
            "prompt",
        ),
    ]
    assert told["traceparent"] == f"00-{told['trace_id']}-1112131415161718-01"
    assert (told["trace_id"], told["hook_span_id"]) == (CHANCE[:16].hex(), CHANCE[24:].hex())
    assert (told["started_at"], told["hook_started_at"], told["hook_ended_at"], told["sent_at"]) == (
        1,
        1,
        2,
        2,
    )
    assert (told["prompt"], told["machine"]) == ("hi", {"fqdn": "a.b", "ram": 1})


def test_what_is_empty_is_left_out() -> None:
    told = read(text("s", fresh_ids(CHANCE, ""), (1, 2), {"prompt": "", "cwd": ""}, {}))
    assert not {"prompt", "cwd", "machine", "source", "prompt_id", "parent_span_id"} & set(told)


@pytest.mark.spec("hook.block-size", "hook.block-read")
@given(prompt=PROMPTS, other=PROMPTS, session=st.text(min_size=1, max_size=200))
def test_any_block_is_small_and_reads_back(prompt: str, other: str, session: str) -> None:
    fields = {"prompt": prompt, "cwd": other, "transcript_path": other, "source": other, "prompt_id": other}
    facts: dict[str, str | int] = {"fqdn": "h" * 255, "ram": 1 << 60, "uptime": 1 << 40, "disk_free": 1 << 60}
    written = text(session, fresh_ids(CHANCE, f"00-{TRACE}-{SPAN}-01"), (1 << 62, 1 << 62), fields, facts)
    assert len(written.encode()) < LIMIT
    assert written.count(CANARY) == 3
    assert "<" not in written
    assert "\n" not in written
    told = read(written)
    assert told["session_id"] == session
    if size(prompt) < 100:
        assert told.get("prompt", "") == whole(prompt)
    assert json.loads(output("Stop", written))["hookSpecificOutput"]["additionalContext"] == written


@pytest.mark.spec("hook.block-size")
@pytest.mark.parametrize("char", ["a", "é", "語", "😀", "\x01", '"', "<"])
def test_a_long_prompt_is_cut_visibly_and_fills_the_block(char: str) -> None:
    written = block(prompt=char * 9000)
    told = str(read(written)["prompt"])
    kept = told.partition("…")[0]
    assert told == f"{char * len(kept)}… ({9000 - len(kept)} more characters)"
    assert LIMIT - 16 <= len(written.encode()) < LIMIT


@given(PROMPTS, st.integers(40, 500))
def test_what_is_clipped_fits_and_is_a_beginning(value: str, room: int) -> None:
    cut = clipped(value, room)
    assert size(cut) <= room
    assert cut == value or value.startswith(cut.removesuffix("…"))


@pytest.mark.spec("hook.traceparent")
def test_a_valid_traceparent_is_joined() -> None:
    ids = fresh_ids(CHANCE, f"00-{TRACE}-{SPAN}-03")
    assert ids["trace_id"] == TRACE
    assert ids["parent_span_id"] == SPAN
    assert ids["traceparent"] == f"00-{TRACE}-{CHANCE[16:24].hex()}-01"
    assert joined(f" 42-{TRACE}-{SPAN}-01-what-comes-later\n") == (TRACE, SPAN)


@pytest.mark.spec("hook.traceparent")
@pytest.mark.parametrize(
    "wrong",
    [
        *("", "x", f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-x", f"00-{TRACE.upper()}-{SPAN}-01"),
        *(
            f"00-{'0' * 32}-{SPAN}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"00-{TRACE}-{SPAN}",
            f"00-{TRACE}-{SPAN}-1",
        ),
        *(f"42-{TRACE}-{SPAN}-01x", f"00-{TRACE}{SPAN}-01", f"42-{TRACE}-{SPAN}-01-{'x' * 600}"),
    ],
)
def test_an_invalid_traceparent_is_none(wrong: str) -> None:
    assert joined(wrong) is None
    assert "parent_span_id" not in fresh_ids(CHANCE, wrong)


@given(st.text())
def test_no_traceparent_raises(wild: str) -> None:
    joined(wild)


def test_ids_are_never_zeros() -> None:
    ids = fresh_ids(bytes(32), "")
    assert joined(ids["traceparent"]) == (ids["trace_id"], "0" * 15 + "1")


def test_a_session_that_is_no_word_is_known() -> None:
    assert is_word("4dc776f6-4073")
    assert not any(map(is_word, ("", "a b", "a\r\n", "a\n", "é")))


def test_the_room_of_all_fields_leaves_some_for_the_prompt() -> None:
    assert sum(ROOM.values()) < LIMIT / 2
