"""Where a text holds secrets: known ones, and what the core's redaction finds, however they are escaped."""

import json
import re
from collections.abc import Iterator
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

from loom_core import redaction
from loom_core.redaction import marks_in
from loom_shell.replay.escapes import (
    DEPTHS,
    LETTERS,
    MARGIN,
    WIDE,
    depths,
    is_cut,
    last_words,
    regions,
    seeking,
    string_ends,
    to,
    whole,
)

MOST_KNOWN, SHORTEST = 256, 8
"""So many values of headers are looked for elsewhere, of so many characters or more."""
_WORD = re.compile(r"[^\s\"'\\,;{}]*")
_MORE = "Ab1Cd2Ef3Gh4" * 4
"""What may follow in any secret."""


class Place(NamedTuple):
    """Where a secret is written, behind how many layers of escapes it was found, and what it says there."""

    begin: int
    end: int
    depth: int
    said: str

    @property
    def is_open(self) -> bool:
        """Whether it is a private key whose end nobody found."""
        return self.is_key and not redaction.CLOSING.search(self.said)

    @property
    def is_key(self) -> bool:
        return redaction.OPENING.match(self.said) is not None


class Finder:
    """Of one journal: it learns."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._letters, self._seeks, self._margin = LETTERS, seeking(LETTERS), MARGIN

    def learns(self, secret: str) -> bool:
        """Look for it from now on, also as JSON writes it; False if that was so, or it is too short."""
        if len(secret) < SHORTEST or secret in self._known:
            return False
        for form in dict.fromkeys(_forms(secret)):
            if len(self._known) >= MOST_KNOWN:
                self._known.pop(next(iter(self._known)))
            self._known[form] = secret
        self._margin = max(self._margin, len(secret))
        if not self._letters.issuperset(secret):
            self._letters |= frozenset(secret)
            self._seeks = seeking(self._letters)
        return True

    def places(self, text: str, *, in_json: bool = True) -> list[tuple[int, int, str]]:
        """Each as one, in order, and what it says. `in_json`: with a string of JSON ends a key in it."""
        found = self._found(text, in_json=in_json)
        return list(_joined(text, found)) if found else []

    def _found(self, text: str, *, in_json: bool) -> list[Place]:
        marks = marks_in(text)
        spans = redaction.found(text, marks, partial(string_ends, text) if in_json else _last)
        found = [*(Place(*it, 0, text[slice(*it)]) for it in spans), *self._known_in(text)]
        if "\\" in text:
            found = [Place(*whole(text, it.begin, it.end), 0, it.said) for it in found]
            begun = [(it.begin, it.begin + WIDE) for it in found if it.is_open]
            found += self._hidden(text, marks, begun, in_json=in_json)
            ended = {it.begin for it in found if it.is_key and not it.is_open}
            found = [it for it in found if not (it.is_open and it.begin in ended)]
        return found

    def open_key(self, text: str) -> tuple[int, int] | None:
        """Where a private key lies that may go on behind the text."""
        found = self._found(text, in_json=True)
        return min(((it.begin, it.end) for it in found if it.is_open and is_cut(text, it.end)), default=None)

    def breaks_off(self, text: str) -> int | None:
        """Where what may be half a secret begins, if the text ends with one."""
        halves = ((_half(said), written) for said, written in last_words(text))
        begins = [written(at) for at, written in halves if at is not None]
        begins += [at for it in self._known if (at := _begins(it, text)) is not None]
        return min(begins, default=None)

    def _hidden(
        self, text: str, marks: set[str], begun: list[tuple[int, int]], *, in_json: bool
    ) -> Iterator[Place]:
        """Those that escapes have a part in."""
        done = 0
        for begin, end in regions(text, marks, self._seeks, self._margin, begun):
            if end <= done:
                continue
            done = end
            found, goes_on = self._behind(text[begin:done], in_json=in_json)
            while goes_on and done < len(text):
                done = to(text, done + done - begin)
                found, goes_on = self._behind(text[begin:done], in_json=in_json)
            yield from (it._replace(begin=begin + it.begin, end=begin + it.end) for it in found)

    def _behind(self, text: str, *, in_json: bool) -> tuple[list[Place], bool]:
        """Those of a part, and whether one may go on behind it."""
        found, goes_on = list[Place](), False
        for depth in depths(text):
            said = depth.text
            spans = redaction.found(said, marks_in(said), depth.ends if in_json else _last)
            places = (Place(*it, 0, said[slice(*it)]) for it in spans)
            for first, last, _, what in (*places, *self._known_in(said)):
                begin, end = map(depth.written, whole(said, first, last))
                found.append(Place(begin, end, depth.number, what))
                goes_on = goes_on or last == len(said) or is_cut(text, end)
        return found, goes_on

    def _known_in(self, text: str) -> Iterator[Place]:
        for form, secret in self._known.items():
            at = text.find(form)
            while at >= 0:
                yield Place(at, at + len(form), 0, secret)
                at = text.find(form, at + len(form))


def _last(_: int, end: int) -> int:
    return end


def _forms(secret: str) -> Iterator[str]:
    """It as JSON writes it at each depth, with slashes as they are and in escapes."""
    yield secret
    plain = slashed = secret
    for depth in range(DEPTHS):
        plain, slashed = (json.dumps(it, ensure_ascii=False)[1:-1] for it in (plain, slashed))
        slashed = slashed if depth else slashed.replace("/", "\\/")
        yield from (plain, slashed)


def _half(said: str) -> int | None:
    """Where its last word begins, if that has a mark, or what goes on in it would be a secret."""
    back = _WORD.match(said[::-1])
    at = len(said) - (back.end() if back else 0)
    begins = [at] if marks_in(said[at:]) else []
    more = said + _MORE
    spans = redaction.found(more, marks_in(more), _last)
    begins += [begin for begin, end in spans if begin < len(said) < end]
    return min(begins, default=None)


def _begins(secret: str, text: str) -> int | None:
    """Where the text breaks off in it."""
    at = text.rfind(secret[:SHORTEST], max(0, len(text) - len(secret)))
    return at if at >= 0 and secret.startswith(text[at:]) else None


def _joined(text: str, places: list[Place]) -> Iterator[tuple[int, int, str]]:
    """Those that overlap are one: what the one says that is all of it, behind the most escapes."""
    places.sort()
    ends = accumulate((it.end for it in places), max)
    cuts = [n for n, (it, end) in enumerate(zip(places[1:], ends, strict=False), 1) if it.begin >= end]
    for first, last in pairwise((0, *cuts, len(places))):
        group = places[first:last]
        begin, end = group[0].begin, max(it.end for it in group)
        largest = max(group, key=lambda it: (it.end - it.begin, it.depth))
        is_all = largest.end - largest.begin == end - begin
        yield begin, end, largest.said if is_all else text[begin:end]
