"""Where the Loom would weave into a request, later. Today it makes no edits at all."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen


@frozen
class Place:
    """A line of the picture of a request: a place in it, what stands there, and whether it is to come."""

    name: str
    holds: str
    later: bool = False


def places(system: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]) -> Iterator[Place]:
    """The request's blocks in order, with what would be woven between them."""
    for number, block in enumerate(system):
        yield Place(f"system[{number}]", _kinds([block]))
    yield Place("+ identity", "after the client's last block, without a marker of its own", later=True)
    anchor = newest_prompt(messages)
    for number, message in enumerate(messages):
        yield Place(f"messages[{number}]", f"{message['role']}: {_kinds(message['content'])}")
        if number == anchor:
            yield Place("+ memories", "after the newest prompt, and replayed there ever after", later=True)


def newest_prompt(messages: Sequence[Mapping[str, Any]]) -> int | None:
    """The last message the user typed: one with tool results is never woven into."""
    typed = [
        number
        for number, message in enumerate(messages)
        if message["role"] == "user" and all(block["type"] != "tool_result" for block in message["content"])
    ]
    return typed[-1] if typed else None


def _kinds(blocks: Sequence[Mapping[str, Any]]) -> str:
    """`text, 2 tool_use (cache marker)`."""
    kinds: dict[str, int] = {}
    for block in blocks:
        kinds[block["type"]] = kinds.get(block["type"], 0) + 1
    said = ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in kinds.items())
    return f"{said} (cache marker)" if any("cache_control" in block for block in blocks) else said
