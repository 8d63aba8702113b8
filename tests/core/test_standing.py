import json

import pytest
from msgspec.structs import replace as evolve

from loom_core import chain, ledger, standing, wire
from loom_core.actions import Remember
from loom_core.call import read
from loom_core.chain import Conversation
from loom_core.events import RequestReceived
from loom_core.ledger import Decision, Pin
from loom_core.lookup import Answers
from loom_core.outgoing import Taken, path_of
from loom_core.standing import UNKNOWN, Standing, decided, going_up, pin_of, unwoven
from loom_core.subject import Subject, scope_of, system_mark
from loom_core.wrapper import reminder
from tests.support.conversations import MARKER, answer, prompt, text
from tests.support.weaving import AGENT, ANN, AT, CLOCK, COUNT, MS, SIDE, WHOSE, request, sent, taken, texts

NOTE = reminder("Notes.", ["Tea is hot."])
SECOND = (prompt("Tea?"), answer("Yes."), prompt("Milk?"))


def subject(told: bytes | None = None, of: RequestReceived | None = None) -> Subject:
    came = taken(sent(*SECOND) if told is None else told, of)
    said = read(path_of(came.asked.request), came.asked.request.headers, came.body or b"", None)
    found = chain.read(came.body or b"", scope_of(said))
    assert found is not None
    return Subject(came, said, found, scope_of(said), AT)


def held(found: Conversation, *decided: Decision | None, system: str | None = None) -> Answers:
    """A ledger with a pin and these decisions, anchor by anchor."""
    pin = Pin("I am Ann.", "1", system_mark(found) if system is None else system)
    named = zip(found.anchors, decided, strict=False)
    return Answers(
        {
            ledger.identity_field(found.root): ledger.encode(pin),
            **{ledger.anchor_field(anchor.key): ledger.encode(it) for anchor, it in named if it},
        }
    )


def up(one: Subject, answers: Answers, **what: object) -> Taken:
    return going_up(one, evolve(Standing(ANN, answers), **what), AT + 9 * MS)


def body(of: Taken) -> bytes:
    assert of.body is not None
    return of.body


@pytest.mark.spec("weave.replays", "weave.figures")
def test_what_stands_is_woven_and_told_in_tokens() -> None:
    one = subject()
    told = up(one, held(one.conversation, Decision(NOTE), Decision(why="nothing found")))
    assert texts(body(told))[:5] == ["Be brief.", "I am Ann.", "Tea?", NOTE, "Yes."]
    assert texts(body(told))[5] == "Milk?"
    assert CLOCK in texts(body(told))[6]
    assert told.is_edited
    assert told.woven is not None
    assert (told.woven.identity, told.woven.sticky) == (3, -(-len(NOTE) // 4))
    assert (told.woven.anchors, told.woven.replayed, told.woven.decided) == (2, 1, "")
    assert (told.woven.began_at, told.woven.ended_at) == (AT, AT + 9 * MS)
    assert told.woven.ephemeral > 0


@pytest.mark.spec("weave.memo-bounds", "weave.replays")
def test_decisions_that_are_too_large_to_be_kept_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    one = subject()
    answers = held(one.conversation, Decision(NOTE), Decision(why="nothing found"))
    kept = decided(one, answers)
    before = standing._known.cache_info().currsize
    monkeypatch.setattr(standing, "_LARGEST", 10)
    other = held(one.conversation, Decision(f"{NOTE}"), Decision(why="nothing was found"))
    assert decided(one, answers) == kept
    assert decided(one, other).texts == kept.texts == (NOTE, "")
    assert standing._known.cache_info().currsize == before


@pytest.mark.spec("spans.identity")
def test_a_system_prompt_is_another_one_with_another_identity() -> None:
    one = subject()
    field = ledger.identity_field(one.conversation.root)

    def shown(identity: str) -> str:
        answers = held(one.conversation)
        pin = pin_of(one, answers)
        assert pin is not None
        fields = {**answers.fields, field: ledger.encode(evolve(pin, text=identity))}
        call = up(one, evolve(answers, fields=fields)).call
        assert call is not None
        return call.system_hash

    assert shown("I am Ann.") == shown("I am Ann.") != shown("I am Ben.")
    assert one.call.system_hash not in {shown("I am Ann."), shown("I am Ben.")}
    assert shown("") == one.call.system_hash


@pytest.mark.parametrize(
    ("decision", "decided", "replayed", "memories"),
    [(Decision(NOTE, ("m-1", "m-2")), "woven", 1, 2), (Decision(why="nothing found"), "empty", 1, 0)],
)
@pytest.mark.spec("weave.figures")
def test_what_was_decided_now_is_told_apart_from_what_is_replayed(
    decision: Decision, decided: str, replayed: int, memories: int
) -> None:
    one = subject()
    new = frozenset({ledger.anchor_field(one.conversation.anchors[1].key)})
    told = up(one, held(one.conversation, Decision(NOTE), decision), new=new, recall="answered").woven
    assert told is not None
    assert (told.decided, told.replayed, told.memories) == (decided, replayed, memories)
    assert (told.recall, told.outcome) == ("answered", decided)


@pytest.mark.spec("weave.ephemeral", "weave.figures")
def test_ephemeral_text_that_has_no_place_is_not_counted() -> None:
    system = {"role": "system", "content": [text("Noted.") | {"cache_control": MARKER}]}
    one = subject(json.dumps({"messages": [prompt("Tea?"), system]}).encode())
    told = up(one, held(one.conversation))
    assert not any(CLOCK in words for words in texts(body(told)))
    assert told.woven is not None
    assert told.woven.ephemeral == 0


@pytest.mark.spec("weave.ledger-broken", "weave.replays")
def test_what_nobody_can_read_in_the_ledger_is_not_woven() -> None:
    one = subject()
    answers = held(one.conversation, Decision(NOTE), Decision(NOTE))
    name = ledger.anchor_field(one.conversation.anchors[0].key)
    broken = evolve(answers, fields={**answers.fields, name: '{"text":"no reminder"}'})
    assert decided(one, broken).all == (None, Decision(NOTE))
    assert texts(body(up(one, broken))).count(NOTE) == 1
    assert pin_of(one, Answers()) is None
    assert up(one, Answers()) is one.taken


@pytest.mark.parametrize(
    ("of", "same", "is_woven"),
    [
        (request(), False, True),
        (request(path=COUNT), False, True),
        (request((*WHOSE, SIDE)), True, True),
        (request((*WHOSE, SIDE)), False, False),
        (request((*WHOSE, *AGENT)), True, True),
        (request((*WHOSE, *AGENT)), False, False),
    ],
)
@pytest.mark.spec("weave.beside")
def test_a_call_beside_the_loop_is_woven_only_with_the_same_system_prompt(
    of: RequestReceived, *, same: bool, is_woven: bool
) -> None:
    one = subject(of=of)
    told = up(one, held(one.conversation, Decision(NOTE), system=None if same else "another"))
    assert (told is not one.taken) is is_woven


@pytest.mark.spec("weave.owed")
def test_what_is_owed_is_when_and_whose_unless_the_ledger_has_it() -> None:
    one = subject()
    answers = held(one.conversation)
    used = (ledger.used_field(one.conversation.root), f"{AT + 9 * MS}")
    assert up(one, answers).owed == Remember(one.scope, ((ledger.SOURCE_FIELD, "ann"), used))
    known = evolve(answers, fields={**answers.fields, ledger.SOURCE_FIELD: "ann"})
    assert up(one, known).owed == Remember(one.scope, (used,))
    counted = subject(of=request(path=COUNT))
    assert up(counted, held(counted.conversation)).owed is None


@pytest.mark.spec("weave.unwoven")
def test_what_is_not_known_goes_up_as_it_came_and_says_so() -> None:
    one = subject()
    for trouble, words in (("", UNKNOWN), ("the store: slow", "the store: slow")):
        told = unwoven(one, Standing(ANN, Answers(trouble=trouble, is_read=False)), AT)
        assert (told.body, told.is_edited, told.owed) == (one.taken.body, False, None)
        assert told.woven is not None
        assert (told.woven.is_whole, told.woven.trouble, told.woven.tokens) == (False, words, 0)


@pytest.mark.spec("weave.kept")
def test_the_main_agents_request_is_kept_with_the_edits_that_made_it() -> None:
    one = subject()
    told = up(one, held(one.conversation, Decision(NOTE)))
    assert told.kept is not None
    assert told.kept.body == told.body == wire.apply(one.taken.body or b"", told.kept.edits)
    assert told.kept.decisions == (Decision(NOTE), None)
    assert CLOCK in told.kept.ephemeral
    assert (told.kept.session, told.kept.woven) == (one.call.session, told.woven)
    for of in (request(path=COUNT), request((*WHOSE, *AGENT))):
        beside = subject(of=of)
        assert up(beside, held(beside.conversation, Decision(NOTE))).kept is None
    assert unwoven(one, Standing(ANN, Answers()), AT).kept is not None
    assert unwoven(subject(of=of), Standing(ANN, Answers()), AT).kept is None
