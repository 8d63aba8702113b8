"""The picture of a request, and what was woven into it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.demo.places import Part, parts, places, taken_out

TEXT = {"type": "text", "text": "x"}
MARKED = {**TEXT, "cache_control": {"type": "ephemeral"}}
RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "x"}
USE = {"type": "tool_use", "id": "a", "name": "b", "input": {}}
OURS = {"type": "text", "text": "I am 糸."}
ALSO_OURS = {"type": "text", "text": "<system-reminder>\nTea.\n</system-reminder>"}
TALK = [("user", [TEXT]), ("assistant", [TEXT, USE, USE]), ("user", [RESULT, RESULT])]


def _body(system: list[Any], talk: list[tuple[str, list[Any]]]) -> bytes:
    messages = [{"role": role, "content": content} for role, content in talk]
    asked = {"model": "m", "system": system, "messages": messages}
    return json.dumps(asked, separators=(",", ":"), ensure_ascii=False).encode()


WRITTEN = _body([TEXT, MARKED], TALK)
UP = _body([TEXT, MARKED, OURS], [("user", [TEXT, ALSO_OURS]), *TALK[1:]])
WOVEN = (Part("system[2]", OURS), Part("messages[0][1]", ALSO_OURS))


@pytest.mark.spec("demo.weaving")
def test_what_was_woven_is_found_by_its_place_and_named_after_it() -> None:
    assert parts(WRITTEN, UP) == WOVEN
    assert [part.name for part in WOVEN] == ["+ identity", "+ memories"]
    assert [part.text for part in WOVEN] == [OURS["text"], ALSO_OURS["text"]]
    assert parts(WRITTEN, WRITTEN) == ()


@pytest.mark.spec("demo.weaving")
def test_the_picture_has_a_line_for_each_system_block_and_message_and_for_each_part() -> None:
    before = [(place.name, place.holds) for place in places(WRITTEN)]
    assert before == [
        ("system[0]", "text"),
        ("system[1]", "text (cache marker)"),
        ("messages[0]", "user: text"),
        ("messages[1]", "assistant: text, 2 tool_use"),
        ("messages[2]", "user: 2 tool_result"),
    ]
    after = list(places(UP, WOVEN))
    assert [(place.name, place.holds) for place in after if not place.part] == before
    assert [place.name for place in after] == [
        *("system[0]", "system[1]", "+ identity", "messages[0]", "+ memories", "messages[1]", "messages[2]")
    ]
    assert [place.holds for place in after if place.part] == [
        "system[2], about 3 tokens:",
        "messages[0][1], about 11 tokens:",
    ]


@pytest.mark.spec("demo.woven-equal")
def test_without_the_woven_blocks_the_request_is_its_clients_to_the_byte() -> None:
    assert taken_out(UP, WOVEN) == WRITTEN
    assert taken_out(UP.replace(b'"m"', b'"n"'), WOVEN) != WRITTEN
    assert taken_out(UP, WOVEN[:1]) != WRITTEN


@pytest.mark.spec("demo.woven-equal")
@given(st.lists(st.sampled_from([TEXT, MARKED, USE]), max_size=4), st.integers(0, 4))
def test_a_block_that_was_woven_in_anywhere_is_found_again(own: list[Mapping[str, Any]], at: int) -> None:
    written = _body([], [("user", [RESULT, *own])])
    place = min(at, len(own)) + 1
    up = _body([], [("user", [*[RESULT, *own][:place], OURS, *own[place - 1 :]])])
    found = parts(written, up)
    assert found == (Part(f"messages[0][{place}]", OURS),)
    assert taken_out(up, found) == written
