"""How a request is woven: the store, the memory and the ledger are asked, one after another.

    LookingUp (twice at most) -> Recalling (or not) -> Deciding (or not) -> the request as it goes up

* A request belongs to the profile that its metadata's `source` or `x-loom-source` names, else to that of
  its session. The main agent's calls decide; a fork, a side call or a count of tokens in the same
  conversation replays what was decided (weaving.md, "The ledger"). All others are left as they are.
* A decision is made at the newest anchor alone, and stands in the ledger before the request goes up, the
  empty one too: nothing is woven in at a place that a request has gone up without.
* Where the ledger cannot be read, and this process does not know all that it held, nothing is woven.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core import chain, compacting, compose, ledger
from loom_core.actions import Action, Decide, LookUp, Note, Recall
from loom_core.call import CallKind, read
from loom_core.events import DecisionsMade, LookupsAnswered, MemoriesRecalled
from loom_core.ledger import Decision, Pin
from loom_core.lookup import Answers, Entry, Question, Reading, Recalled
from loom_core.outgoing import Taken, is_whole, path_of
from loom_core.profile import Life, Profile
from loom_core.standing import PRECISE, Standing, decided, going_up, pin_of, strange, unwoven, used_at
from loom_core.subject import Subject, decides, scope_of, system_mark

IDLE = 3_600 * 1_000_000_000
"""After so long nothing of a conversation is cached any more: the longest life of a marker."""
MAX_QUERY = 2_000
"""Characters of a prompt that are searched for."""
MOST_BYGONE = 64
"""Decisions written at once for prompts that had none; the newest first."""
BYGONE = "gone up without"
ALL = frozenset(Life)


class LookingUp(Struct, frozen=True):
    """The ledger is being read, and texts for the pieces of the lives `asked`.

    `profile` None: whose request it is stands in its session's ledger, if anywhere. `answers`: the first.
    """

    subject: Subject
    profile: Profile | None
    asked: frozenset[Life] = frozenset()
    answers: Answers | None = None


class Recalling(Struct, frozen=True):
    """The memory is being searched for what the user typed."""

    subject: Subject
    profile: Profile
    answers: Answers


class Deciding(Struct, frozen=True):
    """Entries are being written; the ledger says what stands. `recall`: how the search went, "" for none.

    `is_known` False: it goes up as it came, since nobody can tell what was decided before.
    """

    subject: Subject
    profile: Profile
    answers: Answers
    entries: tuple[Entry, ...]
    recall: str = ""
    is_known: bool = True


Weaving = LookingUp | Recalling | Deciding
Answered = LookupsAnswered | MemoriesRecalled | DecisionsMade
Following = tuple[Weaving, Action] | Taken
"""Further on the way, and what is asked next; or the request as it goes up."""


def weave(taken: Taken, at: int) -> Following:
    """Whether there is anything to be asked; else the request as it is. Never raises."""
    rules, request = taken.asked.rules.weaving, taken.asked.request
    if not rules.profiles or taken.body is None or not is_whole(request):
        return taken
    body = taken.body
    call = read(path_of(request), request.headers, body, taken.found.last, taken.behind)
    taken = evolve(taken, call=call)
    profile = rules.profiles.get(call.source)
    conversation = None
    if profile or (call.session and not call.source):
        compacts = call.kind is CallKind.COMPACTION
        conversation = chain.read(body, scope_of(call), instructs=compacts)
    if conversation is None:
        return taken
    scope = scope_of(call) if call.session else conversation.root
    subject = Subject(taken, call, conversation, scope, at)
    asked = _likely(subject, profile)
    fields = (
        ledger.SOURCE_FIELD,
        ledger.identity_field(conversation.root),
        ledger.used_field(conversation.root),
        *compacting.fields(subject),
        *conversation.names,
    )
    return LookingUp(subject, profile, asked), LookUp(_reading(subject, profile, asked, fields))


def go_on(weaving: Weaving, event: Answered) -> Following:
    """What an answer leads to; one to something that was not asked is noted."""
    match weaving, event:
        case LookingUp(answers=None), LookupsAnswered(answers=answers):
            return _looked_up(weaving, answers, event.at)
        case LookingUp(subject, Profile() as profile, answers=Answers() as before), LookupsAnswered():
            return _known(subject, profile, _together(before, event.answers), event.at)
        case Recalling(subject, profile, answers), MemoriesRecalled(recalled=recalled):
            return _deciding(subject, profile, answers, recalled, event.at)
        case Deciding(), DecisionsMade(values=values, trouble=trouble):
            stands = dict(zip((entry.name for entry in weaving.entries), values, strict=False))
            answers = evolve(weaving.answers, fields={**weaving.answers.fields, **stands})
            standing = Standing(weaving.profile, answers, frozenset(stands), weaving.recall, trouble)
            go_up = going_up if weaving.is_known else unwoven
            return go_up(weaving.subject, standing, event.at)
        case _:
            where = f"Composing ({type(weaving).__name__})"
            return weaving, Note(f"invalid transition: {type(event).__name__} in {where}")


def _looked_up(state: LookingUp, answers: Answers, at: int) -> Following:
    """The first answers: whose request it is, and whether more has to be read for it."""
    subject, profile = state.subject, state.profile
    if profile is None:
        profiles = subject.taken.asked.rules.weaving.profiles
        profile = profiles.get(answers.fields.get(ledger.SOURCE_FIELD, ""))
    if profile is None:
        return subject.taken
    if not (compacting.summarises(subject) or subject.conversation.system.says(profile.placeholder)):
        return strange(subject, profile, at)
    if missing := _needed(subject, profile, answers) - state.asked:
        reading = _reading(subject, profile, missing, ())
        if reading.texts or reading.patterns or reading.lists:
            return LookingUp(subject, profile, state.asked | missing, answers), LookUp(reading)
    return _known(subject, profile, answers, at)


def _known(subject: Subject, profile: Profile, answers: Answers, at: int) -> Following:
    """All has been read that there was: replay, search or decide."""
    knows_all = _knows_all(subject, answers)
    if not decides(subject.call, subject.taken.asked.request, profile):
        if knows_all or compacting.takes_part(subject, profile):
            return going_up(subject, Standing(profile, answers, is_known=knows_all), at)
        return subject.taken
    if not knows_all:
        entries = _bygone(subject.unanswered, answers)
        if not entries:
            return unwoven(subject, Standing(profile, answers), at)
        return Deciding(subject, profile, answers, entries, is_known=False), Decide(subject.scope, entries)
    query = subject.call.prompt.strip()[:MAX_QUERY]
    if _undecided(subject, answers) and profile.memories.on and query:
        rules = profile.memories
        woven = (ident for decision in decided(subject, answers).all if decision for ident in decision.ids)
        question = Question(
            query,
            scope=profile.name,
            limit=rules.most,
            budget=rules.budget,
            exclude=tuple(dict.fromkeys(woven)),
            provenance=rules.provenance,
            min_score=rules.min_score,
            deadline=rules.deadline,
        )
        return Recalling(subject, profile, answers), Recall(question, subject.scope)
    return _deciding(subject, profile, answers, None, at)


def _deciding(
    subject: Subject, profile: Profile, answers: Answers, recalled: Recalled | None, at: int
) -> Following:
    """Write what is decided now, if anything is. `recalled` None: nothing was searched for."""
    entries: list[Entry] = []
    root = subject.conversation.root
    if Life.IDENTITY in _needed(subject, profile, answers):
        # An identity that lacks what the store did not give is nobody's version: the next idle time mends it.
        version = "" if answers.trouble else profile.version
        pin = Pin(compose.identity(profile, answers), version, system_mark(subject.conversation))
        stood = answers.fields.get(ledger.identity_field(root))
        entries.append(Entry(ledger.identity_field(root), ledger.encode(pin), stood))
    if newest := _undecided(subject, answers):
        memorables = next(iter(answers.lists.values()), ())
        before = tuple(decision for decision in decided(subject, answers).all if decision)
        decision = compose.sticky(profile, answers, memorables, recalled or Recalled(), before)
        entries.append(Entry(newest, ledger.encode(decision)))
    if compacting.is_undecided(subject, answers):
        entries.append(compacting.entry(subject, profile))
    entries += _entombed(subject, answers, recalled.forgotten if recalled else ())
    entries += _bygone(subject.earlier, answers)
    if not entries:
        return going_up(subject, Standing(profile, answers), at)
    recall = (recalled.trouble or "answered") if recalled else ""
    deciding = Deciding(subject, profile, answers, tuple(entries), recall)
    return deciding, Decide(subject.scope, tuple(entries))


def _entombed(subject: Subject, answers: Answers, forgotten: tuple[str, ...]) -> Iterator[Entry]:
    """Tombstones in the place of decisions with a deleted memory in them: one cache miss is accepted."""
    if not forgotten:
        return
    for name, decision in zip(subject.names, decided(subject, answers).all, strict=True):
        gone = next((ident for ident in forgotten if decision and ident in decision.ids), "")
        if decision and gone:
            yield Entry(name, ledger.encode(ledger.entomb(decision, gone)), answers.fields[name])


def _bygone(names: Iterable[str], answers: Answers) -> tuple[Entry, ...]:
    """Empty decisions for prompts that have gone up without one: a rewind may make one the newest again."""
    missing = [name for name in names if name not in answers.fields][-MOST_BYGONE:]
    empty = ledger.encode(Decision(why=BYGONE)) if missing else ""
    return tuple(Entry(name, empty) for name in missing)


def _likely(subject: Subject, profile: Profile | None) -> frozenset[Life]:
    """The lives of pieces that will be needed if nothing was decided yet: read along with the ledger."""
    newest = subject.conversation.newest
    if profile is None or newest is None or not decides(subject.call, subject.taken.asked.request, profile):
        return frozenset()
    return ALL if newest.message == subject.conversation.anchors[0].message else ALL - {Life.IDENTITY}


def _needed(subject: Subject, profile: Profile, answers: Answers) -> frozenset[Life]:
    """The lives of pieces that are needed, now that the ledger has answered."""
    if not decides(subject.call, subject.taken.asked.request, profile) or not _knows_all(subject, answers):
        return frozenset()
    lives: set[Life] = set()
    pin = pin_of(subject, answers)
    # Not while the store is away: what it holds would come back with it.
    is_old = pin is not None and pin.version != profile.version and answers.is_read
    if pin is None or (is_old and _is_idle(subject, answers)):
        lives.add(Life.IDENTITY)
    if _undecided(subject, answers):
        lives.add(Life.STICKY)
    if subject.conversation.newest:
        lives.add(Life.EPHEMERAL)
    return frozenset(lives)


def _reading(
    subject: Subject, profile: Profile | None, lives: frozenset[Life], fields: tuple[str, ...]
) -> Reading:
    """The fields, the texts of the pieces of these lives, and with the sticky ones the memorables."""
    wanted = [compose.wanted(profile, life) for life in Life if profile and life in lives]
    texts = dict.fromkeys(key for keys, _ in wanted for key in keys)
    patterns = dict.fromkeys(pattern for _, found in wanted for pattern in found)
    session = subject.call.session
    listed = profile and profile.memorables.on and session and Life.STICKY in lives
    lists = (f"intro:memorables:{session}",) if listed else ()
    return Reading(subject.scope, fields, tuple(texts), tuple(patterns), lists)


def _together(before: Answers, after: Answers) -> Answers:
    return evolve(
        before,
        texts={**before.texts, **after.texts},
        matched={**before.matched, **after.matched},
        lists={**before.lists, **after.lists},
        trouble=before.trouble or after.trouble,
    )


# What the ledger says


def _is_idle(subject: Subject, answers: Answers) -> bool:
    """Whether upstream can have nothing of the conversation in its cache any more."""
    used = used_at(subject, answers)
    return used > 0 and subject.began_at - used > IDLE + PRECISE


def _undecided(subject: Subject, answers: Answers) -> str:
    """The field of the newest anchor, if nothing has been decided there; else ""."""
    return "" if subject.newest in answers.fields else subject.newest


def _knows_all(subject: Subject, answers: Answers) -> bool:
    """Whether all that was ever decided in this conversation is known, whatever the store says now.

    What was never answered has not been decided upon, as far as anybody here can tell.
    """
    if answers.is_read or (subject.names and subject.unanswered == subject.names):
        return True
    fields = answers.fields
    return pin_of(subject, answers) is not None and all(name in fields for name in subject.answered)
