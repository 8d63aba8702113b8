"""What stands for a request once its ledger has answered, and the request with that woven in."""

from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core import compacting, compose, ledger, weave
from loom_core.actions import Keep, Remember
from loom_core.call import CallKind, as_shown
from loom_core.ledger import Decision, Pin
from loom_core.lookup import Answers
from loom_core.outgoing import Taken
from loom_core.profile import Profile
from loom_core.rules import SECOND
from loom_core.subject import Subject, decides, system_mark
from loom_core.weave import Woven
from loom_core.wire import apply
from loom_core.woven import WovenIn
from loom_core.wrapper import tokens

PRECISE = 60 * SECOND
"""A use is written down again after so long: a write for each call would cost more than its weaving."""
_READINGS, _LARGEST = 32, 256 * 1024
"""Readings of a conversation's decisions that are kept, and characters of the fields of one."""
UNKNOWN = "the ledger cannot be read"
STRANGE = "the system prompt does not hold the profile's placeholder"


class Standing(Struct, frozen=True):
    """`new`: the fields decided with this request. `recall`: how a search for it went, "" for none.

    `is_known` False: nobody can tell all that was decided before.
    """

    profile: Profile
    answers: Answers
    new: frozenset[str] = frozenset()
    recall: str = ""
    trouble: str = ""
    is_known: bool = True


def pin_of(subject: Subject, answers: Answers) -> Pin | None:
    """The identity pinned for the conversation."""
    return ledger.decode_pin(answers.fields.get(ledger.identity_field(subject.conversation.root), ""))


class Decided(Struct, frozen=True):
    """What was decided at the anchors, in order: None where nothing was, or nobody can read it.

    `texts`, "" for none, come to so many `tokens`; `count` of them are woven in.
    """

    all: tuple[Decision | None, ...] = ()
    texts: tuple[str, ...] = ()
    tokens: int = 0
    count: int = 0


def _read(fields: tuple[str | None, ...]) -> Decided:
    found = tuple([ledger.decode(text) if text else None for text in fields])
    texts = tuple([decision.text if decision else "" for decision in found])
    return Decided(found, texts, sum(map(tokens, texts)), sum(map(bool, texts)))


_known = lru_cache(_READINGS)(_read)


def decided(subject: Subject, answers: Answers) -> Decided:
    """What stands at each anchor: the calls of a tool loop replay the same, read for the first of them."""
    fields = tuple(map(answers.fields.get, subject.names))
    return _known(fields) if sum(map(len, filter(None, fields))) <= _LARGEST else _read(fields)


def used_at(subject: Subject, answers: Answers) -> int:
    """When the conversation was last woven, to a minute; 0 if nobody knows."""
    used = answers.fields.get(ledger.used_field(subject.conversation.root), "")
    return int(used) if used.isdecimal() and used.isascii() and len(used) < 20 else 0


def unwoven(subject: Subject, standing: Standing, at: int) -> Taken:
    """The request as it came: nobody knows what was woven into its conversation before."""
    told = _told(subject, standing, at)
    told = evolve(told, missing="store", trouble=told.trouble or UNKNOWN)
    kept = Keep(_shown_as(subject), told, subject.taken.body or b"")
    return evolve(subject.taken, woven=told, kept=None if subject.call.agent else kept)


def strange(subject: Subject, profile: Profile, at: int) -> Taken:
    """The request as it came: its system prompt is not the one that the profile is written for."""
    if not decides(subject.call, subject.taken.asked.request, profile):
        return subject.taken
    told = WovenIn(profile.name, subject.began_at, at, trouble=STRANGE, missing="placeholder")
    return evolve(subject.taken, woven=told)


def going_up(subject: Subject, standing: Standing, at: int) -> Taken:
    """The request with what stands for its conversation; a call beside it is left as it came."""
    taken, profile = subject.taken, standing.profile
    pin = pin_of(subject, standing.answers) if standing.is_known else None
    deciding = decides(subject.call, taken.asked.request, profile)
    compacts = compacting.takes_part(subject, profile)
    follows = deciding or subject.call.kind is CallKind.COUNT
    is_same = pin is not None and (follows or pin.system == system_mark(subject.conversation))
    if not (is_same or compacts):
        return taken
    answers = standing.answers if standing.is_known else Answers()
    reworded = compacting.reworded(subject, profile, answers, standing.new)
    # A summariser has a system prompt of its own, which no identity stands after.
    identity = pin.text if pin and is_same else ""
    found = decided(subject, standing.answers) if pin else Decided()
    at_anchors = tuple(zip(subject.conversation.anchors, found.texts, strict=False))
    woven = Woven(identity, at_anchors, _ephemeral(subject, standing) if deciding else "")
    edits = (*weave.edits(taken.body or b"", subject.conversation, woven), *reworded.edits)
    new = (found.all[-1] or Decision()) if found.all and subject.newest in standing.new else None
    told = _with_figures(_told(subject, standing, at), woven, found, new)
    if reworded.parts or reworded.told:
        told = evolve(told, reworded=reworded.parts, compaction=reworded.told)
    body = apply(taken.body or b"", edits)
    is_kept = deciding and not subject.call.agent
    return evolve(
        taken,
        body=body,
        call=as_shown(subject.call, identity),
        woven=told,
        is_edited=taken.is_edited or bool(edits),
        behind=taken.behind.moved(edits) if taken.behind else None,
        owed=_owed(subject, standing, at) if deciding else None,
        kept=Keep(_shown_as(subject), told, body, edits, found.all, woven.ephemeral) if is_kept else None,
    )


def _ephemeral(subject: Subject, standing: Standing) -> str:
    newest = subject.conversation.newest
    fits = newest is not None and subject.conversation.last_marker < newest.place
    return compose.ephemeral(standing.profile, standing.answers) if fits else ""


def _with_figures(told: WovenIn, woven: Woven, found: Decided, new: Decision | None) -> WovenIn:
    """The counts of what is woven in; `decided` and `memories` of a decision made just now."""
    return evolve(
        told,
        identity=tokens(woven.identity),
        sticky=found.tokens,
        ephemeral=tokens(woven.ephemeral),
        replayed=found.count - bool(new and new.text),
        memories=len(new.ids) if new else 0,
        decided=("woven" if new.text else "empty") if new else "",
    )


def _shown_as(subject: Subject) -> str:
    """What the request is asked for by: its session, or of one without the scope of its ledger."""
    return subject.call.session or subject.scope


def _told(subject: Subject, standing: Standing, at: int) -> WovenIn:
    return WovenIn(
        standing.profile.name,
        subject.began_at,
        at,
        anchors=len(subject.conversation.anchors),
        recall=standing.recall,
        trouble=standing.trouble or standing.answers.trouble,
    )


def _owed(subject: Subject, standing: Standing, at: int) -> Remember | None:
    """What the next request needs to know: whose session it is, and about when the conversation was used."""
    name, answers = standing.profile.name, standing.answers
    used = (ledger.used_field(subject.conversation.root), f"{at}")
    if answers.fields.get(ledger.SOURCE_FIELD) != name:
        return Remember(subject.scope, ((ledger.SOURCE_FIELD, name), used))
    return Remember(subject.scope, (used,)) if at - used_at(subject, answers) > PRECISE else None
