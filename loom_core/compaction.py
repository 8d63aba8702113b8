"""Whether a request compacts its conversation, and what says so.

The rules (contracts section 3):

* A header says it (`x-claude-code-request-class`, `x-claude-code-compaction`), else the wordings do: the
  summariser's system prompt, and the instruction as the last text of the last user message.
* Words alone prove little: role, place and beginning must fit, and a client that names the class of its
  requests is believed. A prompt somebody typed is none, whatever it says.
* Drift: a header says "compaction" and the instruction is none that is known, or only a part of it is; or
  the instruction is known and the header says something else. Such a request stays as it is.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from loom_core.reading import Json, as_dict, as_text
from loom_core.redaction import redacted
from loom_core.wordings import CONTINUED, INSTRUCTIONS, SUMMARISER, Wording

MAX_BEGINNING = 80
"""Characters of a text that is told of as unknown."""
LOOKED_AT = 4_096
"""Characters of it in which secrets are looked for."""
SYSTEM, INSTRUCTION, CONTINUATION, REQUEST = "system", "instruction", "continuation", "request"
"""Which words of a compaction may drift; of a whole one the hooks may tell, and no request of it be seen."""
CLASS, HEADER = b"x-claude-code-request-class", b"x-claude-code-compaction"
_TRIGGERS = frozenset({"auto", "manual"})

_SUMMARISER = SUMMARISER.begins.encode()
_BEGINNINGS = tuple(it.begins.encode() for it in INSTRUCTIONS)

Lines = Mapping[bytes, bytes]


class Compaction(Struct, frozen=True):
    """What says that a request compacts, in words of `SIGNALS`; `trigger`: auto, manual or "".

    `drift`: where its words are not those that are known, "" if they are; `begins`: how they begin.
    """

    by: tuple[str, ...]
    trigger: str = ""
    drift: str = ""
    begins: str = ""

    @property
    def has_own_system(self) -> bool:
        """Whether the summariser's system prompt stands in the place of the conversation's."""
        return SUMMARISES in self.by

    @property
    def is_certain(self) -> bool:
        """Whether it is one, its wording known or not: more than a likeness says so."""
        return not self.drift or not _LIKE.issuperset(self.by)


BY_CLASS, BY_HEADER, SUMMARISES, INSTRUCTS, PARTLY = SIGNALS = (
    "request class",
    "compaction header",
    "summariser",
    "instruction",
    "part of an instruction",
)
_LIKE = frozenset({INSTRUCTS, PARTLY})


def detect(lines: Lines, system: Json, said: str, typed: str) -> Compaction | None:
    """What says that a request compacts; None if nothing does.

    `lines` are its headers by lower-case name, `said` is the last text of its last user message, and `typed`
    what a hook says that the user typed.
    """
    told = lines.get(CLASS, b"compaction")
    trigger = lines.get(HEADER, b"").decode("latin-1")
    begins = [it for it in INSTRUCTIONS if said.startswith(it.begins) and not typed.startswith(it.begins)]
    summarises = any(text.startswith(SUMMARISER.begins) for text in texts(system))
    is_whole = any(_is_whole(it, said, summarises=summarises) for it in begins)
    found = {
        BY_CLASS: lines.get(CLASS) == b"compaction",
        BY_HEADER: bool(trigger),
        SUMMARISES: summarises,
        INSTRUCTS: is_whole,
        PARTLY: bool(begins) and not is_whole and told == b"compaction",
    }
    by = tuple([signal for signal in SIGNALS if found[signal]])
    if not by:
        return None
    kind = trigger if trigger in _TRIGGERS else ""
    if is_whole and told == b"compaction":
        return Compaction(by, kind)
    return Compaction(by, kind, INSTRUCTION, beginning(said))


def _is_whole(wording: Wording, text: str, *, summarises: bool) -> bool:
    return all(phrase in text for phrase in wording.holds) and (summarises or not wording.needs_summariser)


def may_compact(system: bytes, messages: Iterable[bytes]) -> bool:
    """Whether a request may compact, by the bytes of its newest messages: a quick look, few others pass."""
    return _SUMMARISER in system or any(it in message for message in messages for it in _BEGINNINGS)


def beginning(text: str) -> str:
    """How a text begins that is told of, without secrets: they are taken out while they are whole."""
    return redacted(text[:LOOKED_AT])[:MAX_BEGINNING]


def is_continued(text: str) -> bool:
    """Whether a text of the first message holds the summary of an earlier conversation."""
    return text.startswith(CONTINUED)


def texts(content: Json) -> Sequence[str]:
    """The texts of a content: a string is one."""
    if isinstance(content, str):
        return (content,)
    blocks: Iterable[Json] = content if isinstance(content, list) else ()
    return [as_text(as_dict(block).get("text")) for block in blocks]
