"""A transcript line as it may be published: without metadata blocks, and without the canary anywhere.

A client writes a block into its transcript in many places: in a message, in the attachment that tells of a
hook, in what the hook printed, in its request to upstream, which may be JSON in a string of JSON. So it is
looked for in every string, at any depth. Ranges of bytes are cut, all else of the line stays (contracts
sections 2 and 4):

* a block goes, with its label and wrapper if it has them, whether a label stands before it or not;
* of a block that has no end, or no beginning, nobody knows how far it goes: its whole string becomes `MARK`;
* the canary as a word that somebody wrote becomes `MARK`.
"""

import re
from collections.abc import Iterator

import msgspec

from loom_core import jsontext, wire
from loom_core.block import CANARY, MAX_BLOCK, blocks, decoded
from loom_core.reading import as_dict
from loom_core.wire import UNREADABLE, Edit, Range

MARK = b"[loom metadata]"
"""What stands in the place of something that cannot be cut; it reads the same at any depth of JSON."""
MAX_DEPTH = 8
"""How deep JSON in strings of JSON is looked into; a deeper string becomes `MARK`."""
MAX_OBJECTS, MAX_TRIES = 32, 16
"""Objects around a canary in one string, and braces tried for each, so that the time stays linear."""

_SPACE = rb"(?:[ \t\r\n]|\\++[nrt])*"
_OPENING = re.compile(re.escape(CANARY) + _SPACE + rb"\{")
_CLOSING = re.compile(rb"\}" + _SPACE + re.escape(CANARY))
_BEHIND = re.compile(_SPACE + re.escape(CANARY) + rb"(?!" + _SPACE + rb"\{)")
_REPEATED = re.compile(rb'canary\\*"[ \t]*:[ \t]*\\*"\Z')
_ENDS = re.compile(rb"\}" + _SPACE + rb"\Z")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TOKEN = re.compile(_STRING.pattern + rb"|[{}]", re.DOTALL)
_LETTER = re.compile(rb"\\u00[3-7]")
_HIDDEN = re.compile(b"".join(rb"(?:%c|(?<!\\)\\++u00(?i:%02x))" % (code, code) for code in CANARY))
"""The canary with letters of it written as escapes."""
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
"""An escape; the group is half of a pair of surrogates that stands alone."""
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_JSON = msgspec.json.Decoder(msgspec.Raw)


def scrubbed(raw: bytes, *, as_json: bool) -> bytes:
    """The line without blocks and canaries; the very same object if it has none. JSON stays JSON."""
    if CANARY not in raw and not _is_hidden(raw):
        return raw
    clean = raw
    if CANARY in raw:
        clean = wire.apply(raw, _in_json(raw, 0) if as_json else _in_words(raw))
    if CANARY in clean or _is_hidden(clean):
        # Escapes spell it, or a cut has joined it: the strings go that hold it.
        clean = wire.apply(clean, list(_marked(clean))) if as_json else MARK
    return clean if not as_json or is_json(clean) else b'"' + MARK + b'"'


def _is_hidden(raw: bytes) -> bool:
    """Whether the canary is there once its escapes are read; clients do not write letters as escapes."""
    return _LETTER.search(raw) is not None and _HIDDEN.search(raw) is not None


def is_json(text: bytes) -> bool:
    """Whether this is one JSON value, of any kind."""
    return _is_read(text) or (_HALF.search(text) is not None and _is_read(paired(text)))


def _is_read(text: bytes) -> bool:
    try:
        _JSON.decode(text)
    except UNREADABLE:
        return False
    return True


def paired(text: bytes) -> bytes:
    """JSON for msgspec to read: halves of pairs of surrogates, which JSON may hold, as U+FFFD."""
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], text)


def _marked(raw: bytes) -> Iterator[Edit]:
    """Edits that leave nothing of the strings that hold the canary, however it is written."""
    done = 0
    while (found := _HIDDEN.search(raw, done)) is not None:
        string = _string_at(raw, found.start(), done)
        yield Edit(string.start + 1, string.end - 1, MARK)
        done = string.end


def _string_at(raw: bytes, at: int, done: int) -> Range:
    """The string around `at`; up to `done`, where no string goes on, it was looked through before."""
    for token in _STRING.finditer(raw, done):
        if token.end() > at:
            return Range(token.start(), token.end())
    return Range(0, len(raw))  # Not in JSON: there a word is in a string.


def _in_json(raw: bytes, depth: int) -> list[Edit]:
    """What goes of a JSON value, in order."""
    edits: list[Edit] = []
    done = objects = 0
    while (at := raw.find(CANARY, done)) >= 0:
        string = _string_at(raw, at, done)
        done = string.end
        if string.end - at == len(CANARY) + 1 and _REPEATED.search(raw, max(0, at - 32), at):
            # The block is a value of its own, not text.
            objects += 1
            block = _object_around(raw, Range(0, len(raw)), at) if objects <= MAX_OBJECTS else None
            if block is not None:
                edits = [edit for edit in edits if edit.end <= block.start]
                edits.append(Edit(block.start, block.end, b'"' + MARK + b'"'))
                done = block.end
                continue
        edits += _in_string(raw, string, depth)
    return edits


def _in_string(raw: bytes, string: Range, depth: int) -> list[Edit]:
    token = jsontext.read(raw, string.start, string.end)
    edits = _in_text(token.text, depth + 1)
    places = iter(token.places([edge for edit in edits for edge in (edit.start, edit.end)]))
    return [Edit(next(places), next(places), _escaped(edit.new)) for edit in edits]


def _escaped(new: bytes) -> bytes:
    return msgspec.json.encode(new.decode())[1:-1]


def _in_text(text: bytes, depth: int) -> list[Edit]:
    """What goes of a text, which may be JSON in its turn."""
    if text.lstrip()[:1] not in {b"{", b"[", b'"'} or not is_json(text):
        return _in_words(text)
    if depth > MAX_DEPTH:
        return [Edit(0, len(text), MARK)]
    return _in_json(text, depth)


def _in_words(text: bytes) -> list[Edit]:
    """What goes of words: blocks behind a label first, as they are cut out of requests."""
    edits: list[Edit] = []
    done = 0
    for start, end in (*blocks(text).cuts, (len(text), len(text))):
        between = _without_label(text, Range(done, start))
        if between is None:
            return [Edit(0, len(text), MARK)]
        edits += between
        if start < end:
            edits.append(Edit(start, end))
        done = end
    # Two pieces may spell the canary once what was between them is gone.
    return [Edit(0, len(text), MARK)] if CANARY in wire.apply(text, edits) else edits


def _without_label(text: bytes, piece: Range) -> list[Edit] | None:
    """What goes of a piece without labels; None if there is a block in it that cannot be cut."""
    edits: list[Edit] = []
    done, objects = piece.start, 0
    while (at := text.find(CANARY, done, piece.end)) >= 0:
        if opening := _OPENING.match(text, at, piece.end):
            closing = _CLOSING.search(text, opening.end() - 1, min(piece.end, at + MAX_BLOCK))
            if closing is None or _OPENING.search(text, opening.end(), closing.start()):
                return None
            done = closing.end()
            edits.append(Edit(at, done))
        elif _REPEATED.search(text, max(piece.start, at - 32), at):
            objects += 1
            block = _object_around(text, piece, at) if objects <= MAX_OBJECTS else None
            if block is None:
                return None
            behind = _BEHIND.match(text, block.end, piece.end)
            done = behind.end() if behind else block.end
            edits = [edit for edit in edits if edit.end <= block.start]
            edits.append(Edit(block.start, done))
        elif _ENDS.search(text, max(piece.start, at - 32), at):
            return None
        else:
            done = at + len(CANARY)
            edits.append(Edit(at, done, MARK))
    return edits


def _object_around(text: bytes, piece: Range, at: int) -> Range | None:
    """The JSON object around a canary that has it under `canary`."""
    brace = at
    for _ in range(MAX_TRIES):
        brace = text.rfind(b"{", max(piece.start, at - MAX_BLOCK), brace)
        if brace < 0:
            return None
        end = _matching(text, brace, min(piece.end, brace + MAX_BLOCK))
        if end > at and _repeats(text[brace:end]):
            return Range(brace, end)
    return None


def _matching(text: bytes, brace: int, limit: int) -> int:
    """The byte after the brace that closes this one; 0 if there is none."""
    depth = 0
    for token in _TOKEN.finditer(text, brace, limit):
        depth += {b"{": 1, b"}": -1}.get(token.group(), 0)
        if depth == 0:
            return token.end()
    return 0


def _repeats(value: bytes) -> bool:
    try:
        return bool(as_dict(decoded(value)).get("canary") == CANARY.decode())
    except UNREADABLE:
        return False
