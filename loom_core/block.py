"""The metadata blocks inside one text: where they are, what they say, and what goes with them.

The forms are those of contracts section 2, as clients 1.0.128 to 2.1.328 render them: a hook's label,
then the hooks' words, in a wrapper or not; several such pieces are joined by blank lines. A block is

* the canary, one JSON object that repeats it, and the canary again, as our hook writes it;
* or, the old form, one such object with the canary anywhere before or in it;
* or, broken, what stands between two canaries like our hook's, whatever it is.

Only behind a label is it one: anywhere else the canary is a word that somebody wrote.
"""

import re
from bisect import bisect_right
from itertools import accumulate

import msgspec
from msgspec import Struct

from loom_core.reading import Json
from loom_core.wire import UNREADABLE

CANARY = b"LOOM_METADATA_UlVCQkVSRFVDSw"
LABEL_WITHIN = 100
"""Characters before the canary in which the hook's label must stand."""
MAX_BLOCK = 65_536
"""Bytes of a block; a longer stretch is none."""
MAX_BROKEN = 8_192
"""Bytes between the canaries of a broken block; our hook writes fewer than 4,096."""
MAX_ROUNDS = 8
"""How often a text is looked through again, since what is left may hold a block in its turn."""

_LABEL = re.compile(
    rb"(?<![A-Za-z])[A-Za-z]+(?::[\w-]+)? hook additional context:[ \n]?|<user-prompt-submit-hook>\n?"
)
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}]', re.DOTALL)
_OPENING = re.compile(re.escape(CANARY) + rb"[ \t\n]*(?=\{)")
_CLOSING = re.compile(rb"[ \t\n]*" + re.escape(CANARY) + rb"(?! ?\{)")
_CLOSE_HOOK = re.compile(rb"\s*</user-prompt-submit-hook>")
_OPEN_REMINDER = b"<system-reminder>"
_CLOSE_REMINDER = re.compile(rb"\s*</system-reminder>")
_ENDS_PIECE = re.compile(rb"\n\n|\s*(?:\Z|</system-reminder>)")
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
"""An escape; the group is half of a pair of surrogates that stands alone."""
_HALF = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


class _Marked(msgspec.Struct):
    canary: str


_MARKED = msgspec.json.Decoder(_Marked)

Cut = tuple[int, int]
"""What goes: from here up to there."""


class Blocks(Struct, frozen=True):
    """The blocks of a text: the ranges that go, in order and apart, and the text without them.

    `said` are their JSON objects in order, None for a broken one. `left` counts labels behind
    which a canary had to stay.
    """

    cuts: tuple[Cut, ...]
    said: tuple[bytes | None, ...]
    rest: bytes
    left: int


def blocks(text: bytes) -> Blocks:
    """Find every block, until the rest holds none: cutting a second time cuts nothing."""
    kept, rest = [(0, len(text))], text
    said: list[tuple[int, bytes | None]] = []
    for _ in range(MAX_ROUNDS):
        found = _Round(rest)
        if found.spent:
            break
        if not found.cuts:
            words = sorted(said, key=lambda block: block[0])
            return Blocks(_between(kept, len(text)), tuple(word for _, word in words), rest, found.left)
        starts = [0, *accumulate(end - start for start, end in kept)]
        for at, word in found.said:
            piece = bisect_right(starts, at, hi=len(kept)) - 1
            said.append((kept[piece][0] + at - starts[piece], word))
        kept = _carved(kept, found.cuts)
        rest = b"".join(text[start:end] for start, end in kept)
    # Nested too deep, or too costly to tell: all of it stays, so that it does so the next time too.
    return Blocks((), (), text, 1)


def decoded(value: bytes) -> Json:
    """The JSON value, lone surrogates replaced; raises what msgspec raises if it is none."""
    try:
        return msgspec.json.decode(value)
    except UNREADABLE:
        if _HALF.search(value) is None:
            raise
        whole = _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], value)
        return msgspec.json.decode(whole.decode("utf-8", "surrogatepass").encode("utf-8", "replace"))


class _Round:
    """The mutable inside of one look through a text."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.cuts: list[Cut] = []
        self.said: list[tuple[int, bytes | None]] = []
        self.floor = 0
        """Where the last cut ended."""
        self.closer = -1
        """The last place found where an object ends and a canary follows."""
        self.efforts = 4 * len(text) + MAX_BLOCK
        """Bytes that may yet be tried, so that the time is linear whatever stands there."""
        labels: set[int] = set()
        at = text.find(CANARY)
        while at >= 0 and not self.spent:
            label = self._label_before(at)
            if label is None or not self._try(label, at):
                labels |= {label.start()} if label else set()
                at = text.find(CANARY, at + len(CANARY))
            else:
                at = text.find(CANARY, self.floor)
        self.left = len(labels)

    @property
    def spent(self) -> bool:
        return self.efforts < 0

    def _label_before(self, at: int) -> re.Match[bytes] | None:
        """The last label that stands whole within reach before the canary."""
        start = max(self.floor, at - LABEL_WITHIN)
        missing = _following(self.text, start, at)
        while missing and start > self.floor:  # Bytes that are no character of their own.
            before = max(self.floor, start - missing)
            missing, start = _following(self.text, before, start), before
        last = None
        for label in _LABEL.finditer(self.text, start, at):
            last = label
        return last

    def _try(self, label: re.Match[bytes], at: int) -> bool:
        found = self._object(label.end(), at)
        if found is not None:
            start, end = found
            closing = _CLOSING.match(self.text, end)
            cut = (min(at, start), closing.end() if closing else end)
        elif (broken := self._broken(at)) is not None:
            cut = (at, broken)
        else:
            return False
        self.said.append((cut[0], self.text[found[0] : found[1]] if found else None))
        self.cuts.append(_with_wrapping(self.text, label, cut, self.floor))
        self.floor = self.cuts[-1][1]
        return True

    def _object(self, start: int, at: int) -> Cut | None:
        """The object that the canary stands before or in, if it repeats the canary."""
        text, next_to = self.text, at + len(CANARY)
        opening = _OPENING.match(text, at)
        if opening is not None and (end := self._quick_end(opening.end())) is not None:
            return opening.end(), end
        brace = text.find(b"{", start, at)
        while brace >= 0:
            end = self._matching_brace(brace)
            if end is not None and end > at and self._repeats(brace, end):
                return brace, end
            brace = text.find(b"{", end if end is not None and end <= at else brace + 1, at)
        following = text.find(CANARY, next_to)
        brace = text.find(b"{", next_to, max(following, next_to))
        if brace < 0 or _LABEL.search(text, next_to, brace):
            return None
        end = self._matching_brace(brace)
        return (brace, end) if end is not None and self._repeats(brace, end) else None

    def _quick_end(self, brace: int) -> int | None:
        """The end of our hook's object, told by the canary behind it."""
        if self.closer < brace:
            closer = self.text.find(b"} " + CANARY, brace)
            self.closer = closer if closer >= 0 else len(self.text)
        end = self.closer + 1
        return (
            end if end - brace <= MAX_BLOCK and end <= len(self.text) and self._repeats(brace, end) else None
        )

    def _repeats(self, start: int, end: int) -> bool:
        """Whether this is one JSON object with the canary in it."""
        self.efforts -= end - start
        value = self.text[start:end]
        try:
            return _MARKED.decode(value).canary == CANARY.decode()
        except msgspec.ValidationError:
            return False
        except UNREADABLE:
            pass
        try:
            return bool(decoded(value).get("canary") == CANARY.decode())
        except UNREADABLE:
            return False

    def _matching_brace(self, brace: int) -> int | None:
        depth = 0
        for token in _TOKEN.finditer(self.text, brace, brace + MAX_BLOCK):
            depth += {b"{": 1, b"}": -1}.get(token.group(), 0)
            if depth == 0:
                self.efforts -= token.end() - brace
                return token.end()
        self.efforts -= min(MAX_BLOCK, len(self.text) - brace)
        return None

    def _broken(self, at: int) -> int | None:
        """The end of a block that is broken inside, but says where it begins and ends."""
        if _OPENING.match(self.text, at) is None:
            return None
        self.efforts -= MAX_BROKEN // 8
        blank = self.text.find(b"\n\n", at, at + MAX_BROKEN)
        closing = self.text.find(b" " + CANARY, at, blank if blank >= 0 else at + MAX_BROKEN)
        if closing < 0 or _LABEL.search(self.text, at, closing):
            return None
        return closing + 1 + len(CANARY)


def _following(text: bytes, start: int, end: int) -> int:
    """How many bytes go on with a character (10xxxxxx in UTF-8)."""
    near = text[start:end]
    return 0 if near.isascii() else sum(0x80 <= byte < 0xC0 for byte in near)


def _with_wrapping(text: bytes, label: re.Match[bytes], cut: Cut, floor: int) -> Cut:
    """Widen a block to its label, wrapper and joint, where nothing else is between these."""
    start, end = cut
    within = max(floor, label.end())
    alone = not text[within:start].strip()
    if alone and label.group().startswith(b"<"):
        closing = _CLOSE_HOOK.match(text, end)
        if closing is not None:
            return _with_joint(text, (label.start(), closing.end()), floor)
    elif alone and _ENDS_PIECE.match(text, end):
        start = opening = label.start()
        while opening > floor and text[opening - 1] in b" \n":
            opening -= 1
        closing = _CLOSE_REMINDER.match(text, end)
        if closing is not None and text.endswith(_OPEN_REMINDER, floor, opening):
            start, end = opening - len(_OPEN_REMINDER), closing.end()
        return _with_joint(text, (start, end), floor)
    # Other words stay in this piece, and the line that the block took goes.
    if text.endswith(b"\n", within, start):
        return start - 1, end
    return (
        (start, end + 1)
        if text.startswith(b"\n", end) and not text.startswith(b"\n\n", end)
        else (start, end)
    )


def _with_joint(text: bytes, cut: Cut, floor: int) -> Cut:
    """Pieces are joined by a blank line or a new one: the joint before goes too, else the one after."""
    start, end = cut
    if text.endswith(b"\n\n", floor, start):
        return start - 2, end
    if text.endswith(b"\n", floor, start) and not text.endswith(_OPEN_REMINDER, floor, start - 1):
        return start - 1, end
    return start, end + (2 if text.startswith(b"\n\n", end) else text.startswith(b"\n", end))


def _between(kept: list[Cut], size: int) -> tuple[Cut, ...]:
    """The ranges between those kept, which ascend."""
    edges = [0, *(edge for piece in kept for edge in piece), size]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((start, end) for start, end in pairs if start < end)


def _carved(kept: list[Cut], cuts: list[Cut]) -> list[Cut]:
    """What is kept of a text once more is cut out of what was kept of it."""
    left: list[Cut] = []
    origin, done = 0, 0  # Where the piece begins in the rest; where the last cut ended there.
    todo = iter(cuts)
    cut = next(todo, None)
    for start, end in kept:
        size, shift = origin + end - start, start - origin
        done = max(done, origin)
        while cut is not None and cut[0] < size:
            if cut[0] > done:
                left.append((done + shift, cut[0] + shift))
            done = min(cut[1], size)
            if cut[1] > size:
                break
            cut = next(todo, None)
        if done < size:
            left.append((done + shift, size + shift))
        origin = size
    return left
