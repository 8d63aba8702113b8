"""Conversations as clients send them, drawn by hypothesis, and what weaving is compared with.

A conversation is a list of messages in one form: content as a list of blocks, no markers. `Sent` says how one
call writes it down: which lone text blocks are strings, where the markers are, how the JSON is spaced.
"""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct

from loom_core import wire
from loom_core.block import CANARY
from loom_core.reading import Json

Message = dict[str, Any]
Style = tuple[str, str]
SCOPE = "0123456789abcdef0123456789abcdef"
MARKER = {"type": "ephemeral", "ttl": "1h"}
STYLES: tuple[Style, ...] = ((",", ":"), (", ", ": "), (" ,\n", " :\t"))
PARTS = (
    *("<", "/", ">", "system", "-", "_", " ", "reminder", "<system-reminder>", "</system-reminder>", "&lt;"),
    *(
        "</ SYSTEM-Reminder\n>",
        "<user-prompt-submit-hook>",
        "\n",
        "\n\n",
        "Human",
        "Assistant",
        ":",
        "\n\nHuman:",
    ),
    *(
        CANARY.decode(),
        CANARY.decode()[:14],
        CANARY.decode()[14:],
        "\r",
        "\u200b",
        "\u202e",
        "\ud83d",
        "\udc4d",
    ),
    *(
        "\0",
        "\x1b[2J",
        "\u2028",
        "\N{GRINNING FACE}",
        "ü",
        '"',
        "\\",
        "words ",
        "\ufeff",
        "\U000e0041",
        "\x85",
    ),
)
"""What hostile texts are put together from."""

hostile = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)
plain = st.sampled_from(
    ["hi", "continue", 'a "quoted" word\n', "über \N{GRINNING FACE}", "cache_control", "</x>"]
)


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def prompt(*words: str) -> Message:
    return {"role": "user", "content": [text(it) for it in words]}


def answer(words: str) -> Message:
    return {"role": "assistant", "content": [text(words)]}


def asks_tool(name: str) -> Message:
    use = {"type": "tool_use", "id": name, "name": "Read", "input": {"b": [1.0, 1e-7, None], "a": name}}
    return {"role": "assistant", "content": [{"type": "thinking", "thinking": name, "signature": "s="}, use]}


def result(name: str, *more: str) -> Message:
    done = {"type": "tool_result", "tool_use_id": name, "content": [text(name)]}
    return {"role": "user", "content": [done, *map(text, more)]}


PICTURE: Message = {
    "role": "user",
    "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}],
}

_turn = st.one_of(
    plain.map(lambda it: [prompt(it), answer(it)]),
    plain.map(lambda it: [prompt("<system-reminder>x</system-reminder>", it), answer("ok")]),
    plain.map(lambda it: [prompt(it), {"role": "system", "content": [text(it)]}, answer("ok")]),
    plain.map(lambda it: [prompt(it), asks_tool(it), result(it, "and"), answer("done")]),
    st.just([PICTURE, answer("a picture")]),
    st.just([{"role": "user", "content": []}, {"role": "user", "content": [{"type": "what"}]}, answer("?")]),
)
_end = st.one_of(
    st.just([]),
    plain.map(lambda it: [prompt(it)]),
    plain.map(lambda it: [prompt(it), {"role": "system", "content": [text("noted")]}]),
    plain.map(lambda it: [prompt(it), asks_tool(it), result(it)]),
    st.just([PICTURE]),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    turns = draw(st.lists(_turn, max_size=5))
    return [message for turn in [*turns, draw(_end)] for message in turn]


class Sent(Struct, frozen=True):
    """How one call writes a conversation down. `strings`: every how many-th lone text is a string."""

    strings: int = 1
    markers: tuple[int, ...] = ()
    style: Style = STYLES[0]
    system: Any = None
    ascii: bool = False
    first: bool = True


_systems = st.sampled_from(
    [
        "none",
        None,
        "",
        "Be brief.",
        [],
        [text("one")],
        [text("one"), {**text("two"), "cache_control": MARKER}],
        5,
    ]
)
sent = st.builds(
    Sent,
    strings=st.integers(1, 3),
    markers=st.lists(st.integers(0, 12), max_size=3).map(tuple),
    style=st.sampled_from(STYLES),
    system=_systems,
    ascii=st.booleans(),
    first=st.booleans(),
)


def body(messages: Sequence[Message], how: Sent = Sent()) -> bytes:  # noqa: B008, frozen
    """The request; `markers` count blocks from the end of the conversation."""
    written = [dict(message, content=[dict(block) for block in message["content"]]) for message in messages]
    blocks = [block for message in written for block in message["content"]]
    for marker in how.markers:
        if marker < len(blocks):
            blocks[-1 - marker]["cache_control"] = MARKER
    for number, message in enumerate(written):
        content = message["content"]
        if number % how.strings == 0 and len(content) == 1 and set(content[0]) == {"type", "text"}:
            message["content"] = content[0]["text"]
    top: dict[str, Any] = {
        "model": "m",
        "messages": written,
        "max_tokens": 5,
        "x": [1.0, {"cache_control": 1}],
    }
    if how.system != "none":
        top["system"] = how.system
    if not how.first:
        top = dict(sorted(top.items(), key=lambda item: item[0] == "messages"))
    return json.dumps(top, ensure_ascii=how.ascii, separators=how.style).encode()


def flat(request: bytes) -> list[Any]:
    """Role and block without marker, a string being one text block (weaving.md, "The invariant")."""
    return [
        (message["role"], {name: value for name, value in block.items() if name != "cache_control"})
        for message in json.loads(request)["messages"]
        for block in _listed(message["content"])
    ]


def markers(request: bytes) -> list[Any]:
    """Every block that bears a marker, with it, in order."""
    asked = json.loads(request)
    contents = [asked.get("system"), *(message["content"] for message in asked["messages"])]
    return [
        block
        for content in contents
        if isinstance(content, list)
        for block in content
        if isinstance(block, dict) and "cache_control" in block
    ]


def without(request: bytes, texts: Sequence[str]) -> Json:
    """The request as parsed, with content in one form and the blocks with these texts taken out."""
    asked = json.loads(request)
    for message in asked["messages"]:
        message["content"] = [it for it in _listed(message["content"]) if it.get("text") not in texts]
    if "system" in asked and not isinstance(asked["system"], int):
        asked["system"] = [it for it in _listed(asked["system"] or []) if it["text"] not in texts]
    return {name: value for name, value in asked.items() if name != "system" or value}


def restored(woven: bytes, edits: Sequence[wire.Edit], client: bytes) -> bytes:
    """The woven body with the new bytes of each edit taken out again, and the old put back."""
    parts: list[bytes] = []
    at = done = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        kept = at + edit.start - done
        parts += (woven[at:kept], client[edit.start : edit.end])
        assert woven.startswith(edit.new, kept)
        at, done = kept + len(edit.new), edit.end
    return b"".join([*parts, woven[at:]])


def _listed(content: Json) -> list[Any]:
    return [text(content)] if isinstance(content, str) else content
