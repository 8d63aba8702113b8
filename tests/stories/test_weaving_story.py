"""Whole sessions against a reference: a client, two processes, a store that may ail, a memory of anything.

The rules are what can happen; what must hold is in `tests/support/sessions.py`.
"""

import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace as evolve

from loom_core.actions import Decide, Recall, Remember
from loom_core.lookup import Memory, Provenance, Recalled
from loom_core.meter import Meter
from loom_core.values import Headers
from loom_core.weaving import IDLE
from tests.support.conversations import (
    PICTURE,
    STYLES,
    Message,
    Sent,
    answer,
    asks_tool,
    body,
    hostile,
    prompt,
    text,
)
from tests.support.processes import AILMENTS
from tests.support.sessions import ASKS, PROFILE, SUMMARY, SYSTEMS, WISHES, Line, Reference, before_last
from tests.support.weaving import AGENT, AT, COMPACTION, COUNT, LIST, MAIN, SIDE

HOW = ("new", "old", "slow", "")
WORDS = ("hi", "continue", "Tea?", "über \N{GRINNING FACE}")
NOTES = [text("<system-reminder>\nToday is Monday.\n</system-reminder>")]


class Sessions(Reference):
    """`may_ail`: the store. `may_move`: from one process to another, or to a restarted one."""

    may_ail = may_move = True

    # What the client does

    @initialize(layout=st.sampled_from("ABC"), words=st.sampled_from(WORDS), how=st.data())
    def begins(self, layout: str, words: str, how: st.DataObject) -> None:
        self.line.layout = layout
        self._types(words)
        self._main(how)

    @rule(words=st.sampled_from(WORDS), how=st.data(), picture=st.booleans())
    def prompts(self, words: str, how: st.DataObject, *, picture: bool) -> None:
        """A person types, mostly after an answer.

        After an interruption there is none, and the prompts are two messages or one.
        """
        last = self.line.messages[-1]
        if how.draw(st.integers(0, 4)):
            self.line.messages.append(answer(f"Yes, {words}."))
        elif self._is_prompt(last) and how.draw(st.booleans()):
            more = [text("[interrupted]"), text(words)]
            self.line.messages[-1] = {**last, "content": [*last["content"], *more]}
            self._main(how)
            return
        if picture:
            self.line.messages.append(PICTURE)
        else:
            self._types(words)
        self._main(how)

    @rule(many=st.integers(1, 3), how=st.data())
    def uses_tools(self, many: int, how: st.DataObject) -> None:
        names = [f"t{number}" for number in range(many)]
        uses = [asks_tool(name)["content"][1] for name in names]
        done = [{"type": "tool_result", "tool_use_id": name, "content": [text(name)]} for name in names]
        self.line.messages += [{"role": "assistant", "content": uses}, {"role": "user", "content": done}]
        self._main(how)

    @rule(how=st.data(), same=st.booleans())
    def tries_again(self, how: st.DataObject, *, same: bool) -> None:
        self._goes_up(self._begun(self.here, self.line.sent if same else self._written(how)))

    @rule(at=st.integers(0, 9), words=st.sampled_from(("", *WORDS)), forks=st.booleans(), how=st.data())
    def goes_back(self, at: int, words: str, how: st.DataObject, *, forks: bool) -> None:
        """To an earlier prompt, as it was or edited; as a branch, or for good."""
        prompts = [number for number, it in enumerate(self.line.messages) if it["role"] == "user"]
        until = prompts[at % len(prompts)]
        kept = self.line.messages[: until + (not words)]
        if forks:
            self.line = Line(kept, self.line.model, self.line.layout, set(self.line.served))
            self.lines.append(self.line)
        self.line.messages = kept
        if words:
            self._types(f"{words} rather")
        self._main(how)

    @rule(which=st.integers(0, 9), process=st.integers(0, 1))
    def resumes(self, which: int, process: int) -> None:
        """Another conversation of the session, or the same, now perhaps served by the other process."""
        self.line = self.lines[which % len(self.lines)]
        self.here = self.processes[process if self.may_move else 0]

    @rule(words=st.sampled_from(WORDS), how=st.data())
    def comes_from_elsewhere(self, words: str, how: st.DataObject) -> None:
        """A conversation whose beginning no Loom has seen."""
        self.line = Line([prompt(f"Old {len(self.lines)}"), answer("Yes."), prompt("Older"), answer("No.")])
        self.lines.append(self.line)
        self._types(words)
        self._main(how)

    @rule(how=st.data())
    def changes_the_model(self, how: st.DataObject) -> None:
        self.line.model = "n" if self.line.model == "m" else "m"
        self._main(how)

    @precondition(lambda self: self.may_move)
    @rule(how=st.data(), duplicates=st.lists(st.integers(0, 1), max_size=9))
    def asks_both_processes_at_once(self, how: st.DataObject, duplicates: list[int]) -> None:
        self._asks_more()
        told = self._written(how)
        both = [self._begun(process, told) for process in self.processes]
        for number in duplicates:
            if both[number].asks:
                self._answers(both[number])
        for passage in both:
            self._notes(passage)
        for passage in both:
            self._goes_up(passage)

    @rule(how=st.data(), answers=st.integers(0, 2))
    def leaves_while_it_is_woven(self, how: st.DataObject, answers: int) -> None:
        self._asks_more()
        passage = self._begun(self.here, self._written(how))
        for _ in range(answers):
            if passage.asks:
                self._answers(passage)
        if passage.asks:
            passage.leaves()
            assert passage.up is None, "nothing was ordered"
        else:
            self._goes_up(passage)
        self._notes(passage)

    @rule(how=st.data(), undecided=st.booleans())
    def counts_tokens(self, how: st.DataObject, *, undecided: bool) -> None:
        self._beside(how, (MAIN,), COUNT, undecided=undecided)

    @precondition(lambda self: self.line.model in self.line.served)
    @rule(how=st.data(), headers=st.sampled_from([AGENT, (SIDE,)]))
    def asks_beside_it(self, how: st.DataObject, headers: Headers) -> None:
        """A fork of a subagent's, or a call of the client's own, with a prompt of its own at the end."""
        self._beside(how, headers, b"/v1/messages", undecided=True)

    @rule(words=st.sampled_from(WORDS))
    def asks_a_subagent(self, words: str) -> None:
        told = body([prompt(f"You find {words}.")], Sent(system="You are a subagent.", markers=(0,)))
        passage = self._begun(self.here, told, AGENT)
        self._goes_up(passage)
        assert passage.up == told

    @precondition(lambda self: self.line.model in self.line.served)
    @rule(wishes=st.sampled_from(["", WISHES]), joins=st.booleans(), goes_on=st.booleans(), how=st.data())
    def compacts(self, wishes: str, how: st.DataObject, *, joins: bool, goes_on: bool) -> None:
        """The instruction is a message of its own, or stands behind what was said last."""
        kept, last, asks = self.line.messages, self.line.messages[-1], text(ASKS + wishes)
        if joins and last["role"] == "user":
            self.line.messages = [*kept[:-1], {**last, "content": [*last["content"], asks]}]
        else:
            self.line.messages = [*kept, {"role": "user", "content": [asks]}]
        self._goes_up(self._begun(self.here, self._written(how), (COMPACTION,)))
        self.line.messages = kept
        if goes_on:
            self.line.messages = [{"role": "user", "content": [*NOTES, text(SUMMARY)]}]
            self.line.served.clear()
            self._types("Where were we?")
            self._main(how)

    # What becomes of the world

    @precondition(lambda self: self.may_move)
    @rule(number=st.integers(0, 1))
    def restarts(self, number: int) -> None:
        self.processes[number].restart()

    @precondition(lambda self: self.may_ail)
    @rule(ails=st.sampled_from(AILMENTS))
    def store_ails_or_heals(self, ails: str) -> None:
        self.shared.ails = ails

    @precondition(lambda self: self.may_ail)
    @rule()
    def store_is_flushed(self) -> None:
        self.shared.ledgers.clear()
        self.shaken = True

    @rule(
        says=hostile, provenance=st.sampled_from(Provenance), how=st.sampled_from(["new", "old", "slow", ""])
    )
    def memory_learns(self, says: str, provenance: Provenance, how: str) -> None:
        self.memories += how == "new"
        found = Memory(f"m-{self.memories}", says, AT, provenance), Memory("m", "Ann likes tea. " * 9, AT)
        late = Recalled(trouble="no answer within 250 ms")
        self.memory = {"slow": late, "": Recalled()}.get(how, Recalled(found))

    @rule(says=hostile, name=st.sampled_from(["ann:mood", "ann:news", LIST]))
    def store_learns(self, says: str, name: str) -> None:
        self.shared.texts[name] = says
        self.shared.lists[name] = (*self.shared.lists.get(name, ()), says)[-3:]

    @precondition(lambda self: not self.may_ail)
    @rule()
    def profile_changes(self) -> None:
        """Only where nothing ails: after a trouble the store may hold an older pin, and an older last use."""
        self.versions += 1
        mine = evolve(PROFILE.pieces[0], text=f"I am Ann the {self.versions}.")
        going_on = evolve(PROFILE.compaction, continuation=f"I am back ({self.versions}).")
        self.continuations.add(going_on.continuation)
        self.profile = evolve(
            PROFILE, version=f"{self.versions}", pieces=(mine, *PROFILE.pieces[1:]), compaction=going_on
        )

    @rule()
    def hours_pass(self) -> None:
        """All that upstream had cached is gone, and a new identity may be adopted."""
        self.epoch, self.now = self.epoch + 1, self.now + 2 * IDLE
        self.bare, self.full = Meter(), Meter()
        for line in self.lines:
            line.served.clear()

    # How a request goes

    def _is_prompt(self, message: Message) -> bool:
        kinds = {block["type"] for block in message["content"]}
        return message["role"] == "user" and "tool_result" not in kinds

    def _asks_more(self) -> None:
        self.line.messages.append(answer("Yes."))
        self._types("More.")

    def _types(self, words: str) -> None:
        """As the layouts of contracts, section 1, have it: what the client adds comes after or before."""
        if self.line.layout == "C":
            self.line.messages.append({"role": "user", "content": [*NOTES, text(words)]})
        else:
            notes = NOTES if self.line.layout == "B" else [text("Today is Monday.")]
            self.line.messages += [prompt(words), {"role": "system", "content": notes}]

    def _written(self, how: st.DataObject, *more: Message) -> bytes:
        system = SYSTEMS[how.draw(st.sampled_from(sorted(SYSTEMS)))]
        messages = [*self.line.messages, *more]
        marks = (0, *before_last(messages)) if how.draw(st.booleans()) else (0,)
        style, strings = how.draw(st.sampled_from(STYLES)), how.draw(st.integers(1, 3))
        told = body(messages, Sent(strings, marks, style, system))
        return told.replace(b'"m"', b'"' + self.line.model.encode() + b'"', 1)

    def _main(self, how: st.DataObject) -> None:
        self.line.sent = self._written(how)
        self._goes_up(self._begun(self.here, self.line.sent))

    def _beside(self, how: st.DataObject, headers: Headers, path: bytes, *, undecided: bool) -> None:
        more = (answer("Well?"), prompt("Aside.")) if undecided else ()
        held = json.dumps(self.shared.ledgers)
        passage = self._begun(self.here, self._written(how, *more), headers, path)
        self._goes_up(passage)
        assert not [it for it in passage.done if isinstance(it, Recall | Decide | Remember)]
        assert json.dumps(self.shared.ledgers) == held, "it wrote nothing"


class WhereNothingAils(Sessions):
    may_ail = False


class InOneProcess(Sessions):
    may_move = False


@pytest.mark.parametrize("sessions", [WhereNothingAils, InOneProcess, Sessions])
@pytest.mark.hypothesis
@pytest.mark.timeout(60 if settings().max_examples < 100 else 3_600)
@pytest.mark.spec(
    "weave.every-earlier",
    "weave.same-bytes",
    "weave.insert",
    "weave.restart",
    "weave.duplicates",
    "weave.markers",
    "weave.never-back",
    "weave.flushed",
    "weave.one-block",
    "weave.count-writes-nothing",
    "weave.budgets",
    "weave.once",
    "weave.canary",
    "weave.costs",
)
def test_whole_sessions_keep_what_was_woven_whatever_happens_around_them(sessions: type[Sessions]) -> None:
    many = settings(stateful_step_count=40)
    run_state_machine_as_test(sessions, settings=many)
