"""Words that mean nothing in the place of those that were said: of the same shape, and equal where they were.

What the core looks at stays: JSON, the names and values that the API gives a meaning, tags, the client's
known wordings, numbers of JSON. Every other word becomes letters, each the same wherever it stands.
"""

import re
from hashlib import blake2b

from loom_core.block import CANARY
from loom_core.rewording import DEMAND
from loom_core.system import ATTRIBUTION
from loom_core.values import Headers
from loom_core.wordings import (
    ADDITIONAL,
    CONTINUATIONS,
    CONTINUED,
    INSTRUCTIONS,
    PHRASES,
    REMINDER,
    SUMMARISER,
)
from loom_core.wrapper import BACKGROUND, EARLIER, NOTED, NOW
from loom_shell.replay.scrubbing import Opened, Scrubber

_PHRASES = sorted(
    {CANARY.decode(), DEMAND, ATTRIBUTION, ADDITIONAL, CONTINUED, REMINDER, SUMMARISER.begins}
    | {BACKGROUND, EARLIER, NOTED, NOW, "additional context:"}
    | {text for it in (*INSTRUCTIONS, *CONTINUATIONS) for text in (it.begins, it.closes, *it.holds)}
    | {"Summary:", *PHRASES},
    key=len,
    reverse=True,
)
_MEANT = "type|role|name|stop_reason|model|ttl|media_type|kind|provenance|object|effort"
_KEPT = re.compile(
    "|".join(
        [
            *(re.escape(form) for text in _PHRASES for form in {text, text.replace("\n", "\\n")} if text),
            rf'\\*"(?:{_MEANT})\\*"\s*:\s*\\*"[^"\\]*',
            r'\\*"[A-Za-z0-9_]+\\*"\s*:',
            r"\\u[0-9a-fA-F]{4}",
            r"\\.",
            r"</?[a-z-]+>",
            r"\bintro:memorables:",
            r"(?m:^event: .*$)",
            r"\b(?:true|false|null|data)\b",
            r"(?<=[:,\[])\s*-?[0-9][0-9.eE+-]*(?=[\s,\]}])",
            r"\b[0-9]{16,}\b",
        ]
    )
)
_WORD = re.compile(r"[^\W_]+(?:[-_][^\W_]+)*")
_TRIES = 64
"""Of short words there may be no other left: then two become one."""
_PLAIN = re.compile(
    rb"(?i)session|loom-|agent-id|prompt-id|request-id|organi[sz]ation|cookie|cf-ray|\Ahost\Z"
)
_LETTERS, _DIGITS = "abcdefghijklmnoprstuvwyz", "123456789"


class Filler(Scrubber):
    """Used as a `Scrubber` is."""

    def __init__(self, key: bytes | None = None) -> None:
        super().__init__(key)
        self._plain = Scrubber(self._key)
        self._made: dict[str, str] = {}
        self._taken: set[str] = set()

    def headers(self, headers: Headers) -> Headers:
        """Those that name a session or a person say nothing any more; the rest is what it was."""
        clean = self._plain.headers(headers)
        return tuple((name, self.content(value) if _PLAIN.search(name) else value) for name, value in clean)

    def target(self, target: bytes) -> bytes:
        return self._plain.target(target)

    def text(self, text: str) -> str:
        parts, at = list[str](), 0
        for kept in _KEPT.finditer(text):
            parts += (_WORD.sub(self._word, text[at : kept.start()]), kept[0])
            at = kept.end()
        return "".join((*parts, _WORD.sub(self._word, text[at:])))

    def content(self, content: bytes) -> bytes:
        return self.text(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def body(
        self, body: bytes, carried: bytes = b"", *, is_whole: bool = True, opened: Opened | None = None
    ) -> bytes:
        del carried, is_whole, opened
        return self.content(body)

    def _word(self, found: re.Match[str]) -> str:
        word = found[0]
        if word not in self._made:
            tries = (self._letters(word, number) for number in range(_TRIES))
            self._made[word] = made = next(
                (it for it in tries if it not in self._taken), self._letters(word, 0)
            )
            self._taken.add(made)
        return self._made[word]

    def _letters(self, word: str, number: int) -> str:
        octets = word.encode("utf-8", "surrogateescape")
        made = blake2b(b"%d %b" % (number, octets), key=self._key, digest_size=64).digest()
        if len(octets) != len(word):
            return "".join(_LETTERS[made[at % 64] % len(_LETTERS)] for at in range(len(octets)))
        return "".join(_like(old, made[at % 64]) for at, old in enumerate(word))


def _like(old: str, chance: int) -> str:
    """A digit for a digit, a letter of the same case for a letter, itself for what joins them."""
    if not old.isalnum():
        return old
    if old.isdigit():
        return _DIGITS[chance % len(_DIGITS)]
    letter = _LETTERS[chance % len(_LETTERS)]
    return letter.upper() if old.isupper() else letter
