"""Stories of woven conversations: who decided first, what stays pinned, and a store that goes and comes."""

import pytest
from msgspec.structs import replace as evolve

from loom_core import ledger
from loom_core.actions import Decide, LookUp, Note, Recall, SendUpstream
from loom_core.exchange import AwaitingHead
from loom_core.ledger import Decision
from loom_core.lookup import Memory
from loom_core.weaving import BYGONE, IDLE, MOST_BYGONE
from tests.support.conversations import answer, prompt
from tests.support.dialogue import Dialogue
from tests.support.weaving import (
    ANN,
    AT,
    CLOCK,
    COUNT,
    FIRST,
    IDENTITY,
    LOOP,
    SECOND,
    SELF,
    TEA,
    Sources,
    asks,
    begun,
    kinds,
    request,
    rules,
    sent,
    texts,
    through,
    up,
)

# ------------------------------------------------------------------ who was first


@pytest.mark.spec("weave.stands-first", "weave.duplicates")
def test_what_another_process_decided_first_is_woven() -> None:
    sources = Sources()
    ours = begun(sent()) << LookUp
    ours = ours >> sources.answer(asks(ours)) << Recall
    ours = ours >> sources.answer(asks(ours)) << Decide
    theirs = through(evolve_memory(sources), sent())
    ours = ours >> sources.answer(asks(ours)) << SendUpstream
    assert up(ours) == up(theirs)
    assert b"Ann likes milk." in up(ours)
    assert TEA.text.encode() not in up(ours)


def evolve_memory(sources: Sources) -> Sources:
    """Another process at the same store, whose memory says something else."""
    return Sources(sources.fields, sources.texts, memories=(Memory("m-2", "Ann likes milk."),))


# ------------------------------------------------------------------ the identity is pinned


def spoken(story: Dialogue) -> str:
    return texts(up(story))[1]


@pytest.mark.spec("weave.pinned")
def test_a_new_version_of_a_profile_waits_until_nothing_is_cached() -> None:
    sources = Sources()
    through(sources, sent(), at=AT)
    newer = rules(evolve(ANN, version="2", pieces=(evolve(ANN.pieces[0], text="I am Ben."),)))
    soon = through(sources, sent(), request(of=newer), at=AT + IDLE)
    assert (kinds(soon), SELF in spoken(soon)) == (["LookUp", "SendUpstream"], True)
    late = through(sources, sent(), request(of=newer), at=AT + 3 * IDLE)
    assert (kinds(late), "I am Ben." in spoken(late)) == (["LookUp", "Decide", "SendUpstream"], True)
    assert SELF in (late.of(Decide)[0].entries[0].expected or "")


@pytest.mark.spec("weave.pinned")
def test_an_identity_that_lacks_what_the_store_did_not_give_is_made_anew_once_nothing_is_cached() -> None:
    sources = Sources(trouble="the store: slow")
    through(sources, sent(), at=AT)
    sources.trouble = ""
    soon = through(sources, sent(), at=AT + IDLE)
    assert kinds(soon) == ["LookUp", "SendUpstream"]
    late = through(sources, sent(), at=AT + 3 * IDLE)
    assert kinds(late)[-2:] == ["Decide", "SendUpstream"]


@pytest.mark.spec("weave.pinned", "weave.unwoven")
def test_no_new_version_is_adopted_while_the_store_is_away() -> None:
    sources = Sources()
    through(sources, sent(), at=AT)
    sources.is_read, newer = False, rules(evolve(ANN, version="2"))
    late = through(sources, sent(), request(of=newer), at=AT + 3 * IDLE)
    assert (kinds(late), spoken(late)) == (["LookUp", "SendUpstream"], IDENTITY)


@pytest.mark.spec("weave.pinned")
def test_another_model_has_an_identity_of_its_own() -> None:
    sources = Sources()
    through(sources, sent(*FIRST))
    sources.texts["ann:mood"] = "Merry."
    story = through(sources, sent(*LOOP, model="n"))
    assert kinds(story) == ["LookUp", "LookUp", "Decide", "SendUpstream"]
    assert "Merry." in spoken(story)
    assert "Calm." in spoken(through(sources, sent(*LOOP)))


@pytest.mark.spec("weave.pinned", "weave.ledger-broken")
def test_a_pin_that_cannot_be_read_is_replaced_by_a_new_one() -> None:
    sources = Sources()
    through(sources, sent(*FIRST))
    (name,) = (it for it in sources.fields if it.startswith("i:"))
    sources.fields[name] = '{"text":'
    story = through(sources, sent(*LOOP))
    assert story.of(Decide)[0].entries[0].expected == '{"text":'
    assert spoken(story) == IDENTITY


# ------------------------------------------------------------------ a store in trouble


@pytest.mark.spec("weave.unwoven")
def test_where_the_ledger_cannot_be_read_an_unknown_conversation_goes_up_as_it_came() -> None:
    sources = Sources(is_read=False, trouble="the store: slow")
    story = through(sources, sent(*SECOND))
    assert kinds(story) == ["LookUp", "Decide", "SendUpstream", "Note"]
    assert up(story) == sent(*SECOND)
    assert story.of(Note)[0].text == "nothing was woven in for profile ann: the store: slow"
    assert isinstance(story.state, AwaitingHead)
    assert story.state.taken.owed is None


@pytest.mark.spec("weave.unwoven", "weave.bygone")
def test_a_prompt_that_went_up_bare_stays_so_when_the_store_is_back() -> None:
    sources = Sources()
    through(sources, sent(*FIRST))
    fields, away = dict(sources.fields), Sources(is_read=False, trouble="the store: slow")
    assert up(through(away, sent(*SECOND))) == sent(*SECOND)
    back = Sources({**fields, **away.fields})
    story = through(back, sent(*SECOND))
    assert kinds(story) == ["LookUp", "SendUpstream"]
    assert texts(up(story))[:3] == ["Be brief.", IDENTITY, "Tea?"]
    assert texts(up(story))[-2:] == ["Milk?", texts(up(story))[-1]]
    assert CLOCK in texts(up(story))[-1]
    assert kinds(through(away, sent(*LOOP, answer("Yes."), prompt("Milk?"), answer("No.")))) == [
        "LookUp",
        "SendUpstream",
        "Note",
    ], "and where none is the newest nothing is decided"


@pytest.mark.spec("weave.bygone", "weave.never-back")
def test_prompts_from_before_are_decided_to_be_bare_so_that_a_rewind_changes_nothing() -> None:
    sources = Sources()
    story = through(sources, sent(*SECOND))
    (pinned, newest, old) = story.of(Decide)[0].entries
    assert (pinned.name[:2], newest.name[:2]) == ("i:", "a:")
    assert ledger.decode(old.value) == Decision(why=BYGONE)
    rewound = through(sources, sent(*FIRST))
    assert kinds(rewound) == ["LookUp", "SendUpstream"]
    assert texts(up(rewound))[:3] == ["Be brief.", IDENTITY, "Tea?"]
    assert CLOCK in texts(up(rewound))[3]
    loop = through(Sources(), sent(*LOOP))
    assert [entry.name[:2] for entry in loop.of(Decide)[0].entries] == ["i:", "a:"]


@pytest.mark.spec("weave.bygone")
def test_of_very_many_prompts_from_before_the_newest_are_decided_first() -> None:
    many = [it for number in range(MOST_BYGONE + 9) for it in (prompt(f"{number}"), answer("Yes."))]
    story = begun(sent(*many)) << LookUp
    reading = story.of(LookUp)[0].reading
    story = story >> Sources().answer(asks(story)) << LookUp
    story = story >> Sources().answer(asks(story)) << Decide
    names = [entry.name for entry in story.of(Decide)[0].entries if entry.name[0] == "a"]
    assert tuple(names) == reading.fields[-MOST_BYGONE:]


@pytest.mark.spec("weave.unwoven", "weave.stands-first")
def test_a_conversation_that_begins_while_the_store_is_away_is_decided_here() -> None:
    story = through(Sources(is_read=False, trouble="the store: slow"), sent(*FIRST))
    assert kinds(story) == ["LookUp", "Recall", "Decide", "SendUpstream"]
    assert spoken(story) == IDENTITY


@pytest.mark.spec("weave.unwoven")
def test_a_conversation_this_process_knows_all_of_is_woven_without_the_store() -> None:
    sources = Sources()
    woven = up(through(sources, sent(*LOOP[:1])))
    sources.is_read, sources.trouble = False, "the store: slow"
    assert texts(up(through(sources, sent(*LOOP))))[:4] == texts(woven)[:4]
    sources.fields = {name: text for name, text in sources.fields.items() if name[0] != "i"}
    for of in (request(), request(path=COUNT)):
        story = begun(sent(*LOOP), of) << LookUp
        assert up(story >> sources.answer(asks(story))) == sent(*LOOP)


@pytest.mark.spec("weave.scope")
def test_a_count_of_tokens_that_names_no_account_is_woven_as_its_conversation_is() -> None:
    sources = Sources()
    named = sent().replace(b'{"model"', b'{"metadata":{"user_id":"user_ab_account_c_session_d"},"model"')
    whole = through(sources, named)
    counted = through(sources, sent(), request(path=b"/v1/messages/count_tokens"))
    assert kinds(counted) == ["LookUp", "SendUpstream"]
    assert texts(up(counted)) == texts(up(whole))[:-1], "all but what is ephemeral"
    assert SELF in spoken(counted)


@pytest.mark.spec("weave.forgotten")
def test_a_memory_that_was_deleted_is_woven_no_more_from_the_next_prompt_on() -> None:
    sources = Sources()
    first = through(sources, sent())
    assert TEA.text.encode() in up(first)
    sources.memories, sources.forgotten = (), (TEA.id,)
    later = (prompt("Tea?"), answer("Yes."), prompt("And milk?"))
    second = through(sources, sent(*later))
    assert TEA.text.encode() not in up(second)
    assert len([it for it in second.of(Decide)[0].entries if it.expected is not None]) == 1
    sources.forgotten = ()
    again = through(sources, sent(*later))
    assert up(again) == up(second), "for good"
