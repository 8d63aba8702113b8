"""The picture of a request, and where something would be woven."""

from collections.abc import Mapping
from typing import Any

import pytest

from loom_shell.demo.places import newest_prompt, places

TEXT = {"type": "text", "text": "x"}
MARKED = {**TEXT, "cache_control": {"type": "ephemeral"}}
RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "x"}
USE = {"type": "tool_use", "id": "a", "name": "b", "input": {}}


def _said(role: str, *blocks: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"role": role, "content": list(blocks)}


@pytest.mark.spec("demo.weaving")
def test_identity_stands_after_the_clients_system_blocks_and_memories_after_the_newest_prompt() -> None:
    messages = [_said("user", TEXT), _said("assistant", TEXT, USE, USE), _said("user", RESULT, RESULT)]
    shown = [(place.name, place.holds) for place in places([TEXT, MARKED], messages)]
    assert [name for name, _ in shown] == [
        "system[0]",
        "system[1]",
        "+ identity",
        "messages[0]",
        "+ memories",
        "messages[1]",
        "messages[2]",
    ]
    assert dict(shown)["system[1]"] == "text (cache marker)"
    assert dict(shown)["messages[1]"] == "assistant: text, 2 tool_use"
    assert [place.name for place in places([TEXT, MARKED], messages) if place.later] == [
        "+ identity",
        "+ memories",
    ]


def test_a_message_with_tool_results_is_no_prompt() -> None:
    assert newest_prompt([_said("user", TEXT), _said("assistant", TEXT), _said("user", TEXT)]) == 2
    assert newest_prompt([_said("user", TEXT), _said("assistant", USE), _said("user", RESULT, TEXT)]) == 0
    assert newest_prompt([_said("assistant", TEXT)]) is None
    assert newest_prompt([]) is None
