"""The metadata block in a request: found everywhere in the history, and cut.

Rules of contracts section 2: only text of role user or system can hold a block, never an assistant
message, a tool_use or a tool_result. Cutting is a pure function of the content. A text block that
held nothing else goes, a message that held nothing else goes, and a cache marker that stood on
either moves to the last block before that can take it. Assistant messages are read-only, so it
moves past them; a marker it would have to pass serves in its place.

A client sends every block of a conversation again with each call: looking goes on from what is known of
earlier calls (`prefix.Memo`).
"""

from bisect import bisect_right
from collections.abc import Callable

from msgspec import Struct, field

from loom_core import canary, jsontext, wire
from loom_core.asked import Behind
from loom_core.block import CANARY, blocks
from loom_core.metadata import Metadata, read
from loom_core.prefix import Memo, Skimmed, staying, whole
from loom_core.wire import Edit, Item, Message, Range

MARKABLE = frozenset({"text", "image", "document", "search_result", "tool_result"})
"""Blocks of a user or system message that take a cache marker (API reference, Prompt caching)."""


class Found(Struct, frozen=True):
    """What a body held: the edits that cut it, the last block's words, and counts.

    `last` is None too when the last block was broken: one before it speaks for an earlier turn.
    `behind`: where in the body, cut, the messages lie that an earlier request had too.
    """

    edits: tuple[Edit, ...] = ()
    last: Metadata | None = None
    cut: int = 0
    left: int = 0
    notes: tuple[str, ...] = ()
    behind: Behind | None = None


NOTHING = Found()
_UNREAD = "a metadata canary in a message that cannot be read: left as it is"


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


class _Before(Struct, frozen=True):
    """What the first messages came to: `gone` of them went, and with the edits they are so much `shorter`.

    `last` are the words of the last block in them, if there was one.
    """

    edits: tuple[Edit, ...] = ()
    gone: int = 0
    shorter: int = 0
    has_said: bool = False
    last: Metadata | None = None
    went: int = 0
    broken: int = 0
    left: int = 0
    unread: int = 0


MEMO: Memo[_Before] = Memo()


def find(body: bytes, whose: Callable[[], str] = str) -> Found:
    """Look through a Messages-API body; a new one without the canary is not even parsed. Never raises.

    `whose` gives the session under which it is remembered what earlier calls came to, if anything is.
    """
    session = whose() if MEMO else ""
    skimmed = MEMO.resume(session, body) if MEMO else None
    if skimmed is None and not canary.is_in(body):
        return NOTHING
    session = session or whose()
    skimmed = skimmed or whole(body)
    if skimmed is None:
        return Found(notes=("a metadata canary in a body that is not a Messages-API request: left as it is",))
    search = _Search(body, skimmed)
    found = search.found()
    if found is None:
        # A marker has to move to a message that is known only as a whole.
        search = _Search(body, whole(body) or skimmed)
        found = search.found() or NOTHING
    search.keep(session)
    return found


class _Search:
    """The mutable inside of one `find`: it looks at the messages that are not known."""

    def __init__(self, body: bytes, skimmed: Skimmed[_Before]) -> None:
        self.body = body
        self.skimmed = skimmed
        self.shape = skimmed.shape
        self.messages = skimmed.ranges
        self.known = skimmed.known
        self.before = self.known.value if self.known else _Before()
        self.cuts: dict[int, _Cut] = {}
        self.gone: set[int] = set()
        self.unread: list[int] = []
        self.notes: list[str] = []
        self.read: dict[int, Message | None] = {}

    def found(self) -> Found | None:
        """What there is; None if more of the request has to be looked at."""
        starts = [at.start for at in self.messages]
        at = self.body.find(CANARY, starts[0]) if starts else -1
        while at >= 0:
            index = bisect_right(starts, at) - 1
            if at < self.messages[index].end:
                self._look(index)
                at = self.messages[index].end
            at = self.body.find(CANARY, at + 1)
        self._keep_the_first()
        moved = self._moved_markers()
        return None if moved is None else self._told([*self._edits(len(self.messages)), *moved])

    def keep(self, session: str) -> None:
        """Keep what the messages came to that the next call is likely to send again."""
        count = min(
            [staying(self.skimmed), *(index for index, cut in self.cuts.items() if cut.marks or cut.stays)]
        )
        while count and count - 1 in self.gone:
            count -= 1
        if not count:
            return
        cuts = [cut for index, cut in self.cuts.items() if index < count]
        said, before = [word for cut in cuts for word in cut.said], self.before
        edits = sorted(self._edits(count), key=lambda edit: edit.start)
        value = _Before(
            edits=(*before.edits, *edits),
            gone=before.gone + sum(index < count for index in self.gone),
            shorter=before.shorter + sum(it.end - it.start - len(it.new) for it in edits),
            has_said=before.has_said or bool(said),
            last=_words(said) if said else before.last,
            went=before.went + len(said),
            broken=before.broken + said.count(None),
            left=before.left + sum(sum(cut.left) for cut in cuts),
            unread=before.unread + sum(index < count for index in self.unread),
        )
        MEMO.keep(session, self.body, self.skimmed, count, value)

    def _edits(self, count: int) -> list[Edit]:
        """The edits of the first `count` messages."""
        edits = [
            edit
            for index, cut in self.cuts.items()
            if index < count and index not in self.gone
            for edit in cut.edits
        ]
        messages, gone = self.messages[:count], {index for index in self.gone if index < count}
        if self.known:
            # What is known ends with a message that stays.
            end = self.known.end
            messages, gone = [Range(end, end), *messages], {index + 1 for index in gone}
        return edits + wire.without(messages, frozenset(gone))

    def _told(self, edits: list[Edit]) -> Found:
        before = self.before
        said = [word for cut in self.cuts.values() for word in cut.said]
        went = [word for cut in self.cuts.values() if not cut.stays for word in cut.said]
        left = before.left + sum(sum(cut.left) for cut in self.cuts.values())
        notes = [_UNREAD] * (before.unread + len(self.unread)) + self.notes
        if broken := before.broken + went.count(None):
            notes.append(f"broken metadata blocks, cut: {broken}")
        if left:
            notes.append(f"metadata blocks that could not be told from other words, left: {left}")
        last = _words(said) if said else before.last
        left += sum(len(cut.said) for cut in self.cuts.values() if cut.stays)
        edits.sort(key=lambda edit: edit.start)
        behind = None
        if (known := self.known) is not None:
            behind = Behind(known.start + 1, known.end - before.shorter, known.count - before.gone)
        return Found((*before.edits, *edits), last, before.went + len(went), left, tuple(notes), behind)

    def _look(self, index: int) -> None:
        """Cut what is in one message."""
        message = self._message(index)
        if message is None:
            self.unread.append(index)
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
        if self.known or 0 not in self.gone:
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

    def _moved_markers(self) -> list[Edit] | None:
        edits: list[Edit] = []
        last = None
        for index, cut in self.cuts.items():
            for number, marker in cut.marks:
                moved = self._moved(index, number, marker, last)
                if moved is None:
                    return None
                edits += moved
                last = (index, number)
        return edits

    def _moved(
        self, index: int, number: int, marker: bytes, last: tuple[int, int] | None
    ) -> list[Edit] | None:
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
        if self.known and before == 0:
            return None
        self.notes.append("a cache marker on a metadata block had no block to move to: dropped")
        return []


def _words(said: list[bytes | None]) -> Metadata | None:
    """The words of the last block; of a broken one none."""
    return read(said[-1]) if said[-1] is not None else None


def _marked(message: Message, item: Item, at: Range, marker: bytes) -> list[Edit]:
    """Put a marker on a block, or on a string, which becomes a one-block list."""
    if message.is_string:
        opening, closing = b'[{"type":"text","text":', b',"cache_control":' + marker + b"}]"
        return [Edit(at.start, at.start, opening), Edit(at.end, at.end, closing)]
    if item.marker is not None:
        return [Edit(item.marker.start, item.marker.end, marker)]
    return [Edit(at.end - 1, at.end - 1, b',"cache_control":' + marker)]
