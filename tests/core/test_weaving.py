"""Stories of one request that is woven: what is asked of the store and the memory, and what goes up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core import ledger
from loom_core.actions import Action, Decide, LookUp, Note, Recall, Remember, SendUpstream
from loom_core.block import CANARY
from loom_core.events import DecisionsMade, LookupsAnswered, MemoriesRecalled, RequestReceived
from loom_core.exchange import AwaitingHead
from loom_core.ledger import Decision, Pin
from loom_core.lookup import Answers, Memory, Recalled
from loom_core.outgoing import Taken
from loom_core.profile import Profile
from loom_core.weaving import MAX_QUERY, Answered, Following, Weaving, go_on, weave
from tests.support.conversations import PICTURE, Message, hostile, prompt, without
from tests.support.weaving import (
    AGENT,
    ANN,
    AT,
    BARE,
    CLOCK,
    COUNT,
    FIRST,
    IDENTITY,
    LIST,
    LOOP,
    MS,
    NEWS,
    SECOND,
    SELF,
    SIDE,
    TEA,
    UNNAMED,
    WHOSE,
    Sources,
    asks,
    begun,
    kinds,
    request,
    rules,
    sent,
    taken,
    texts,
    through,
    up,
)

# ------------------------------------------------------------------ a conversation


@pytest.mark.spec("weave.asks", "weave.recalls", "weave.stands-first", "weave.owed")
def test_a_new_conversation_is_looked_up_searched_decided_and_goes_up_woven() -> None:
    sources = Sources(lists={LIST: ("The tests are slow.",)})
    story = begun(sent()) << LookUp
    reading = story.of(LookUp)[0].reading
    assert [name[:2] for name in reading.fields] == ["so", "i:", "u:", "a:"]
    assert (reading.texts, reading.patterns, reading.lists) == (("ann:mood", "ann:news"), (), (LIST,))
    story = story >> sources.answer(asks(story)) << Recall
    asked = story.of(Recall)[0].question
    assert (asked.query, asked.scope) == ("Tea?", "ann"), "its own memories, and everybody's"
    story = story >> sources.answer(asks(story)) << Decide
    pinned, decided = story.of(Decide)[0].entries
    pin, decision = ledger.decode_pin(pinned.value), ledger.decode(decided.value)
    assert pin is not None
    assert decision is not None
    assert (pin.text, pin.version, pinned.expected) == (IDENTITY, "1", None)
    assert (decision.ids, decided.expected) == (("m-1",), None)
    assert all(words in decision.text for words in (NEWS, TEA.text, "The tests are slow."))
    story = story >> sources.answer(asks(story)) << SendUpstream
    assert isinstance(story.state, AwaitingHead)
    assert texts(up(story))[:4] == ["Be brief.", IDENTITY, "Tea?", decision.text]
    assert CLOCK in texts(up(story))[4]
    root = reading.fields[1].removeprefix("i:")
    owed = (("source", "ann"), (f"u:{root}", f"{AT + 10 * MS}"))
    assert story.state.taken.owed == Remember(reading.scope, owed)


@pytest.mark.spec("weave.replays", "weave.every-earlier")
def test_in_a_tool_loop_the_ledger_is_read_and_what_it_says_woven_again() -> None:
    sources = Sources()
    first = up(through(sources, sent(*FIRST)))
    story = through(sources, sent(*LOOP))
    assert kinds(story) == ["LookUp", "SendUpstream"]
    assert texts(up(story))[:4] == texts(first)[:4]
    assert not any(CLOCK in words for words in texts(up(story)))


@pytest.mark.spec("weave.replays", "weave.once")
def test_the_next_prompt_is_decided_with_what_was_woven_before_in_mind() -> None:
    sources = Sources()
    through(sources, sent(*FIRST))
    story = through(sources, sent(*SECOND))
    assert kinds(story) == ["LookUp", "Recall", "Decide", "SendUpstream"]
    assert story.of(LookUp)[0].reading.texts == ("ann:news",), "the identity is pinned already"
    assert story.of(Recall)[0].question.exclude == ("m-1",)
    assert [entry.name[:2] for entry in story.of(Decide)[0].entries] == ["a:"]
    assert [bool(text) for text in sources.decided()] == [True, False]


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        (WHOSE, COUNT),
        ((*WHOSE, *AGENT), b"/v1/messages"),
        ((*WHOSE, SIDE), b"/v1/messages"),
    ],
    ids=["a count of tokens", "a fork", "a side call"],
)
@pytest.mark.spec("weave.replays", "weave.count-writes-nothing", "weave.who-decides")
def test_other_calls_of_the_conversation_replay_it_and_write_nothing(
    headers: tuple[tuple[bytes, bytes], ...], path: bytes
) -> None:
    sources = Sources()
    first = up(through(sources, sent(*FIRST)))
    held = dict(sources.fields)
    story = through(sources, sent(*SECOND), request(headers, path))
    assert kinds(story) == ["LookUp", "SendUpstream"]
    assert texts(up(story))[:4] == texts(first)[:4]
    assert isinstance(story.state, AwaitingHead)
    assert story.state.taken.owed is None
    assert sources.fields == held


@pytest.mark.parametrize("headers", [(*WHOSE, *AGENT), (*WHOSE, SIDE)], ids=["a subagent", "a side call"])
@pytest.mark.spec("weave.beside", "weave.who-decides")
def test_a_call_beside_the_conversation_is_left_as_it_came(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    sources = Sources()
    through(sources, sent(*FIRST))
    for told in (sent(prompt("Find tea.")), sent(*FIRST, system="You are another.")):
        assert up(through(sources, told, request(headers))) == told


@pytest.mark.spec("weave.who-decides")
def test_a_subagent_of_a_profile_that_has_them_is_woven() -> None:
    of = request((*WHOSE, *AGENT), of=rules(evolve(ANN, agents=True)))
    assert SELF in up(through(Sources(), sent(), of)).decode()


# ------------------------------------------------------------------ whose request it is


@pytest.mark.spec("weave.whose")
def test_a_request_that_says_nothing_belongs_to_the_profile_of_its_session() -> None:
    sources = Sources()
    through(sources, sent(*FIRST))
    story = begun(sent(*SECOND), request(UNNAMED)) << LookUp
    assert story.of(LookUp)[0].reading.texts == ()
    story = story >> sources.answer(asks(story)) << LookUp
    again = story.of(LookUp)[1].reading
    assert (again.fields, again.texts, again.lists) == ((), ("ann:news",), (LIST,))
    story = story >> sources.answer(asks(story)) << Recall
    story = story >> sources.answer(asks(story)) << Decide
    story = story >> sources.answer(asks(story)) << SendUpstream
    assert texts(up(story))[1] == IDENTITY


@pytest.mark.parametrize("fields", [{}, {"source": "someone"}, {"source": ""}])
@pytest.mark.spec("weave.whose")
def test_a_session_of_nobody_goes_up_as_it_came(fields: dict[str, str]) -> None:
    story = through(Sources(fields=fields), sent(), request(UNNAMED))
    assert (kinds(story), up(story)) == (["LookUp", "SendUpstream"], sent())


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (request(((b"x-loom-source", b"someone"), *UNNAMED)), sent()),
        (request(()), sent()),
        (request(of=evolve(rules(), weaving=evolve(rules().weaving, profiles={}))), sent()),
        (request(), b"no JSON"),
        (request(), b'{"prompt":"a"}'),
        (evolve(request(), request=evolve(request().request, method="PUT")), sent()),
        (request(path=b"/v1/messages/batches"), sent()),
    ],
    ids=["of another source", "of nobody", "no profile", "no JSON", "no messages", "PUT", "another path"],
)
@pytest.mark.spec("weave.whose", "weave.garbage")
def test_what_belongs_to_no_profile_costs_no_question(of: RequestReceived, told: bytes) -> None:
    following = weave(evolve(taken(told), asked=of), AT)
    assert isinstance(following, Taken)
    assert (following.body, following.woven, following.is_edited) == (told, None, False)


@pytest.mark.spec("weave.whose")
def test_a_body_that_streams_up_is_never_woven() -> None:
    streaming = Taken(request(), None, 0)
    assert weave(streaming, AT) is streaming


@pytest.mark.parametrize(("words", "is_woven"), [("brief", True), ("Be long", False)])
@pytest.mark.spec("weave.placeholder")
def test_without_the_sentence_a_profile_looks_for_nothing_is_woven(words: str, *, is_woven: bool) -> None:
    of = request(of=rules(evolve(ANN, placeholder=words)))
    story = through(Sources(), sent(), of)
    assert (up(story) != sent()) is is_woven
    notes = [it.text for it in story.of(Note)]
    said = "nothing was woven in for profile ann: the system prompt does not hold the profile's placeholder"
    assert notes == ([] if is_woven else [said])


# ------------------------------------------------------------------ what is searched


@pytest.mark.parametrize(
    ("messages", "profile"),
    [((PICTURE,), ANN), ((prompt(" \n"),), ANN), (FIRST, BARE)],
    ids=["a picture", "white space", "memories off"],
)
@pytest.mark.spec("weave.recalls", "weave.stands-first")
def test_without_words_or_memories_nothing_is_searched_and_the_empty_decision_stands(
    messages: tuple[Message, ...], profile: Profile
) -> None:
    sources = Sources(texts={})
    story = through(sources, sent(*messages), request(of=rules(profile)))
    assert kinds(story) == ["LookUp", "Decide", "SendUpstream"]
    assert sources.decided() == [""]


@pytest.mark.spec("weave.recalls")
def test_a_long_prompt_is_searched_for_by_its_beginning() -> None:
    story = begun(sent(prompt("tea " * MAX_QUERY))) << LookUp
    story = story >> Sources().answer(asks(story)) << Recall
    assert len(story.of(Recall)[0].question.query) == MAX_QUERY


@pytest.mark.spec("weave.stands-first", "weave.empty")
def test_a_memory_that_is_late_means_an_empty_decision_that_stays_empty() -> None:
    sources = Sources(texts={})
    story = begun(sent()) << LookUp
    story = story >> sources.answer(asks(story)) << Recall
    story = story >> MemoriesRecalled(AT, Recalled(trouble="no answer within 250 ms")) << Decide
    decided = ledger.decode(story.of(Decide)[0].entries[1].value)
    assert decided == Decision(why="no answer within 250 ms")
    story = story >> sources.answer(asks(story)) << SendUpstream
    assert kinds(through(sources, sent())) == ["LookUp", "SendUpstream"], "it is decided"


# ------------------------------------------------------------------ whatever comes


def followed(following: Following) -> tuple[Weaving, Action]:
    assert not isinstance(following, Taken)
    return following


@pytest.mark.spec("weave.out-of-order")
def test_an_answer_to_something_that_was_not_asked_is_noted() -> None:
    looking, _ = followed(weave(taken(), AT))
    for event in (MemoriesRecalled(AT, Recalled()), DecisionsMade(AT, ())):
        state, note = followed(go_on(looking, event))
        assert state is looking
        assert note == Note(f"invalid transition: {type(event).__name__} in Composing (LookingUp)")


@given(st.data())
@pytest.mark.spec("weave.garbage", "weave.insert", "weave.canary")
def test_whatever_is_answered_it_is_the_clients_request_but_for_our_blocks(
    data: st.DataObject,
) -> None:
    told = sent(*data.draw(st.sampled_from([FIRST, LOOP, SECOND, (PICTURE,)])))
    pins = st.builds(Pin, hostile, st.sampled_from(["1", "2"]), st.just("x")).map(ledger.encode)
    values = hostile | pins | st.builds(Decision, hostile).map(ledger.encode)

    def answered(asked: LookUp | Recall | Decide) -> Answered:
        match asked:
            case LookUp(reading):
                fields = {it: data.draw(values) for it in reading.fields if data.draw(st.booleans())}
                found = {it: data.draw(hostile) for it in reading.texts}
                lists = {it: (data.draw(hostile),) for it in reading.lists}
                return LookupsAnswered(AT, Answers(fields, found, {}, lists, "", data.draw(st.booleans())))
            case Recall():
                memories = st.builds(Memory, hostile, hostile, st.integers(), score=st.floats(allow_nan=True))
                return MemoriesRecalled(AT, Recalled((data.draw(memories),), data.draw(hostile)))
            case Decide(_, entries):
                return DecisionsMade(AT, tuple(data.draw(values | st.just(it.value)) for it in entries))

    following = weave(taken(told), AT)
    while not isinstance(following, Taken):
        weaving, asked = following
        assert isinstance(asked, LookUp | Recall | Decide)
        following = go_on(weaving, answered(asked))
    made = following.body or b""
    assert CANARY not in made
    added = [text for text in texts(made) if text not in texts(told)]
    assert without(made, added) == without(told, added)
    assert following.is_edited is (made != told)
