"""Requests that belong to a profile, and a store and a memory that answer what their weaving asks."""

import json
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from loom_core import ledger
from loom_core.actions import Action, Decide, Keep, LookUp, Note, Recall, SendUpstream
from loom_core.events import (
    DecisionsMade,
    LookupsAnswered,
    MemoriesRecalled,
    RequestEnded,
    RequestReceived,
)
from loom_core.exchange import AwaitingHead
from loom_core.lookup import Answers, Memory, Recalled
from loom_core.outgoing import Taken, taken_whole
from loom_core.profile import Life, MemorableRules, MemoryRules, Piece, Profile
from loom_core.rules import Rules, Tracing, WeaveRules
from loom_core.values import Admission, Headers, Request
from loom_core.weaving import Answered
from tests.support.conversations import Message, Sent, answer, asks_tool, body, prompt, result
from tests.support.dialogue import Dialogue, chunk

AT = 1_700_000_000_000_000_000
MS = 1_000_000
SESSION = "5e551011-0000-4000-8000-000000000001"
WHOSE: Headers = ((b"x-claude-code-session-id", SESSION.encode()), (b"x-loom-source", b"ann"))
UNNAMED: Headers = WHOSE[:1]
"""The same session, and nothing that says whose it is."""
MAIN = (b"x-claude-code-request-class", b"main")
COMPACTION = (b"x-claude-code-request-class", b"compaction")
SIDE = (b"x-claude-code-request-class", b"auxiliary")
AGENT = ((b"x-claude-code-request-class", b"subagent"), (b"x-claude-code-agent-id", b"a-1"))
COUNT = b"/v1/messages/count_tokens"
SELF, NEWS, CLOCK = "I am Ann.", "The build is red.", "It is noon."
LIST = f"intro:memorables:{SESSION}"
ANN = Profile(
    "ann",
    "1",
    pieces=(
        Piece("self", Life.IDENTITY, heading="Self", text=SELF),
        Piece("mood", Life.IDENTITY, heading="Mood", key="ann:mood"),
        Piece("news", Life.STICKY, heading="News", key="ann:news"),
        Piece("clock", Life.EPHEMERAL, text=CLOCK),
    ),
)
BARE = Profile("ann", "1", memorables=MemorableRules(on=False), memories=MemoryRules(on=False))
"""Of it nothing is ever woven but what its test adds."""
IDENTITY = f"## Self\n\n{SELF}\n\n## Mood\n\nCalm."
TEA = Memory("m-1", "Ann likes tea.", AT, score=1.0)

FIRST = (prompt("Tea?"),)
LOOP: tuple[Message, ...] = (*FIRST, asks_tool("t"), result("t"))
SECOND = (*LOOP, answer("Yes."), prompt("Milk?"))


def rules(*profiles: Profile, tells: bool = True, traces: bool = False) -> Rules:
    named = {profile.name: profile for profile in profiles or (ANN,)}
    return Rules(tracing=Tracing(tells=traces), weaving=WeaveRules(named, tells))


def request(
    headers: Headers = WHOSE,
    path: bytes = b"/v1/messages",
    of: Rules | None = None,
    at: int = AT,
) -> RequestReceived:
    return RequestReceived(at, Request("POST", path, headers), of or rules(), Admission.OWN, 7)


def sent(*messages: Message, system: Any = "Be brief.", model: str = "m") -> bytes:  # noqa: ANN401 JSON
    """A body with these messages, one prompt by default."""
    told = body(messages or (prompt("Tea?"),), Sent(system=system))
    return told.replace(b'"model":"m"', b'"model":' + json.dumps(model).encode())


def taken(told: bytes | None = None, of: RequestReceived | None = None) -> Taken:
    return taken_whole(of or request(), sent() if told is None else told)


@define
class Sources:
    """A store of one ledger for all scopes, and a memory; what they hold, and what ails them."""

    fields: dict[str, str] = field(factory=dict)
    texts: dict[str, str] = field(factory=lambda: {"ann:mood": "Calm.", "ann:news": NEWS})
    lists: dict[str, tuple[str, ...]] = field(factory=dict)
    memories: tuple[Memory, ...] = (TEA,)
    is_read: bool = True
    trouble: str = ""
    forgotten: tuple[str, ...] = ()

    def answers(self, asked: LookUp) -> Answers:
        reading = asked.reading
        return Answers(
            {name: self.fields[name] for name in reading.fields if name in self.fields},
            {name: self.texts[name] for name in reading.texts if name in self.texts},
            {it: pairs for it in reading.patterns if (pairs := self._matching(it))},
            {name: self.lists[name] for name in reading.lists if name in self.lists},
            self.trouble,
            self.is_read or not reading.fields,
        )

    def answer(self, asked: object, at: int = AT + 10 * MS) -> Answered:
        """What a `LookUp`, a `Recall` or a `Decide` is answered with."""
        match asked:
            case LookUp():
                return LookupsAnswered(at, self.answers(asked))
            case Recall(question):
                found = tuple(it for it in self.memories if it.id not in question.exclude)
                return MemoriesRecalled(at, Recalled(found, forgotten=self.forgotten))
            case Decide(_, entries):
                for entry in entries:
                    if entry.expected is not None and self.fields.get(entry.name) == entry.expected:
                        del self.fields[entry.name]
                    self.fields.setdefault(entry.name, entry.value)
                return DecisionsMade(at, tuple(self.fields[it.name] for it in entries), self.trouble)
            case _:
                raise AssertionError(asked)

    def remembers(self, fields: tuple[tuple[str, str], ...]) -> None:
        self.fields.update(fields)

    def decided(self) -> list[str]:
        """The texts at the anchors, in the order in which they were decided."""
        found = (ledger.decode(text) for name, text in self.fields.items() if name.startswith("a:"))
        return [decision.text for decision in found if decision]

    def _matching(self, pattern: str) -> tuple[tuple[str, str], ...]:
        begin, _, end = pattern.partition("*")
        return tuple(
            (key, text)
            for key, text in sorted(self.texts.items())
            if key.startswith(begin) and key.endswith(end)
        )


def texts(told: bytes) -> list[str]:
    """Every text of a request in order: those of `system`, then those of the messages."""
    asked: Mapping[str, Any] = json.loads(told)
    contents = [asked.get("system") or [], *(message["content"] for message in asked["messages"])]
    return [
        it if isinstance(it, str) else it.get("text", "")
        for content in contents
        for it in ([content] if isinstance(content, str) else content)
    ]


# ------------------------------------------------------------------ stories


def begun(told: bytes, of: RequestReceived | None = None, at: int = AT) -> Dialogue:
    return Dialogue() >> (of or request()) >> chunk(told) >> RequestEnded(at)


def asks(story: Dialogue) -> LookUp | Recall | Decide:
    last = story.done[-1]
    assert isinstance(last, LookUp | Recall | Decide)
    return last


def through(sources: Sources, told: bytes, of: RequestReceived | None = None, at: int = AT) -> Dialogue:
    """All that is asked is answered, until the request goes up; and what is owed is remembered."""
    story = begun(told, of, at)
    while not story.of(SendUpstream):
        story = story << type(asks(story)) >> sources.answer(asks(story), at)
    story = story << SendUpstream
    beside: list[Action] = [*story.of(Keep), *story.of(Note)]
    for action in beside:
        story = story << action
    if isinstance(story.state, AwaitingHead) and story.state.taken.owed:
        sources.remembers(story.state.taken.owed.fields)
    return story


def up(story: Dialogue) -> bytes:
    (order,) = story.of(SendUpstream)
    assert order.body is not None
    return order.body


def kinds(story: Dialogue) -> list[str]:
    """What was asked and ordered, by name; what is kept beside it aside."""
    return [type(action).__name__ for action in story.done if not isinstance(action, Keep)]
