"""What a text may show to an exporter: no secret, and no more than its share of bytes.

Patterns are data with a version, so that a reader of old spans can tell what was looked for. Each
has marks, one of which any match contains: a text without them is not searched at all. A mark is not
even looked for where its rarest character is not in the text.
"""

import re
from collections.abc import Callable, Iterator

from msgspec import Struct

VERSION = 1
"""Goes up whenever a pattern is added or changed."""
MAX_VALUE = 32_768
"""Bytes (UTF-8) of one exported value."""
_MARGIN = 8_192
"""Characters beyond a limit that are searched too, so that no secret is cut before it is found."""

_CUT = re.compile(r"… \[cut: ([0-9]{1,15}) characters in all\]\Z")


class Pattern(Struct, frozen=True):
    """One kind of secret. What group 1 matches stays (a header's name); all else of a match goes."""

    name: str
    marks: tuple[str, ...]
    expression: re.Pattern[str]


_BEGAN = r"(?:(?<![A-Za-z0-9].{N})|(?<=\\[nrtbf].{N})|(?<=\\u[0-9A-Fa-f]{4}.{N}))"
"""A word began N characters ago, also in JSON text: after an escape such as that of a line break.

It stands behind the fixed characters of a pattern: those are looked for a hundred times as fast.
"""


def _pattern(name: str, marks: str, expression: str) -> Pattern:
    expression = re.sub(r"<began (\d+)>", lambda found: _BEGAN.replace("N", found[1]), expression)
    return Pattern(name, tuple(marks.split(" ")), re.compile(expression, re.DOTALL))


_KEY = "private key"
_OPENS = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_CLOSES = r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
OPENING, CLOSING = re.compile(_OPENS), re.compile(_CLOSES)
"""Of a private key."""
PATTERNS: tuple[Pattern, ...] = (
    _pattern(_KEY, "PRIVATE", rf"(){_OPENS}.*?(?:{_CLOSES}|\Z)"),
    _pattern("anthropic key", "sk-ant-", r"()sk-ant-[A-Za-z0-9_-]{6,}"),
    _pattern("api key", "sk-", r"()sk-<began 3>[A-Za-z0-9_-]{20,}"),
    _pattern("stripe key", "k_live_ k_test_", r"()[prs]k_<began 3>(?:live|test)_[A-Za-z0-9]{10,}"),
    _pattern("loom token", "loom_", r"()loom_<began 5>[A-Za-z0-9_-]{24,}"),
    _pattern("github token", "ghp_ gho_ ghu_ ghs_ ghr_", r"()gh[pousr]_<began 4>[A-Za-z0-9]{16,}"),
    _pattern("github token", "github_pat_", r"()github_pat_<began 11>[A-Za-z0-9_]{16,}"),
    _pattern("gitlab token", "glpat-", r"()glpat-<began 6>[A-Za-z0-9_-]{16,}"),
    _pattern("aws key id", "AKIA ASIA", r"()A[KS]IA<began 4>[A-Z0-9]{16}(?![A-Z0-9])"),
    _pattern(
        "aws secret",
        "aws_se AWS_SE ecretAccessKey",
        r"((?:aws_secret_access_key|AWS_SECRET_ACCESS_KEY|[sS]ecretAccessKey|aws_session_token|"
        r"AWS_SESSION_TOKEN)[\"'\\\s:=]{1,8})(?!\[redacted)[A-Za-z0-9/+=]{16,}",
    ),
    _pattern("slack token", "xox", r"()xox<began 3>[abeoprs]-[A-Za-z0-9-]{10,}"),
    _pattern("google key", "AIza", r"()AIza<began 4>[A-Za-z0-9_-]{30,}"),
    _pattern("google token", "ya29.", r"()ya29\.<began 5>[A-Za-z0-9_-]{16,}"),
    _pattern("hugging face token", "hf_", r"()hf_<began 3>[A-Za-z0-9]{20,}"),
    _pattern("npm token", "npm_", r"()npm_<began 4>[A-Za-z0-9]{30,}"),
    _pattern("pypi token", "pypi-", r"()pypi-<began 5>[A-Za-z0-9_-]{30,}"),
    _pattern("logfire token", "pylf_", r"()pylf_<began 5>[A-Za-z0-9_]{16,}"),
    _pattern("web token", "eyJ", r"()eyJ<began 3>[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    _pattern(
        "credential",
        "earer EARER",
        r"((?:Bearer|bearer|BEARER)<began 6>\s{1,4})(?!\[redacted)(?=\S{0,200}[0-9])[A-Za-z0-9._~+/=-]{12,}",
    ),
    _pattern(
        "credential",
        "uthorization AUTHORIZATION",
        r"((?:Authorization|authorization|AUTHORIZATION)<began 13>[\"'\\]{0,3}\s{0,4}[:=]\s{0,4}[\"'\\]{0,3}"
        r"(?:[Bb]asic|[Tt]oken|[Bb]earer)\s{1,4})(?!\[redacted)[^\s\"'\\]{8,}",
    ),
    _pattern(
        "credential",
        "api-key Api-Key API-KEY",
        r"((?:api-key<began 7>|Api-Key<began 7>|X-API-KEY<began 9>)"
        r"[\"'\\]{0,3}\s{0,4}[:=]\s{0,4}[\"'\\]{0,3})(?!\[redacted)[^\s\"'\\,;}]{8,}",
    ),
    _pattern(
        "assigned secret",
        "KEY= TOKEN= SECRET= PASSWORD= PASSWD=",
        r"((?<![A-Z0-9_])[A-Z0-9_]{0,48}(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)=[\"'\\]{0,2})"
        r"(?!\[redacted)[^\s\"'\\$`;]{8,}",
    ),
    _pattern(
        "password",
        "://",
        r"(://[^\s/:@\"'\\]{1,64}:)(?!\[redacted)[^\s/@\"'\\]{1,256}(?=@)",
    ),
)


_RAREST = "_=-:.zJKPEAx"
"""Characters of marks, those first that most marks share and ordinary words seldom have."""


def _by_sign() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The marks by a character that is in each of them: to find one character takes next to no time."""
    found: dict[str, list[str]] = {}
    for mark in dict.fromkeys(mark for pattern in PATTERNS for mark in pattern.marks):
        sign = next((sign for sign in _RAREST if sign in mark), mark)
        found.setdefault(sign, []).append(mark)
    return tuple((sign, tuple(marks)) for sign, marks in found.items())


_SIGNS = _by_sign()
_SHORT, _MOST_CLEAN = 64, 4_096
_CLEAN: set[str] = set()
"""Short ASCII texts without a mark, such as names and ids: most of what a span says, and often the same."""


def redacted(text: str) -> str:
    """The text without its secrets; what was taken is named in its place."""
    is_short = len(text) <= _SHORT
    if is_short and text in _CLEAN:
        return text
    found = marks_in(text)
    if not found:
        if is_short and text.isascii():
            if len(_CLEAN) >= _MOST_CLEAN:
                _CLEAN.clear()
            _CLEAN.add(text)
        return text
    for pattern in PATTERNS:
        if not found.isdisjoint(pattern.marks):
            text = pattern.expression.sub(rf"\1[redacted: {pattern.name}]", text)
    return text


def found(text: str, marks: set[str], ends: Callable[[int, int], int]) -> Iterator[tuple[int, int]]:
    """Where secrets lie, kind by kind; `marks` are those in the text.

    A private key ends with its text at the latest: `ends` says where that is, if it is before a second place.
    """
    for pattern in PATTERNS:
        if marks.isdisjoint(pattern.marks):
            continue
        if pattern.name == _KEY:
            yield from _keys(text, ends)
        else:
            yield from ((it.end(1), it.end()) for it in pattern.expression.finditer(text))


def _keys(text: str, ends: Callable[[int, int], int]) -> Iterator[tuple[int, int]]:
    at = -1
    closing: re.Match[str] | None = None
    while opening := OPENING.search(text, max(at, 0)):
        if at < 0 or (closing and closing.start() < opening.end()):
            closing = CLOSING.search(text, opening.end())
        end = ends(opening.start(), closing.end() if closing else len(text))
        yield opening.start(), end
        at = max(end, opening.end())


def marks_in(text: str) -> set[str]:
    """Those of secrets that are in it: where there are none, there is no secret."""
    return {mark for sign, marks in _SIGNS if sign in text for mark in marks if mark in text}


def exported(text: str, limit: int = MAX_VALUE) -> str:
    """The text as it may leave: redacted, valid Unicode, at most `limit` bytes, a cut to be seen."""
    if len(text) <= min(limit, _SHORT) and text in _CLEAN:
        return text
    if len(text) <= limit + _MARGIN:
        return cut(redacted(text), limit)
    # A secret that the margin's end cut in two was not found; it is all within the margin.
    clean = redacted(text[: limit + _MARGIN])[:-_MARGIN]
    return _marked(clean.encode("utf-8", "replace"), limit, len(text))


def cut(clean: str, limit: int = MAX_VALUE) -> str:
    """A redacted text that may still be too long; one that was cut before says how long it once was."""
    if len(clean) <= limit and clean.isascii():
        return clean
    octets = clean.encode("utf-8", "replace")
    if len(octets) <= limit:
        return octets.decode()
    told = _CUT.search(clean, max(0, len(clean) - 64))
    return _marked(octets, limit, int(told[1]) if told else len(clean))


def _marked(octets: bytes, limit: int, whole: int) -> str:
    mark = f"… [cut: {whole} characters in all]".encode()
    return (octets[: max(0, limit - len(mark))].decode("utf-8", "ignore")) + mark.decode()
