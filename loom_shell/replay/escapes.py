"""JSON escapes: what a text says behind them, at each depth, and where in the text that was written.

A text is taken as if all of it stood in one string: outside of strings JSON has no backslash, so that neither
its beginning nor the form around it matters. A secret that is said so is one that escapes have a part in, and
only where that may be is a text looked through: at letters in escapes, and behind the marks of secrets.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator

from attrs import evolve, frozen

from loom_core.redaction import PATTERNS

Spans = list[tuple[int, int]]
DEPTHS = 3
"""JSON in a string of JSON in a string of JSON."""
MARGIN, WIDE = 160, 160
"""Characters before and behind what is looked at; those that may stand between a name and its secret."""
LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=:/ \\")
"""What marks are made of. Written in an escape it says that there may be one."""
_LOOSE = frozenset(
    mark
    for pattern in PATTERNS
    if pattern.name in {"aws secret", "credential", "assigned secret"}
    for mark in pattern.marks
)
"""Names, between which and their secret there may be quotes and line breaks."""
_ESCAPE = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([\"\\/bfnrt]))"
)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_RUN = re.compile(r"(?:[^\s\"\\]++|\\++(?:u[0-9a-fA-F]{4}|/))*+")
_COLON = r"(?:(?<=:\\)|(?<=:\\\\)|(?<=:\\\\\\\\))"
"""Of a slash in escapes, at each depth: it is the first of an address."""
_STRING = re.compile(r"(?:[^\"\\\r\n]++|\\.)*+")
_ENDS = re.compile(
    r"\"\s*+(?:\Z|[\]}]|[,:]\s*+(?:\Z|[\"{\[]|true\b|false\b|null\b|-?[0-9][0-9.eE+-]*+\s*+(?:[,\]}]|\Z)))"
)
"""A quote, and behind it what JSON has there."""
_BASE64, _BREAK = r"(?:[A-Za-z0-9+/=]|\\+/)", r"(?:\\+[nr])*+"
_LINE = (
    rf"(?:{_BASE64}{{16,}}+|(?:{_BASE64}*+{_BREAK}\"\s*+,\s*+\")?-----END [^\"]*+|"
    rf"[A-Z][A-Za-z-]*+: [^\"\r\n]*+|){_BREAK}(?:\\*+\Z|\"\s*+(?:[,\]]|\Z))"
)
_BREAKS_OFF = r"[A-Za-z0-9+/=\\: -]{0,16}(?:\"\s*+(?:,\s*+(?:\"[-END]*+)?)?)?\Z"
_GOES_ON = re.compile(rf"\"\s*+,\s*+\"(?={_LINE}|{_BREAKS_OFF})")
"""From a line of a private key to the next, in an array of them."""
_IN_DOUBT = re.compile(r"\"\s*+(?:[,:]\s*+)?\Z")


@frozen
class Layer:
    """One depth of a text: `said` and `written` are the places behind each escape."""

    text: str
    said: list[int]
    written: list[int]


def unescaped(text: str) -> Layer | None:
    """None where there are no escapes; a backslash that begins none stays."""
    parts, said, written = list[str](), list[int](), list[int]()
    at = done = 0
    for it in _ESCAPE.finditer(text):
        parts += (text[done : it.start()], _letter(it))
        at, done = at + it.start() - done + 1, it.end()
        said.append(at)
        written.append(done)
    return Layer("".join((*parts, text[done:])), said, written) if parts else None


def _letter(it: re.Match[str]) -> str:
    high, low, code, short = it.groups()
    if short:
        return _SHORT.get(short, short)
    if code:
        return chr(int(code, 16))
    return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)


class Depth:
    """What a text says behind so many layers of escapes."""

    def __init__(self, whole: str, layers: tuple[Layer, ...]) -> None:
        self.text, self.number = layers[-1].text, len(layers)
        self._whole, self._layers = whole, layers

    def written(self, at: int) -> int:
        """Where in the whole text a place of this depth is written."""
        for layer in reversed(self._layers):
            at = _moved(at, layer.said, layer.written)
        return at

    def ends(self, begin: int, end: int) -> int:
        """Where the string of the whole text ends that `begin` is in, if that is before `end`."""
        last = self.written(end)
        found = string_ends(self._whole, self.written(begin), last)
        return self._said(found) if found < last else end

    def _said(self, at: int) -> int:
        for layer in self._layers:
            at = _moved(at, layer.written, layer.said)
        return at


def _moved(at: int, known: list[int], wanted: list[int]) -> int:
    number = bisect_right(known, at)
    return wanted[number - 1] + at - known[number - 1] if number else at


def depths(text: str, *, is_torn: bool = False) -> Iterator[Depth]:
    """What it says behind its escapes, and behind those that come out then; `is_torn`: it breaks off."""
    layers: tuple[Layer, ...] = ()
    while len(layers) < DEPTHS and (layer := unescaped(layers[-1].text if layers else text)) is not None:
        layers = (*layers, evolve(layer, text=_untorn(layer.text)) if is_torn else layer)
        yield Depth(text, layers)


def string_ends(text: str, begin: int, end: int) -> int:
    """Where the string of JSON ends that a private key begins in, if that is before `end`.

    With the first line break, or quote that ends no string, it is clear that this is none.
    """
    at = begin
    while (found := _STRING.match(text, at, end)) and text.startswith('"', at := found.end()):
        if more := _GOES_ON.match(text, at):
            at = more.end()
        else:
            return at if at < end and _ENDS.match(text, at) else end
    return end


def is_cut(text: str, end: int) -> bool:
    """Whether nobody knows yet if a private key goes on behind this place."""
    return end == len(text) or _IN_DOUBT.match(text, end) is not None


def whole(text: str, begin: int, end: int) -> tuple[int, int]:
    """The same place with all of the escapes that it begins and ends in."""
    return _around(text, begin)[0], _around(text, end)[1]


def _around(text: str, at: int) -> tuple[int, int]:
    """The escape that a place is in the middle of, or the place."""
    back = text.rfind("\\", max(0, at - 5), at)
    if back < 0:
        return at, at
    begin = back - (back - _run(text, back)) % 2
    found = _ESCAPE.match(text, begin)
    return found.span() if found and begin < at < found.end() else (at, at)


def _run(text: str, at: int) -> int:
    """Where the backslashes begin that end here: the first of them begins an escape."""
    while at and text[at - 1] == "\\":
        at -= 1
    return at


# ------------------------------------------------------------------ where escapes may hide something


def seeking(letters: Iterable[str]) -> re.Pattern[str]:
    """Finds an escape that stands for one of them, at any depth."""
    codes: dict[str, set[str]] = {}
    for letter in letters:
        units = letter.encode("utf-16-be", "surrogatepass").hex()
        for unit in (units[:4], units[4:]) if units[4:] else (units,):
            codes.setdefault(unit[:3], set()).add(unit[3])
    listed = "|".join(f"{begins}[{''.join(sorted(last))}]" for begins, last in sorted(codes.items()))
    return re.compile(rf"\\(?:{_COLON}/|u(?i:{listed}))")


def regions(text: str, marks: Iterable[str], seeks: re.Pattern[str], margin: int, begun: Spans) -> Spans:
    """Where something may be said behind escapes, in order.

    `marks` are those of the text as it is written, and `begun` is where what was found there did not end.
    """
    found = [*begun, *(place for mark in marks for place in _marked(text, mark))]
    if "\\u" in text or "\\/" in text:
        found += _escaped(text, seeks)
    wide = _joined(found, 2 * margin)
    return _joined([(_from(text, begin - margin), to(text, end + margin)) for begin, end in wide])


def _joined(places: Spans, near: int = 0) -> Spans:
    """Those that meet, or are so near, are one."""
    joined = Spans()
    for begin, end in sorted(places):
        if joined and begin <= joined[-1][1] + near:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _marked(text: str, mark: str) -> Iterator[tuple[int, int]]:
    """What follows a mark, as far as it may be a secret, if there are escapes in it."""
    runs, wide = _Runs(text), len(mark) + (WIDE if mark in _LOOSE else 0)
    at = text.find(mark)
    while at >= 0:
        end = runs.end(at + wide)
        if text.find("\\", at, end) >= 0:
            yield at, end
        at = text.find(mark, at + len(mark))


def _escaped(text: str, seeks: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    runs, behind, at = _Runs(text), _Runs(text), 0
    while found := seeks.search(text, at):
        at = runs.end(found.start())
        yield found.start(), behind.end(at + WIDE)


class _Runs:
    """Where what may be one secret ends, asked for ascending places: no character is looked at twice."""

    def __init__(self, text: str) -> None:
        self._text, self._begin, self._end = text, 0, -1

    def end(self, at: int) -> int:
        if not self._begin <= at <= self._end:
            found = _RUN.match(self._text, at)
            self._begin, self._end = at, found.end() if found else at
        return self._end


def _from(text: str, at: int) -> int:
    """A place there, or a little before, where neither a word nor an escape is cut."""
    at = max(0, at)
    lowest = max(0, at - MARGIN)
    at = max(lowest, *(text.rfind(it, lowest, at) for it in ' "\n'))
    back = text.rfind("\\", max(0, at - 6), at)
    return _run(text, back) if back >= 0 else at


def to(text: str, at: int) -> int:
    """A place there, or a little behind, where no escape is cut if there is one."""
    for _ in range(MARGIN // 8):
        back = text.rfind("\\", max(0, at - 6), at)
        if back < 0:
            break
        at = back + 7
    return min(at, len(text))


# ------------------------------------------------------------------ what breaks off


_LAST = 8_192
"""Characters of a text that are looked at where it breaks off."""
_TORN = re.compile(r"\\+(?:u[0-9a-fA-F]{0,3})?\Z")


def last_words(text: str) -> Iterator[tuple[str, Callable[[int], int]]]:
    """What a text breaks off with, as each depth says it, and where that is written."""
    begin = _from(text, len(text) - _LAST)
    yield _untorn(text[begin:]), lambda at: begin + at
    for depth in depths(_untorn(text[begin:]), is_torn=True):
        yield depth.text, lambda at, depth=depth: begin + depth.written(at)  # type: ignore[misc]


def _untorn(text: str) -> str:
    """Without the escape that is not all there."""
    torn = _TORN.search(text, max(0, len(text) - MARGIN))
    return text[: torn.start()] if torn else text
