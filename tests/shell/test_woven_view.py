import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.profile import Life
from loom_core.woven_blocks import WovenBlock
from loom_shell.woven_view import UNREAD, Block, view
from tests.support.conversations import Message, Sent, body, conversations, sent

MARKER = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def seen(**fields: Any) -> Any:  # noqa: ANN401  # JSON
    return view(json.dumps(fields).encode(), ())


def shown(blocks: tuple[Block, ...]) -> list[tuple[str, str, str]]:
    return [(block.kind, block.text, block.marker) for block in blocks]


@pytest.mark.spec("woven.view")
def test_a_request_is_read_block_by_block() -> None:
    told = seen(
        model="m",
        tools=[{"name": "Bash"}, {"type": "web_search", "cache_control": HOUR}, 5],
        system=[{"type": "text", "text": "Be brief.", "cache_control": MARKER}],
        messages=[
            {"role": "user", "content": "Tea?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                    {"type": "tool_use", "id": "t", "name": "Bash", "input": {"c": "ls"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "content": [{"type": "text", "text": "done", "cache_control": HOUR}],
                    },
                    {"type": "text", "text": "And?", "cache_control": None},
                ],
            },
        ],
    )
    assert (told.model, told.tools, told.tools_marker, told.marker) == (
        "m",
        ("Bash", "web_search", ""),
        "1h",
        "",
    )
    assert shown(told.system) == [("text", "Be brief.", "5m")]
    assert [(message.role, shown(message.blocks)) for message in told.messages] == [
        ("user", [("text", "Tea?", "")]),
        ("assistant", [("thinking", "Hm.", ""), ("tool_use", 'Bash {"c":"ls"}', "")]),
        ("user", [("tool_result", "done", "1h"), ("text", "And?", "")]),
    ]


@pytest.mark.spec("woven.view")
def test_a_marker_on_the_whole_request_and_a_system_of_words() -> None:
    told = seen(system="Be brief.", messages=[], cache_control=HOUR)
    assert (told.marker, shown(told.system), told.messages) == ("1h", [("text", "Be brief.", "")], ())


@given(conversations(), sent)
@pytest.mark.spec("woven.view")
def test_every_block_is_there_and_is_where_it_says(messages: list[Message], how: Sent) -> None:
    told = body(messages, how)
    found = view(told, ())
    assert [it.role for it in found.messages] == [message["role"] for message in messages]
    for message, one in zip(messages, found.messages, strict=True):
        assert [it.kind for it in one.blocks] == [it["type"] for it in message["content"]]
        for block, it in zip(message["content"], one.blocks, strict=True):
            raw = json.loads(told[it.start : it.end])
            bare = {**raw, "cache_control": 0} if isinstance(raw, dict) else raw
            assert bare in ({**block, "cache_control": 0}, block.get("text"))


@pytest.mark.spec("woven.view")
def test_the_looms_blocks_are_told_from_the_clients() -> None:
    told = body([{"role": "user", "content": [{"type": "text", "text": it} for it in ("Tea?", "Ann.")]}])
    start = told.index(b'{"type":"text","text":"Ann."}')
    ours = WovenBlock(Life.STICKY, start, start + 29, 1)
    (message,) = view(told, (ours,)).messages
    assert [block.woven for block in message.blocks] == [None, ours]


@pytest.mark.parametrize("told", [b"", b"[]", b"{", b'{"messages":5,"system":6}', b"[" * 9_000, b"\xff"])
@pytest.mark.spec("woven.view")
def test_what_is_no_request_has_nothing_in_it(told: bytes) -> None:
    found = view(told, ())
    assert (found.messages, found.system, found.tools) == ((), (), ())


@pytest.mark.spec("woven.view")
def test_what_cannot_be_read_is_said_to_be_so() -> None:
    odd = b'{"messages":[5,{"role":"user"},{"role":7,"content":[5,{"type":4},' + b"[" * 5_000 + b"]" * 5_000
    found = view(odd + b',{"type":"text","text":"\\ud800x"}]}]}', ())
    kinds = [[block.kind for block in message.blocks] for message in found.messages]
    assert kinds in ([], [[UNREAD], [UNREAD], [UNREAD, UNREAD, UNREAD, "text"]])
    surrogate = view(b'{"messages":[{"role":"user","content":"\\ud800x"}]}', ())
    assert [block.text for block in surrogate.messages[0].blocks] == ["\ufffdx"]


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode))
@pytest.mark.spec("woven.view")
def test_reading_never_raises(told: bytes) -> None:
    assert view(told, ()) == view(told, ())
    within = (
        b'{"messages":[{"role":"user","content":' + told + b'}],"system":' + told + b',"tools":' + told + b"}"
    )
    assert view(within, ()) == view(within, ())
