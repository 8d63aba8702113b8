from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core import turn
from loom_core.actions import Note
from loom_core.call import CallKind
from loom_core.events import (
    AgentBegan,
    CallBegan,
    CallEnded,
    Event,
    HookReported,
    RequestEnded,
    ShutdownRequested,
    TimerFired,
    TurnAbove,
)
from loom_core.rules import SECOND, Content
from loom_core.shape import KEY, Shape
from loom_core.turn import (
    CallingModel,
    ExecutingTools,
    Failed,
    PostToolsHook,
    ProcessingResponse,
    ShuttingDown,
    WaitingForUser,
)
from loom_core.values import ExchangeKey, TurnKey
from tests.support.turns import AGENT, AT, MAIN, METADATA, ROOT, TRACE, Turns, asks, call, done, says

P1, P2 = call("prompt:p1"), call("prompt:p2")


def executing(*tools: str) -> Turns:
    """A turn whose first answer, 1 s after the prompt, asked for these tools."""
    story = Turns().begins("x1", call("prompt:p1", metadata=METADATA)).ends("x1", asks(*tools), after=1)
    assert story.is_now(ExecutingTools)
    return story


def answered() -> Turns:
    story = Turns().begins("x1", P1).ends("x1", says("Two files."), after=1)
    assert story.is_now(ProcessingResponse)
    return story


@pytest.mark.spec("turn.tools", "turn.stop", "turn.ids", "turn.answered")
def test_a_tool_loop_of_three_calls_is_one_turn() -> None:
    story = executing("t1", "t2")
    story.hook("PostToolUse", after=2, tool="t2").hook("PostToolUse", after=3, tool="t1")
    assert story.is_now(PostToolsHook)
    story.begins("x2", call("prompt:p1", messages=3, results=done("t1", "t2")), after=4)
    story.ends("x2", asks("t3"), after=5)
    story.begins("x3", call(messages=5, results=done("t3", is_error=True)), after=7)
    story.ends("x3", says("Two files."), after=8).hook("Stop", after=8.5, prompt_id="p1")
    assert story.is_now(WaitingForUser)
    assert [story.place(name).index for name in ("x1", "x2", "x3")] == [1, 2, 3]
    assert {(story.place(x).trace_id, story.place(x).parent_id) for x in ("x1", "x2", "x3")} == {
        (TRACE, ROOT)
    }
    (root,) = story.roots
    assert (root.trace_id, root.span_id, root.name) == (TRACE, ROOT, "user-turn:5e551011")
    assert (root.start, root.end) == (AT - SECOND, AT + round(8.5 * SECOND))
    told = dict(root.attributes)
    assert (told["loom.turn.calls"], told["output.value"], told["loom.turn.outcome"]) == (
        3,
        "Two files.",
        "complete",
    )
    tools = [(span.start - AT, span.end - AT, span.error) for span in story.named("execute_tool")]
    assert tools == [
        (SECOND, 3 * SECOND, ""),
        (SECOND, 2 * SECOND, ""),
        (5 * SECOND, 7 * SECOND, "error"),
    ]
    assert {span.parent_id for span in story.named("execute_tool")} == {ROOT}
    (hook,) = story.named("hook:")
    assert hook.parent_id == ROOT
    assert {dict(span.attributes)["session.id"] for span in story.spans} == {MAIN.session}
    assert {figure.name: figure.value for figure in story.figures} == {
        "loom.turns": 1,
        "loom.turn.duration": 9.5,
        "loom.turn.calls": 3,
    }


@pytest.mark.spec("turn.tools")
def test_hooks_of_some_tools_leave_the_others_out() -> None:
    story = executing("t1", "t2").hook("PostToolUse", after=2, tool="t1")
    assert story.is_now(ExecutingTools)
    story.begins("x2", call(results=done("t1")), after=4).ends("x2", says("One is enough."), after=5)
    assert story.is_now(ExecutingTools)
    assert story.hook("Stop", after=6).is_now(ExecutingTools)
    story.shuts_down(after=9)
    assert [(span.end - AT, span.error) for span in story.named("execute_tool")] == [
        (2 * SECOND, ""),
        (9 * SECOND, "no result came"),
    ]


def test_a_pause_goes_on_and_no_hook_says_otherwise() -> None:
    story = Turns().begins("x1", P1).ends("x1", says("Wait.", "pause_turn"), after=1)
    assert story.hook("PostToolUse", after=2, tool="t1").is_now(ExecutingTools)
    assert story.begins("x2", P1, after=3).is_now(CallingModel)


@pytest.mark.spec("turn.stop")
def test_the_stop_hook_of_the_prompt_ends_it_even_with_tools_out() -> None:
    assert executing("t1").hook("Stop", after=2).is_now(ExecutingTools)
    story = executing("t1").hook("Stop", after=2, prompt_id="p1")
    assert story.outcomes == ["complete"]
    assert [span.error for span in story.named("execute_tool")] == ["no result came"]


@pytest.mark.spec("turn.stop")
def test_a_stop_hook_of_another_prompt_ends_nothing() -> None:
    assert answered().hook("Stop", after=2, prompt_id="p0").is_now(ProcessingResponse)
    story = answered().hook("Stop", after=2)
    assert story.is_now(WaitingForUser)
    assert story.hook("Stop", after=3).outcomes == ["complete"]


@pytest.mark.spec("turn.grace")
def test_a_turn_ends_after_a_grace_at_the_time_of_its_answer() -> None:
    story = answered()
    assert story.timers[-1].timer == "turn-end"
    assert story.timers[-1].at == AT + 6 * SECOND
    assert story.hook("Notification", after=3).fires("turn-end", after=5).is_now(ProcessingResponse)
    # A timer that comes early is set again.
    assert story.timers[-1].at == AT + 6 * SECOND
    story.fires("turn-end", after=6)
    assert story.outcomes == ["complete"]
    assert story.roots[0].end == AT + SECOND


@pytest.mark.spec("turn.grace")
def test_a_call_within_the_grace_goes_on_with_the_turn() -> None:
    story = answered().begins("x2", P1, after=3).fires("turn-end", after=6)
    assert story.is_now(CallingModel)
    assert story.place("x2").index == 2
    assert story.ends("x2", None, after=8).is_now(ProcessingResponse)
    assert story.fires("turn-end", after=6.5).roots == []


@pytest.mark.spec("turn.grace")
def test_the_next_prompt_within_the_grace_finds_the_turn_complete() -> None:
    story = answered().begins("x2", P2, after=3)
    assert story.outcomes == ["complete"]


@pytest.mark.spec("turn.abandoned", "turn.joins")
def test_the_next_prompt_abandons_a_turn() -> None:
    story = executing("t1").begins("x2", P2, after=60)
    assert story.outcomes == ["abandoned: next prompt"]
    assert story.roots[0].end == AT + SECOND
    assert story.place("x2").index == 1
    assert story.place("x2").trace_id != TRACE
    # Its prompt id says so even while a call runs, whose end is then no matter.
    story.begins("x3", call("prompt:p3"), after=61).ends("x2", says("late"), after=62)
    assert story.is_now(CallingModel)
    assert story.turn.answer == ""


@pytest.mark.spec("turn.abandoned")
def test_silence_abandons_a_turn() -> None:
    story = executing("t1")
    (silence,) = story.timers
    assert (silence.timer, silence.at) == ("turn-silence", AT + 900 * SECOND)
    story.fires("turn-silence", after=900)
    assert story.timers[-1].at == AT + 901 * SECOND
    story.fires("turn-silence", after=901)
    assert story.outcomes == ["abandoned: silence"]
    assert story.is_now(WaitingForUser)


@pytest.mark.spec("turn.abandoned", "turn.concurrent")
def test_a_call_that_runs_long_is_no_silence() -> None:
    story = Turns().begins("x1", P1).fires("turn-silence", after=900)
    assert story.is_now(CallingModel)
    assert story.timers[-1].at == AT + 1800 * SECOND


@pytest.mark.spec("turn.retires")
def test_a_machine_retires_an_hour_after_its_last_turn() -> None:
    story = answered().hook("Stop", after=2).fires("turn-silence", after=900)
    assert (story.retired, story.timers[-1].at) == ([], AT + 3602 * SECOND)
    # One chain of timers, however many turns there are.
    story.begins("x2", P2, after=1000).ends("x2", says("Yes."), after=1001).hook("Stop", after=1002)
    assert [timer.timer for timer in story.timers].count("turn-silence") == 2
    assert story.fires("turn-silence", after=3602).retired == []
    assert story.fires("turn-silence", after=4602).retired == [MAIN]


@pytest.mark.spec("turn.retires")
def test_a_machine_without_a_turn_retires_at_once() -> None:
    story = Turns().hook("SessionStart").begins("x1", call(kind=CallKind.COUNT)).fires("turn-end", 1)
    story.tell(AgentBegan(AT, AGENT)).fires("turn-silence", 1)
    assert story.states == {}
    assert set(story.retired) == {MAIN, AGENT}


@pytest.mark.spec("turn.abandoned", "turn.answered")
def test_shutdown_ends_every_turn_and_begins_none() -> None:
    story = executing("t1").shuts_down(after=5)
    assert story.outcomes == ["abandoned: shutdown"]
    assert story.roots[0].end == AT + 5 * SECOND
    story.begins("x2", P2, after=6).begins("a1", call("text:a", agent="a1"), after=6).shuts_down(after=7)
    assert story.is_now(ShuttingDown)
    assert story.place("x2").trace_id == ""
    # The subagent asked a machine that is shutting down, and got an answer too.
    assert story.place("a1").trace_id
    assert story.ends("x2", says("late"), after=8).notes == []
    assert story.outcomes == ["abandoned: shutdown", "abandoned: shutdown"]


@pytest.mark.spec("turn.failed")
def test_the_clients_next_try_joins_the_same_turn() -> None:
    story = Turns().begins("x1", P1).ends("x1", None, after=1, failure="status 529")
    assert story.is_now(Failed)
    story.begins("x2", P1, after=2).ends("x2", None, after=3, failure="reset")
    state = story.states[MAIN]
    assert isinstance(state, Failed)
    assert (state.origin, state.attempts) == ("reset", 2)
    story.begins("x3", P1, after=4).ends("x3", says("Now."), after=5).hook("Stop", after=6)
    assert story.outcomes == ["complete"]
    assert story.roots[0].error == ""


@pytest.mark.spec("turn.failed")
@pytest.mark.parametrize(
    ("failure", "outcome", "error"),
    [
        ("status 529", "failed: status 529", "failed: status 529"),
        ("client gone", "abandoned: client gone", ""),
        ("shut down", "abandoned: shut down", ""),
    ],
)
def test_a_turn_that_ends_after_a_failure_says_which(failure: str, outcome: str, error: str) -> None:
    story = Turns().begins("x1", P1).ends("x1", None, after=1, failure=failure).begins("x2", P2, after=9)
    assert story.outcomes == [outcome]
    assert story.roots[0].error == error


@pytest.mark.spec("turn.apart")
@pytest.mark.parametrize("kind", [CallKind.AUXILIARY, CallKind.COUNT])
def test_side_calls_hang_on_the_open_turn_without_being_counted(kind: CallKind) -> None:
    story = executing("t1")
    story.begins("side", call("prompt:p1", kind=kind, results=done("t1"), messages=9), after=2)
    place = story.place("side")
    assert (place.trace_id, place.parent_id, place.index, place.shown) == (TRACE, ROOT, 0, 0)
    assert story.ends("side", says("A title"), after=3).is_now(ExecutingTools)
    assert story.turn.calls == 1
    assert story.turn.answer == ""
    alone = Turns().begins("side", call(kind=kind))
    assert alone.place("side").trace_id == ""


@pytest.mark.spec("turn.concurrent")
def test_a_call_told_of_late_does_not_turn_back_the_clock() -> None:
    story = Turns().begins("x1", P1).ends("x1", asks("t1"), after=50).begins("x2", P1, after=10)
    assert story.turn.heard_at == AT + 50 * SECOND


@pytest.mark.spec("turn.apart", "turn.concurrent")
def test_an_unnamed_call_beside_a_running_one_is_a_side_call() -> None:
    story = Turns().begins("x1", call("text:a")).begins("title", call("text:b"), after=1)
    assert story.place("title").parent_id == story.place("x1").parent_id
    assert story.ends("title", says("A title"), after=2).is_now(CallingModel)
    assert story.ends("x1", says("Yes."), after=3).is_now(ProcessingResponse)
    assert story.begins("x2", call("text:b"), after=4).outcomes == ["complete"]


@pytest.mark.spec("turn.concurrent")
def test_concurrent_calls_never_end_each_other() -> None:
    story = Turns().begins("x1", P1).begins("x2", P1, after=1)
    story.ends("x2", says("Done."), after=2).hook("Stop", after=3).fires("turn-end", after=9)
    assert story.is_now(CallingModel)
    assert story.ends("x1", None, after=10, failure="reset").is_now(Failed)
    assert story.roots == []


@pytest.mark.spec("turn.subagent")
def test_a_subagent_is_a_part_of_the_main_agents_trace() -> None:
    story = executing("task")
    story.begins("a", call("text:a", agent="a1", agent_type="Explore", kind=CallKind.SUBAGENT), after=2)
    assert story.place("a").trace_id == TRACE
    story.ends("a", says("Found."), after=3, key=AGENT).fires("turn-end", after=8, key=AGENT)
    (root,) = story.roots
    assert (root.name, root.trace_id, root.parent_id) == ("agent:a1", TRACE, ROOT)
    assert story.place("a").parent_id == root.span_id
    assert dict(story.figures[0].labels)["agent"] == "subagent"
    assert story.is_now(ExecutingTools)
    assert story.turn.calls == 1
    # What the subagent does keeps the main agent's turn awake.
    assert story.turn.heard_at == AT + 2 * SECOND


@pytest.mark.spec("turn.subagent")
def test_a_nested_subagent_hangs_on_its_parent() -> None:
    story = executing("task").begins("a", call("text:a", agent="a1"), after=2)
    story.begins("b", call("text:b", agent="b1", parent_agent="a1"), after=3).shuts_down()
    inner = next(span for span in story.roots if span.name == "agent:b1")
    assert (inner.trace_id, inner.parent_id) == (TRACE, story.place("a").parent_id)
    own = Turns().begins("a", call("text:a", agent="a1", parent_agent="a1"))
    assert own.place("a").index == 1


@pytest.mark.spec("turn.subagent", "turn.answered")
def test_no_call_of_a_subagent_is_told_another_trace() -> None:
    began = CallBegan(AT, ExchangeKey("a"), call("text:a", agent="a1"), 7)
    state, actions = turn.step(AGENT, WaitingForUser(), began)
    assert not [action for action in actions if getattr(action, "key", None) == ExchangeKey("a")]
    side = CallBegan(AT, ExchangeKey("side"), call(agent="a1", kind=CallKind.COUNT), 7)
    state, actions = turn.step(AGENT, state, side)
    assert actions == ()
    placed, actions = turn.step(AGENT, state, TurnAbove(AT, TRACE, ROOT))
    assert [action.event.trace_id for action in actions] == [TRACE, TRACE]
    assert turn.step(AGENT, placed, TurnAbove(AT, "f" * 32, ROOT)) == (placed, ())
    # Before the answer came, the end lets them go.
    _, actions = turn.step(AGENT, state, ShutdownRequested(AT))
    assert [action.key.id for action in actions[:2]] == ["a", "side"]


@pytest.mark.spec("turn.joins", "turn.remembered", "turn.shown", "compact.metadata")
def test_a_compaction_belongs_to_the_open_turn_and_takes_nothing_from_it() -> None:
    story = executing("t1")
    story.begins("sum", call(kind=CallKind.COMPACTION, messages=9, results=done("t1")), after=2)
    story.ends("sum", says("…"), after=3)
    assert (story.place("sum").index, story.place("sum").shown) == (2, 1)
    story.begins("x2", call("prompt:p1", messages=1), after=4)
    assert (story.place("x2").trace_id, story.place("x2").index, story.place("x2").shown) == (TRACE, 3, 0)
    story.ends("x2", says("Done."), after=5).hook("Stop", after=6)
    assert dict(story.roots[0].attributes)["loom.source"] == "laptop"


@pytest.mark.spec("turn.joins")
def test_a_compaction_shares_no_name_with_its_turn() -> None:
    story = answered().begins("sum", call("text:summarise", kind=CallKind.COMPACTION), after=2)
    assert (story.place("sum").index, story.outcomes) == (2, [])


def drifts(story: Turns) -> int:
    noted = [it for it in story.done if isinstance(it, Note) and it.text.startswith("compaction drift")]
    counted = [it for it in story.figures if it.name == "loom.compaction.drift"]
    assert len(noted) == len(counted)
    return len(noted)


@pytest.mark.parametrize("ends", ["PostCompact", "SessionStart"])
@pytest.mark.spec("compact.drift-hooks")
def test_hooks_that_tell_of_a_compaction_nobody_saw_are_noted_once(ends: str) -> None:
    story = executing("t1").hook("PreCompact", after=2)
    story.begins("x2", call("prompt:p1", messages=1, results=done("t1")), after=3).ends(
        "x2", says("…"), after=4
    )
    story.hook(ends, after=5)
    assert drifts(story) == 1
    story.hook(ends, after=6).hook("PostCompact", after=7)
    assert drifts(story) == 1
    assert story.turn.heard_at == AT + 7 * SECOND, "it is heard like any other"


@pytest.mark.spec("compact.drift-hooks")
def test_a_compaction_that_was_seen_is_none_whatever_else_was_asked_meanwhile() -> None:
    story = executing("t1").hook("PreCompact", after=2)
    story.begins("sum", call(kind=CallKind.COMPACTION, messages=9), after=3).ends("sum", says("…"), after=4)
    story.begins("x2", call("prompt:p1", messages=1), after=5).hook("PostCompact", after=6)
    assert drifts(story.hook("SessionStart", after=7)) == 0


@pytest.mark.parametrize(("seen", "told"), [(True, 0), (False, 1)])
@pytest.mark.spec("compact.drift-hooks")
def test_between_two_turns_the_hooks_are_heard_too(*, seen: bool, told: int) -> None:
    story = answered().hook("Stop", after=2, prompt_id="p1")
    assert story.is_now(WaitingForUser)
    story.hook("PreCompact", after=3)
    if seen:
        story.begins("sum", call(kind=CallKind.COMPACTION, messages=9), after=4)
        story.ends("sum", says("…"), after=5)
    assert drifts(story.hook("PostCompact", after=6)) == told


@pytest.mark.spec("compact.drift-hooks")
def test_a_hook_of_a_session_whose_requests_are_not_seen_says_nothing() -> None:
    story = Turns().hook("PreCompact").hook("PostCompact", after=1)
    assert drifts(story) == 0


@pytest.mark.spec("turn.repeated")
def test_a_late_call_of_a_prompt_is_told_below_its_root() -> None:
    story = executing("t1").begins("x2", call(results=done("t1")), after=2).ends("x2", says("Done."), after=3)
    story.hook("Stop", after=4).begins("x3", call("prompt:p1"), after=5).shuts_down()
    first, second = story.roots
    assert (first.span_id, second.parent_id, second.trace_id) == (ROOT, ROOT, TRACE)
    assert second.span_id != ROOT
    assert len(story.named("hook:")) == 1


@pytest.mark.spec("turn.shown")
def test_what_was_shown_is_counted_until_the_conversation_shrinks() -> None:
    story = Turns().begins("x1", call("prompt:p1", messages=1)).ends("x1", asks("t1"), after=1)
    story.begins("x2", call("prompt:p1", messages=3, system_hash="s2", results=done("t1")), after=2)
    story.ends("x2", says("Yes."), after=3).hook("Stop", after=4).begins("x3", call("prompt:p2", messages=5))
    story.begins("x4", call("prompt:p2", messages=2), after=5)
    places = [story.place(name) for name in ("x1", "x2", "x3", "x4")]
    assert [place.shown for place in places] == [0, 1, 3, 0]
    assert [sorted(place.systems) for place in places] == [[], ["s1"], ["s1", "s2"], ["s1", "s2"]]


@pytest.mark.spec("turn.content")
def test_spans_hold_as_much_as_is_allowed() -> None:
    for content in Content:
        story = Turns().begins("x1", call("prompt:p1", metadata=METADATA), content=content)
        story.ends("x1", asks("t1"), after=1).shuts_down()
        tool, root = story.named("execute_tool")[0], story.roots[0]
        for span in (tool, root):
            assert ("input.value" in dict(span.attributes)) == (content is Content.FULL)
        (hook,) = story.named("hook:")
        assert ("metadata" in dict(hook.attributes)) == (content is not Content.OFF)


@pytest.mark.spec("turn.key")
def test_a_stand_in_for_a_session_is_told_to_nobody() -> None:
    key = TurnKey("~text:a", "")
    story = Turns().begins("x1", call("text:a", session=""), key=key).shuts_down()
    assert story.roots[0].name == "user-turn:unknown"
    assert "~text:a" not in dict(story.roots[0].attributes).values()


# ------------------------------------------------------------------ whatever comes, in any order

TIMES = st.integers(AT, AT + 4000 * SECOND)
NAMES = st.sampled_from(["x1", "x2", "x3", "x4"]).map(ExchangeKey)
CALLS = st.builds(
    lambda name, kind, results, messages, metadata: call(
        *name, kind=kind, results=results, messages=messages, metadata=metadata
    ),
    st.sampled_from([(), ("prompt:p1",), ("prompt:p2",), ("text:a",), ("text:b",)]),
    st.sampled_from(CallKind),
    st.sampled_from([(), done("t1"), done("t2", is_error=True)]),
    st.integers(0, 9),
    st.sampled_from([None, METADATA, evolve(METADATA, prompt_id="")]),
)
SEEN = st.sampled_from([None, asks("t1"), asks("t1", "t2"), says("Yes."), says("…", "pause_turn")])
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(CallBegan, TIMES, NAMES, CALLS, st.integers(0, 2**64)),
    st.builds(CallEnded, TIMES, NAMES, SEEN, st.booleans(), st.sampled_from(["reset", "client gone"])),
    st.builds(TimerFired, TIMES, st.sampled_from(["turn-end", "turn-silence", "other"])),
    st.builds(
        HookReported,
        TIMES,
        st.sampled_from(["Stop", "PostToolUse", "Unheard"]),
        st.sampled_from(["", "p1", "p2"]),
        st.sampled_from(["", "t1", "t2"]),
    ),
    st.builds(AgentBegan, TIMES, st.just(AGENT)),
    st.builds(TurnAbove, TIMES, st.sampled_from(["", TRACE]), st.just(ROOT)),
    st.builds(RequestEnded, TIMES),
)
STORIES = st.lists(st.tuples(st.sampled_from([MAIN, AGENT]), EVENTS), max_size=30)


@pytest.mark.spec("turn.balanced", "turn.answered", "turn.total")
@given(STORIES)
def test_every_turn_begun_exports_its_root_once_and_every_call_is_answered(
    story: list[tuple[TurnKey, Event]],
) -> None:
    turns = Turns()
    for seed, (key, event) in enumerate(story):
        turns.tell(evolve(event, seed=seed) if isinstance(event, CallBegan) else event, key)
    turns.shuts_down(after=9999)
    begun = sum(place.index == 1 for places in turns.joined.values() for place in places)
    spans = [span.span_id for span in turns.roots]
    assert len(spans) == len(set(spans)) == begun
    asked = sum(isinstance(event, CallBegan) for _, event in story)
    assert sum(map(len, turns.joined.values())) == asked
    assert all(span.end >= span.start for span in turns.spans)


@pytest.mark.spec("turn.total")
@given(STORIES, EVENTS)
def test_an_event_that_does_not_fit_is_noted_and_changes_nothing(
    story: list[tuple[TurnKey, Event]], last: Event
) -> None:
    turns = Turns()
    for key, event in story:
        turns.tell(event, key)
    for state in (*turns.states.values(), WaitingForUser(), ShuttingDown()):
        name = type(state).__name__
        noted = (Note(f"invalid transition: RequestEnded in {name}"),)
        assert turn.step(MAIN, state, RequestEnded(AT)) == (state, noted)
        after, actions = turn.step(MAIN, state, last)
        if any(isinstance(action, Note) for action in actions):
            assert (after, len(actions)) == (state, 1)


@pytest.mark.spec("turn.repeatable")
@given(STORIES)
def test_the_same_events_give_the_same_states_and_actions(story: list[tuple[TurnKey, Event]]) -> None:
    first, second = Turns(), Turns()
    for turns in (first, second):
        for key, event in story:
            turns.tell(event, key)
    assert first.states == second.states
    assert first.done == second.done


@pytest.mark.spec("turn.isolated")
@settings(max_examples=20)
@given(st.permutations([number for number in range(50) for _ in range(4)]))
def test_fifty_sessions_never_mix(order: list[int]) -> None:
    turns, parts = Turns(), Counter[int]()
    for number in order:
        part = parts[number]
        parts[number] += 1
        session = f"s{number:07}"
        key, name = TurnKey(session, ""), f"{session}-{part}"
        asked = call("text:same prompt", session=session, results=done("t1") if part == 2 else ())
        match part:
            case 0 | 2:
                turns.begins(name, asked, after=part, key=key)
            case 1:
                turns.ends(f"{session}-0", asks("t1"), after=part, key=key)
            case _:
                turns.ends(f"{session}-2", says(session), after=part, key=key)
                turns.fires("turn-end", after=9, key=key)
    assert len({root.trace_id for root in turns.roots}) == 50
    for root in turns.roots:
        told = dict(root.attributes)
        session = str(told["session.id"])
        assert (told["output.value"], told["loom.turn.calls"]) == (session, 2)
        assert {turns.place(f"{session}-{part}").trace_id for part in (0, 2)} == {root.trace_id}


@pytest.mark.spec("turn.apart")
def test_a_call_that_offers_no_tool_is_none_of_a_loop_that_does() -> None:
    # As 2.1.9 asks a small model about the output of each command, with no class, id or session header.
    story = Turns().begins("x1", call("text:a", offers=True)).ends("x1", asks("t1"), after=1)
    story = story.begins("side", call("text:Command: echo"), after=2).ends("side", says("Nothing."), after=3)
    assert story.is_now(ExecutingTools)
    story = story.begins("x2", call("text:a", offers=True, results=done("t1")), after=4)
    story = story.ends("x2", says("Done."), after=5).fires("turn-end", after=11)
    assert story.outcomes == ["complete"]
    assert story.begins("late", call("text:A title?"), after=12).is_now(WaitingForUser)
    assert story.place("late").trace_id == ""


@pytest.mark.spec("miss.expected", "miss.kin")
def test_a_call_is_told_what_the_ones_before_it_were() -> None:
    shape = Shape("m", b"", (), 0, b"k" * KEY, b"\2", None, cached=1_000)
    story = Turns().begins("x1", P1)
    story.tell(CallEnded(AT, ExchangeKey("x1"), says("Yes."), ok=True, failure="", shape=shape))
    story.begins("x2", P1, after=1).begins("x3", call(kind=CallKind.AUXILIARY), after=2)
    assert [story.place(name).before for name in ("x1", "x2", "x3")] == [(), (shape,), ()]
    # One that was of an earlier turn counts, and so does one that ended without telling.
    story.begins("x4", P2, after=3).ends("x4", says("Yes."), after=4)
    later = evolve(shape, cached=2_000)
    story.tell(CallEnded(AT, ExchangeKey("x2"), says("Yes."), ok=True, failure="", shape=later))
    story.hook("Stop", after=5, prompt_id="p2")
    assert story.begins("x5", call("prompt:p3"), after=6).place("x5").before == (later,)
