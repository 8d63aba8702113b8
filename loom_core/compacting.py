"""What becomes of a request around a compaction: which of the client's words make room for the profile's.

Phases 1 and 2 are a function of the request alone. Phase 3 stays in the first message until the next
compaction, so its text is decided once, stands in the ledger, and is put there with every request: the same
bytes, whatever becomes of profile, model and time.
"""

from msgspec import Struct

from loom_core import ledger, rewording
from loom_core.call import CallKind
from loom_core.compaction import CONTINUATION, INSTRUCTION, SYSTEM, beginning, is_continued, texts
from loom_core.headers import first
from loom_core.ledger import GoingOn
from loom_core.lookup import Answers, Entry
from loom_core.newest import as_object
from loom_core.profile import Profile
from loom_core.rewording import Continued
from loom_core.subject import Subject
from loom_core.survival import missing
from loom_core.wire import Edit
from loom_core.woven import Compacted
from loom_core.wrapper import listed, safe

LACKING = "The summary does not hold these, which were to be kept:"
COMPACTED = b"x-claude-code-context-compacted"
BY_COMPACTED = "compacted header"


class Reworded(Struct, frozen=True):
    """The edits, what they put in place of the client's words, and what is told of it."""

    edits: tuple[Edit, ...] = ()
    parts: tuple[str, ...] = ()
    told: Compacted | None = None


def takes_part(subject: Subject, profile: Profile) -> bool:
    """Whether it is a compaction of a conversation that belongs to the profile."""
    return subject.call.kind is CallKind.COMPACTION and (profile.agents or not subject.call.agent)


def summarises(subject: Subject) -> bool:
    """Whether the client has put its summariser's system prompt in the place of the conversation's own."""
    found = subject.call.compaction
    return found is not None and found.has_own_system


def fields(subject: Subject) -> tuple[str, ...]:
    """What is read of the ledger for a conversation that goes on from a summary; nothing for another."""
    found = subject.conversation
    return (ledger.going_on_field(found.beginning),) if found.goes_on else ()


def is_undecided(subject: Subject, answers: Answers) -> bool:
    """Whether it is to be decided now how the conversation goes on."""
    return any(name not in answers.fields for name in fields(subject))


def entry(subject: Subject, profile: Profile) -> Entry:
    """How it goes on, decided once and for all: in the client's words too."""
    name = ledger.going_on_field(subject.conversation.beginning)
    return Entry(name, ledger.encode(GoingOn(continuation(subject, profile))))


def continuation(subject: Subject, profile: Profile) -> str:
    """What stands behind the summary that a conversation goes on from: "" for one that begins anew."""
    found, rules = _continued(subject), profile.compaction
    typed = subject.call.metadata.prompt if subject.call.metadata else ""
    if found is None or found.paragraph is None or is_continued(typed) or not rules.continuation:
        return ""
    lacking = missing(rules.must_survive, found.summary) if rules.tells_missing else ()
    more = f"\n\n{LACKING}\n{listed(lacking)}" if lacking else ""
    return safe(rules.continuation).strip() + more


def reworded(subject: Subject, profile: Profile, answers: Answers, new: frozenset[str]) -> Reworded:
    """The edits for this request. `new`: the fields of the ledger that were decided with it."""
    body = subject.taken.body or b""
    edits: list[Edit] = []
    parts: list[str] = []
    if takes_part(subject, profile) and not (subject.call.compaction and subject.call.compaction.drift):
        rules = profile.compaction
        of_system = rewording.summariser(body, subject.conversation.system, rules.identity)
        of_instruction = rewording.instruction(body, rules.prompt) if rules.prompt else ()
        for part, found in ((SYSTEM, of_system if rules.identity else ()), (INSTRUCTION, of_instruction)):
            edits += found
            parts += [part] if found else []
    names = fields(subject)
    stands = [ledger.decode_going_on(answers.fields.get(name, "")) for name in names]
    going_on = next((it.text for it in stands if it), "")
    if going_on and (found := rewording.continuation(_continued(subject), going_on)):
        edits += found
        parts.append(CONTINUATION)
    # Told once: when it is decided how it goes on, or where nothing goes on when it is woven first.
    is_new = not new.isdisjoint(names or (ledger.identity_field(subject.conversation.root),))
    return Reworded(tuple(edits), tuple(parts), _told(subject, profile, is_new=is_new))


def _told(subject: Subject, profile: Profile, *, is_new: bool) -> Compacted | None:
    said = subject.call.compaction
    if said is not None:
        must = profile.compaction.must_survive if takes_part(subject, profile) else ()
        return Compacted(said.by, said.trigger, said.drift, said.begins, must)
    if not is_new:
        return None
    found = _continued(subject)
    if found is not None and found.is_strange:
        return Compacted(drift=CONTINUATION, begins=beginning(found.begins))
    is_told = first(subject.taken.asked.request.headers, COMPACTED) is not None
    if not is_told or (found and found.paragraph):
        return None
    begins = found.begins if found else _opening(subject)
    return Compacted((BY_COMPACTED,), drift=CONTINUATION, begins=beginning(begins))


def _continued(subject: Subject) -> Continued | None:
    at = subject.conversation.opening
    return rewording.continued(subject.taken.body or b"", at) if at else None


def _opening(subject: Subject) -> str:
    """The first text of the conversation that is no reminder."""
    at = subject.conversation.opening
    said = texts(as_object(at.of(subject.taken.body or b"")).get("content")) if at else ()
    return next((text for text in said if text and not text.startswith("<system-reminder>")), "")
