"""What an answer says: frames or a JSON body -> message, usage, stop reason.

What cannot be understood is counted, never raised, and everything kept is bounded.
"""

from collections import defaultdict

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace as evolve

from loom_core import sse
from loom_core.reading import Json, as_count, as_dict, as_text

MAX_TEXT = 1024 * 1024
"""Characters kept of one answer's content, over all its blocks."""
MAX_BLOCKS = 4_096
"""Content blocks kept of one answer."""
MAX_NAME = 256
"""Characters kept of an id, a model's or a tool's name, a stop reason and the like."""


class Block(Struct, frozen=True):
    """One content block. `text`: what it says (text, thinking, or a tool's input as JSON text)."""

    kind: str
    text: str = ""
    id: str = ""
    name: str = ""
    signature: str = ""


class Seen(Struct, frozen=True):
    """What one answer said. Counts are tokens, None where upstream gave none.

    `odd` counts frames or bodies that could not be understood or were too long; `cut` says that
    content beyond `MAX_TEXT` was left out; `complete` that the message reached its end.
    """

    message_id: str = ""
    model: str = ""
    stop_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read: int | None = None
    cache_creation: int | None = None
    blocks: tuple[Block, ...] = ()
    error: str = ""
    frames: int = 0
    odd: int = 0
    cut: bool = False
    complete: bool = False

    @property
    def prompt_tokens(self) -> int | None:
        """All that the model read: new, written to the cache, and read from it."""
        given = (self.input_tokens, self.cache_creation, self.cache_read)
        return None if given == _NO_COUNTS else sum(count or 0 for count in given)


_NO_COUNTS = (None, None, None)
_MATTERS = frozenset(
    {
        b"message_start",
        b"content_block_start",
        b"content_block_delta",
        b"content_block_stop",
        b"message_delta",
        b"message_stop",
        b"error",
        b"",
    }
)
"""Frames whose JSON is decoded; others (ping, unknown ones) are counted only."""


class _Said(msgspec.Struct, gc=False):
    """The delta of most frames: more of a block's text."""

    text: str | UnsetType = UNSET
    partial_json: str | UnsetType = UNSET
    thinking: str | UnsetType = UNSET


class _Delta(msgspec.Struct, tag_field="type", tag="content_block_delta", gc=False):
    index: int
    delta: _Said


_DELTA = msgspec.json.Decoder(_Delta).decode
"""Reads the one frame that comes by the thousand, without building what nobody reads."""


def told(seen: Seen, frames: tuple[sse.Frame, ...], skipped: int, *, has_text: bool = True) -> Seen:
    """The answer so far, told on by more frames; what its blocks say only if it `has_text`."""
    story = _Story(seen)
    for frame in frames:
        if frame.event == b"content_block_delta":
            if has_text:
                story.read_delta(frame.data)
        elif frame.event in _MATTERS:
            story.read(frame.data)
    return story.told(frames=len(frames), odd=skipped)


class _Story:
    """The mutable inside of one fold: it begins and ends as a frozen `Seen`."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.blocks = list(seen.blocks)
        self.parts: defaultdict[int, list[str]] = defaultdict(list)
        self.room = MAX_TEXT - sum(len(block.text) + len(block.signature) for block in seen.blocks)
        self.cut = seen.cut
        self.odd = 0

    def told(self, *, frames: int, odd: int) -> Seen:
        for index, parts in self.parts.items():
            block = self.blocks[index]
            self.blocks[index] = evolve(block, text=block.text + "".join(parts))
        seen = self.seen
        return evolve(
            seen,
            blocks=tuple(self.blocks),
            frames=seen.frames + frames,
            odd=seen.odd + odd + self.odd,
            cut=self.cut,
        )

    def read_delta(self, data: bytes) -> None:
        """The short way for a delta that says more of a text; every other takes the long one."""
        try:
            told = _DELTA(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            self.read(data)
            return
        said = told.delta
        text = said.text or said.partial_json or said.thinking
        if text and 0 <= told.index < len(self.blocks):
            self._say(told.index, text)
        else:
            self.read(data)

    def read(self, data: bytes) -> None:
        try:
            told = msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            self.odd += 1
            return
        match told:
            case {"type": "content_block_delta", "index": int(index), "delta": dict(delta)}:
                self._delta(index, delta)
            case {"type": "content_block_start", "content_block": dict(block)}:
                self._start(block)
            case {"type": "message_start", "message": dict(message)}:
                self.seen = _with_message(self.seen, message)
            case {"type": "message_delta", "delta": dict(delta)}:
                # usage in message_delta is cumulative: the last value wins (API reference, Streaming).
                self.seen = _with_usage(_with_stop(self.seen, delta), as_dict(told.get("usage")))
            case {"type": "message_stop"}:
                self.seen = evolve(self.seen, complete=True)
            case {"type": "error", "error": dict(error)}:
                self.seen = evolve(self.seen, error=_name(error.get("type")))
            case {"type": "content_block_stop" | "ping"}:
                pass
            case _:
                self.odd += 1

    def _start(self, block: dict[str, Json]) -> None:
        if len(self.blocks) >= MAX_BLOCKS:
            self.cut = True
            return
        whole = _block(block)
        self.blocks.append(evolve(whole, text="", signature=self._kept(whole.signature)))
        self._say(len(self.blocks) - 1, whole.text)

    def _delta(self, index: int, delta: dict[str, Json]) -> None:
        if not 0 <= index < len(self.blocks):
            self.odd += 1
            return
        match delta:
            case {"text": str(text)} | {"partial_json": str(text)} | {"thinking": str(text)}:
                self._say(index, text)
            case {"type": "signature_delta", "signature": str(signature)}:
                block = self.blocks[index]
                kept = self._kept(signature)
                self.blocks[index] = evolve(block, signature=block.signature + kept)
            case _:
                pass

    def _say(self, index: int, text: str) -> None:
        if text:
            self.parts[index].append(self._kept(text))

    def _kept(self, text: str) -> str:
        if len(text) <= self.room:
            self.room -= len(text)
            return text
        kept = text[: max(0, self.room)]
        self.cut = self.cut or len(kept) < len(text)
        self.room -= len(kept)
        return kept


def from_json(data: bytes, *, has_text: bool = True) -> Seen:
    """A non-streamed answer: a message, a token count or an error."""
    try:
        told = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Seen(odd=1)
    match told:
        case {"type": "error", "error": dict(error)}:
            return Seen(error=_name(error.get("type")))
        case {"type": "message"}:
            blocks, cut = _within_room(told.get("content")) if has_text else ((), False)
            usage = as_dict(told.get("usage"))
            return Seen(
                message_id=_name(told.get("id")),
                model=_name(told.get("model")),
                stop_reason=_name(told.get("stop_reason")),
                input_tokens=as_count(usage.get("input_tokens")),
                output_tokens=as_count(usage.get("output_tokens")),
                cache_read=as_count(usage.get("cache_read_input_tokens")),
                cache_creation=as_count(usage.get("cache_creation_input_tokens")),
                blocks=blocks,
                cut=cut,
                complete=True,
            )
        case {"input_tokens": count}:
            return Seen(input_tokens=as_count(count), complete=True)
        case _:
            return Seen(complete=True)


def _within_room(content: Json) -> tuple[tuple[Block, ...], bool]:
    found = content if isinstance(content, list) else []
    blocks: list[Block] = []
    room, cut = MAX_TEXT, len(found) > MAX_BLOCKS
    for raw in found[:MAX_BLOCKS]:
        block = _block(as_dict(raw))
        size = len(block.text) + len(block.signature)
        if size <= room:
            room -= size
            blocks.append(block)
            continue
        text = block.text[:room]
        signature = block.signature[: room - len(text)]
        room -= len(text) + len(signature)
        cut = True
        blocks.append(evolve(block, text=text, signature=signature))
    return tuple(blocks), cut


def _block(block: dict[str, Json]) -> Block:
    given = block.get("input")
    text = as_text(block.get("text")) or as_text(block.get("thinking"))
    if not text and isinstance(given, dict) and given:
        text = msgspec.json.encode(given).decode()
    return Block(
        kind=_name(block.get("type")),
        text=text,
        id=_name(block.get("id")),
        name=_name(block.get("name")),
        signature=as_text(block.get("signature")),
    )


def _name(value: Json) -> str:
    return as_text(value)[:MAX_NAME]


def _with_message(seen: Seen, message: dict[str, Json]) -> Seen:
    named = evolve(seen, message_id=_name(message.get("id")), model=_name(message.get("model")))
    return _with_usage(named, as_dict(message.get("usage")))


def _with_stop(seen: Seen, told: dict[str, Json]) -> Seen:
    reason = _name(told.get("stop_reason"))
    return evolve(seen, stop_reason=reason) if reason else seen


def _with_usage(seen: Seen, usage: dict[str, Json]) -> Seen:
    """Only figures that are there replace those from before."""
    given, said = as_count(usage.get("input_tokens")), as_count(usage.get("output_tokens"))
    read = as_count(usage.get("cache_read_input_tokens"))
    made = as_count(usage.get("cache_creation_input_tokens"))
    return evolve(
        seen,
        input_tokens=seen.input_tokens if given is None else given,
        output_tokens=seen.output_tokens if said is None else said,
        cache_read=seen.cache_read if read is None else read,
        cache_creation=seen.cache_creation if made is None else made,
    )
