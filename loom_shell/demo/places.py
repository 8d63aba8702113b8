"""What was woven into a request, told from its bytes: what its client wrote, and what went up."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from attrs import frozen

from loom_core.wrapper import tokens

Block = Mapping[str, Any]


@frozen
class Part:
    """A block that is in the request as it went up, and not in its client's. `path`: `system[2]`."""

    path: str
    block: Block

    @property
    def text(self) -> str:
        return str(self.block.get("text", ""))

    @property
    def name(self) -> str:
        return "+ identity" if self.path.startswith("system") else "+ memories"


@frozen
class Place:
    """A line of the picture of a request: a place in it, what stands there, and what of it is ours."""

    name: str
    holds: str
    part: Part | None = None


def parts(written: bytes, up: bytes) -> tuple[Part, ...]:
    """The blocks that `up` has more than what the client wrote, in their order."""
    ours = dict(_contents(msgspec.json.decode(written)))
    return tuple(
        part
        for name, blocks in _contents(msgspec.json.decode(up))
        for part in _more(name, ours.get(name, []), blocks)
    )


def taken_out(up: bytes, woven: Sequence[Part]) -> bytes:
    """The request without these blocks, each with the comma before it."""
    for part in woven:
        up = up.replace(b"," + msgspec.json.encode(part.block), b"", 1)
    return up


def places(body: bytes, woven: Sequence[Part] = ()) -> Iterator[Place]:
    """The request's blocks in order. A message is one line, but for what is woven into it."""
    ours = {part.path: part for part in woven}
    asked = msgspec.json.decode(body)
    for name, blocks in _contents(asked):
        found = [ours.get(f"{name}[{number}]") for number in range(len(blocks))]
        own = [block for block, part in zip(blocks, found, strict=True) if part is None]
        if name == "system":
            yield from (Place(f"system[{number}]", _kinds([block])) for number, block in enumerate(own))
        else:
            message = asked["messages"][int(name[9:-1])]
            yield Place(name, f"{message['role']}: {_kinds(own)}")
        for part in filter(None, found):
            yield Place(part.name, f"{part.path}, about {tokens(part.text):,} tokens:", part)


def _contents(asked: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Block]]]:
    """Every list of blocks in a request, by its place."""
    yield "system", asked.get("system", [])
    for number, message in enumerate(asked["messages"]):
        yield f"messages[{number}]", message["content"]


def _more(name: str, written: Sequence[Block], up: Sequence[Block]) -> Iterator[Part]:
    rest = iter(written)
    next_written = next(rest, None)
    for number, block in enumerate(up):
        if block == next_written:
            next_written = next(rest, None)
        else:
            yield Part(f"{name}[{number}]", block)


def _kinds(blocks: Sequence[Block]) -> str:
    """`text, 2 tool_use (cache marker)`."""
    kinds = Counter(block["type"] for block in blocks)
    said = ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in kinds.items())
    return f"{said} (cache marker)" if any("cache_control" in block for block in blocks) else said
