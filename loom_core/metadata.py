"""The metadata block in a request: found everywhere in the history, cut, and read.

Rules of contracts section 2: only text of role user or system can hold a block, never an assistant
message, a tool_use or a tool_result. Cutting is a pure function of the content. A text block that
held nothing else goes, a message that held nothing else goes, and a cache marker that stood on
either moves to the last block before that can take it. Assistant messages are read-only, so it
moves past them; a marker it would have to pass serves in its place.
"""

import re
from bisect import bisect_right

from msgspec import Struct, field

from loom_core import jsontext, wire
from loom_core.block import CANARY, blocks, decoded
from loom_core.reading import Json, as_count, as_dict, as_text
from loom_core.trace import is_id, traceparent
from loom_core.wire import Edit, Item, Message, Range

MAX_PROMPT = 8_192
MAX_PATH = 4_096
MAX_WORD = 256
"""Characters: a longer prompt is cut there, a longer path or word reads as ""."""
MAX_FACTS = 16
"""Facts about the machine that are read."""
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
MARKABLE = frozenset({"text", "image", "document", "search_result", "tool_result"})
"""Blocks of a user or system message that take a cache marker (API reference, Prompt caching)."""


class Metadata(Struct, frozen=True):
    """What the hook said, checked: "" and 0 for what is absent or wrong.

    Ids of spans and traces are lower-case hex and not zero; `span_id` is that of the turn's root,
    out of `traceparent`, and `parent_span_id` that of the span above the root, if there is one.
    Times are nanoseconds since the epoch.
    """

    session_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    traceparent: str = ""
    parent_span_id: str = ""
    prompt_id: str = ""
    prompt: str = ""
    transcript_path: str = ""
    source: str = ""
    cwd: str = ""
    hook_span_id: str = ""
    started_at: int = 0
    hook_started_at: int = 0
    hook_ended_at: int = 0
    sent_at: int = 0
    machine: tuple[tuple[str, str | int], ...] = ()


class Found(Struct, frozen=True):
    """What a body held: the edits that cut it, the last block's words, and counts.

    `last` is None too when the last block was broken: one before it speaks for an earlier turn.
    """

    edits: tuple[Edit, ...] = ()
    last: Metadata | None = None
    cut: int = 0
    left: int = 0
    notes: tuple[str, ...] = ()


NOTHING = Found()


class _Cut(Struct, frozen=True):
    """What goes of one message: of the blocks `gone` nothing stays, and `marks` are their markers.

    `stays`: it would go, but has to stay.
    """

    edits: list[Edit] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    marks: list[tuple[int, bytes]] = field(default_factory=list)
    said: list[bytes | None] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    stays: bool = False


def find(body: bytes) -> Found:
    """Look through a Messages-API body; one without the canary is not even parsed. Never raises."""
    if CANARY not in body:
        return NOTHING
    shape, top = wire.shaped(body)
    listed = wire.elements(shape, top["messages"]) if top and "messages" in top else None
    if listed is None:
        return Found(notes=("a metadata canary in a body that is not a Messages-API request: left as it is",))
    return _Search(body, shape, listed).found()


class _Search:
    """The mutable inside of one `find`."""

    def __init__(self, body: bytes, shape: bytes, messages: list[Range]) -> None:
        self.body = body
        self.shape = shape
        self.messages = messages
        self.cuts: dict[int, _Cut] = {}
        self.gone: set[int] = set()
        self.notes: list[str] = []
        self.read: dict[int, Message | None] = {}

    def found(self) -> Found:
        starts = [at.start for at in self.messages]
        at = self.body.find(CANARY)
        while at >= 0:
            index = bisect_right(starts, at) - 1
            if index >= 0 and at < self.messages[index].end:
                self._look(index)
                at = self.messages[index].end
            at = self.body.find(CANARY, at + 1)
        self._keep_the_first()
        edits = [edit for index, cut in self.cuts.items() if index not in self.gone for edit in cut.edits]
        edits += wire.without(self.messages, frozenset(self.gone))
        edits += self._moved_markers()
        return self._told(edits)

    def _told(self, edits: list[Edit]) -> Found:
        said = [word for cut in self.cuts.values() for word in cut.said]
        went = [word for cut in self.cuts.values() if not cut.stays for word in cut.said]
        left = sum(sum(cut.left) for cut in self.cuts.values())
        if broken := went.count(None):
            self.notes.append(f"broken metadata blocks, cut: {broken}")
        if left:
            self.notes.append(f"metadata blocks that could not be told from other words, left: {left}")
        last = read(said[-1]) if said and said[-1] is not None else None
        left += sum(len(cut.said) for cut in self.cuts.values() if cut.stays)
        return Found(tuple(edits), last, len(went), left, tuple(self.notes))

    def _look(self, index: int) -> None:
        """Cut what is in one message."""
        message = self._message(index)
        if message is None:
            self.notes.append("a metadata canary in a message that cannot be read: left as it is")
        elif message.role in {"user", "system"}:
            cut = _Cut()
            for number, at in enumerate(message.items):
                if self.body.find(CANARY, at.start, at.end) >= 0:
                    self._text(cut, number, wire.item(self.shape, message, at))
            if cut.gone and len(cut.gone) == len(message.items):
                self.gone.add(index)
            elif not message.is_string:
                cut.edits.extend(wire.without(message.items, frozenset(cut.gone)))
            self.cuts[index] = cut

    def _text(self, cut: _Cut, number: int, item: Item) -> None:
        """Cut what is in one block, if it is text."""
        if item.kind != "text" or item.text is None:
            return
        token = jsontext.read(self.body, item.text.start, item.text.end)
        found = blocks(token.text)
        cut.said.extend(found.said)
        cut.left.append(found.left)
        if found.cuts and not found.rest.strip():
            cut.gone.add(number)
            if item.marker is not None and item.marked:
                cut.marks.append((number, item.marker.of(self.body)))
            return
        places = iter(token.places([edge for piece in found.cuts for edge in piece]))
        cut.edits.extend(Edit(start, end) for start, end in zip(places, places, strict=True))

    def _keep_the_first(self) -> None:
        """A conversation has messages, and begins with the user's: else upstream refuses it."""
        if 0 not in self.gone:
            return
        begins = next((index for index in range(len(self.messages)) if index not in self.gone), None)
        if begins is not None and (self._role(0) != "user" or self._role(begins) == "user"):
            return
        self.gone.discard(0)
        self.cuts[0] = _Cut(said=self.cuts[0].said, stays=True)
        self.notes.append("a metadata block is the message a request has to begin with: left as it is")

    def _role(self, index: int) -> str:
        message = self._message(index)
        return message.role if message else ""

    def _message(self, index: int) -> Message | None:
        if index not in self.read:
            self.read[index] = wire.message(self.shape, self.messages[index])
        return self.read[index]

    def _moved_markers(self) -> list[Edit]:
        edits: list[Edit] = []
        last = None
        for index, cut in self.cuts.items():
            for number, marker in cut.marks:
                edits += self._moved(index, number, marker, last)
                last = (index, number)
        return edits

    def _moved(self, index: int, number: int, marker: bytes, last: tuple[int, int] | None) -> list[Edit]:
        """Put a marker on the nearest block before that can take it, unless one is on the way there.

        `last` is where the marker before this one stood: that one has gone the rest of the way.
        """
        for before in range(index, -1, -1):
            message = self._message(before)
            if message is None:
                break
            for block in range((number if before == index else len(message.items)) - 1, -1, -1):
                if (before, block) == last:
                    return []
                if before in self.gone or (before in self.cuts and block in self.cuts[before].gone):
                    continue
                item = wire.item(self.shape, message, message.items[block])
                if item.marked:
                    return []
                empty = item.text is not None and item.text.end - item.text.start == 2
                if message.role in {"user", "system"} and item.kind in MARKABLE and not empty:
                    return _marked(message, item, message.items[block], marker)
        self.notes.append("a cache marker on a metadata block had no block to move to: dropped")
        return []


def _marked(message: Message, item: Item, at: Range, marker: bytes) -> list[Edit]:
    """Put a marker on a block, or on a string, which becomes a one-block list."""
    if message.is_string:
        opening, closing = b'[{"type":"text","text":', b',"cache_control":' + marker + b"}]"
        return [Edit(at.start, at.start, opening), Edit(at.end, at.end, closing)]
    if item.marker is not None:
        return [Edit(item.marker.start, item.marker.end, marker)]
    return [Edit(at.end - 1, at.end - 1, b',"cache_control":' + marker)]


def read(block: bytes) -> Metadata | None:
    """The words of a block: untrusted, so each is checked; None if it is no JSON object."""
    try:
        values = as_dict(decoded(block))
    except wire.UNREADABLE:
        return None
    prompt = as_text(values.get("prompt"))
    given = as_text(values.get("traceparent"))[:MAX_WORD].strip(" \t")
    parent = traceparent(given)
    trace_id = as_text(values.get("trace_id"))
    return Metadata(
        session_id=_word(values.get("session_id")),
        # The traceparent says which span the turn's root is, and so in which trace.
        trace_id=parent.trace_id if parent else trace_id if is_id(trace_id, 16) else "",
        span_id=parent.span_id if parent else "",
        traceparent=given if parent else "",
        parent_span_id=_span_id(values.get("parent_span_id")),
        prompt_id=_word(values.get("prompt_id")),
        # In layouts A and B the client writes its own closing tag so.
        prompt=prompt.replace("&lt;/system-reminder>", "</system-reminder>")[:MAX_PROMPT],
        transcript_path=_line(values.get("transcript_path"), MAX_PATH),
        source=_line(values.get("source"), MAX_WORD),
        cwd=_line(values.get("cwd"), MAX_PATH),
        hook_span_id=_span_id(values.get("hook_span_id")),
        started_at=_time(values.get("started_at")),
        hook_started_at=_time(values.get("hook_started_at")),
        hook_ended_at=_time(values.get("hook_ended_at")),
        sent_at=_time(values.get("sent_at")),
        machine=_facts(as_dict(values.get("machine"))),
    )


def _span_id(value: Json) -> str:
    text = as_text(value)
    return text if is_id(text, 8) else ""


def _word(value: Json) -> str:
    """An id that may become a key or a label: no white space, nothing that ends a line."""
    text = as_text(value)
    return text if _WORD.fullmatch(text) else ""


def _line(value: Json, limit: int) -> str:
    text = as_text(value)
    return "" if len(text) > limit or _CONTROL.search(text) else text


def _time(value: Json) -> int:
    time = as_count(value) or 0
    return time if time < 1 << 63 else 0


def _facts(machine: dict[str, Json]) -> tuple[tuple[str, str | int], ...]:
    found: list[tuple[str, str | int]] = []
    for name, value in list(machine.items())[:MAX_FACTS]:
        if isinstance(value, str):
            found.append((name[:64], value[:MAX_WORD]))
        elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 63:
            found.append((name[:64], int(value)))
    return tuple(found)
