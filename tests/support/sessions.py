"""What whole sessions are held against: what was decided at each place, and all that went up before."""

import json
from collections import defaultdict
from typing import Any

from attrs import define, field
from hypothesis.stateful import RuleBasedStateMachine
from msgspec.structs import replace as evolve

from loom_core import call, chain, compose, ledger
from loom_core.actions import Recall
from loom_core.block import CANARY
from loom_core.chain import Conversation
from loom_core.ledger import Decision
from loom_core.lookup import Answers, Memory, Recalled
from loom_core.meter import LOOK_BACK, Meter, measure
from loom_core.profile import CompactionRules, MemoryRules
from loom_core.rewording import DEMAND
from loom_core.subject import scope_of
from loom_core.values import Headers
from loom_core.wordings import ADDITIONAL, CONTINUATIONS, CONTINUED, INSTRUCTIONS
from loom_core.wrapper import is_reminder, tokens
from tests.support.conversations import (
    Message,
    flat,
    markers,
    text,
    without,
)
from tests.support.processes import Passage, Process, Shared
from tests.support.weaving import ANN, AT, COMPACTION, COUNT, MAIN, WHOSE, request, rules

PROFILE = evolve(
    ANN,
    memories=MemoryRules(most=2, budget=60, session_budget=150),
    compaction=CompactionRules(prompt="I write down what counts.", continuation="I am back (1)."),
)
ASKS = f"{INSTRUCTIONS[1].begins}\n\nFiller.\n\n{INSTRUCTIONS[1].holds[0]} of it, in <summary> tags."
WISHES = f"{ADDITIONAL}keep the tin"
GOES_ON = f"{CONTINUATIONS[-1].begins} Filler of that paragraph."
SUMMARY = f"{CONTINUED}\n\nSummary:\nTea.\n{GOES_ON}\n\nA paragraph of its own."
SYSTEM = "You are a careful assistant. " * 160
"""Long enough to be cached."""
SYSTEMS: dict[str, Any] = {
    "string": SYSTEM,
    "list": [text(SYSTEM)],
    "marked": [text(SYSTEM) | {"cache_control": {"type": "ephemeral"}}],
}
EPHEMERAL = compose.ephemeral(PROFILE, Answers())
REACH = LOOK_BACK - 2
"""Of a request that is near: its own end counts, and a block of ours may stand behind the marker."""
SCOPE = scope_of(call.read(b"/v1/messages", WHOSE, b'{"messages":[]}', None))


@define
class Line:
    """A conversation as its client has it. `model` is known to the Loom once a request of it went up."""

    messages: list[Message] = field(factory=list)
    model: str = "m"
    layout: str = "C"
    served: set[str] = field(factory=set)
    sent: bytes = b""


class Gone:
    """A request that went up: the client's and ours, each with what it comes to, ephemeral text aside."""

    def __init__(self, root: str, passage: Passage, decides: bool, epoch: int) -> None:  # noqa: FBT001
        self.root, self.decides, self.epoch = root, decides, epoch
        self.sticky: list[str] = []
        self.client, self.woven = passage.body, passage.up or b""
        self.compacts = COMPACTION in passage.request.request.headers
        self.continuation = continuation(self.woven)
        self.expected = reworded(self.client, self.continuation, compacts=self.compacts)
        self.before = flat(self.client)
        self.after = [it for it in flat(self.woven) if it[1].get("text") != EPHEMERAL]
        self.identity = added(self.expected, self.woven)[0][-1]
        self.is_answered = not passage.request.request.target.startswith(COUNT)


def continuation(woven: bytes) -> str:
    """How a conversation that goes on from a summary is told to go on, "" for another."""
    for _, block in flat(woven):
        head, begun, rest = block.get("text", "").partition("Tea.\n")
        if begun and head.startswith(CONTINUED):
            return str(rest.partition("\n\n")[0])
    return ""


def reworded(client: bytes, goes_on: str, *, compacts: bool) -> bytes:
    """What the client sent, with the profile's words in the place of its own."""
    asked = json.loads(client)
    for message in asked["messages"]:
        if isinstance(message["content"], str):
            message["content"] = [text(message["content"])]
        for block in message["content"]:
            said = block.get("text", "")
            if said.startswith(CONTINUED):
                block["text"] = said.replace(GOES_ON, goes_on)
            elif compacts and said.startswith(ASKS):
                block["text"] = said.replace(ASKS, PROFILE.compaction.prompt) + f"\n\n{DEMAND}"
    return json.dumps(asked).encode()


def begins(longer: list[Any], shorter: list[Any]) -> bool:
    return longer[: len(shorter)] == shorter


def added(client: bytes, woven: bytes) -> list[list[list[str]]]:
    """What was put behind each block of `system` and of each message, which keep their order."""
    found = []
    for ours, theirs in zip(contents(woven), contents(client), strict=True):
        behind: list[list[str]] = [[]]
        for block in ours:
            if len(behind) <= len(theirs) and plain(block) == plain(theirs[len(behind) - 1]):
                behind.append([])
            else:
                assert set(block) == {"type", "text"}
                behind[-1].append(block["text"])
        assert len(behind) == len(theirs) + 1, "all that is the client's is there"
        found.append(behind)
    return found


def contents(told: bytes) -> list[list[Any]]:
    asked = json.loads(told)
    parts = [asked.get("system") or [], *(message["content"] for message in asked["messages"])]
    return [[text(part)] if isinstance(part, str) else part for part in parts]


def before_last(messages: list[Message]) -> tuple[int, ...]:
    """Where older clients have one more marker: the end of the user's message before the last."""
    ends = [number for number, it in enumerate(messages) if it["role"] == "user"][:-1]
    return tuple(sum(len(it["content"]) for it in messages[number + 1 :]) for number in ends[-1:])


def plain(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != "cache_control"}


class Reference(RuleBasedStateMachine):
    """A machine that has no rules yet. What goes up is held against the reference.

    A session is *steady* as long as no process that served it lost what it alone knew: nothing ailed and
    nothing was flushed, or one process that was never restarted served all of it. Then everything must
    hold, else what can.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shared = Shared()
        self.processes = [Process(self.shared), Process(self.shared)]
        self.here = self.processes[0]
        self.lines = [Line()]
        self.line = self.lines[0]
        self.memory, self.memories = Recalled(), 0
        self.profile, self.versions, self.epoch, self.now = PROFILE, 1, 0, AT
        self.continuations = {PROFILE.compaction.continuation}
        self.stands: defaultdict[str, list[str]] = defaultdict(list)
        self.decisions: dict[str, Decision] = {}
        self.gone: list[Gone] = []
        self.served: set[tuple[int, int]] = set()
        self.shaken = False
        self.bare, self.full, self.is_metered = Meter(), Meter(), True

    def _begun(
        self, process: Process, told: bytes, headers: Headers = (MAIN,), path: bytes = b"/v1/messages"
    ) -> Passage:
        self.now += 10**9
        asked = request((*WHOSE, *headers), path, rules(self.profile), self.now)
        return Passage(process, asked, told, self.now)

    def _goes_up(self, passage: Passage) -> None:
        """Every question is answered, and what goes up is held against all that went up before."""
        while passage.asks:
            self._answers(passage)
        self._notes(passage)
        woven, client, told = passage.up or b"", passage.body, passage.taken.woven
        decides = passage.taken.owed is not None
        passage.ends()
        if told is None or not told.is_whole:
            assert woven == client
            assert told is None or self.shaken
            self.is_metered = self.is_metered and told is None
            return
        conversation = chain.read(client, SCOPE, instructs=COMPACTION in passage.request.request.headers)
        assert conversation is not None
        new = Gone(conversation.root, passage, decides, self.epoch)
        if new.compacts and not new.identity:
            assert self.shaken, "what was decided could not be told"
            assert flat(woven) == flat(new.expected)
            self.is_metered = False
            return
        new.sticky = self._sticky(conversation, new.expected, woven)
        known = [anchor.key in self.stands for anchor in conversation.anchors]
        assert all(known) or not (decides and self._is_steady()), "what goes up is decided, if only as bare"
        if decides:
            self.line.served.add(self.line.model)
        self._is_safe(new)
        if self._is_steady():
            self._extends_all(new)
            self._costs_no_more(new)
        self.gone.append(new)

    def _answers(self, passage: Passage) -> None:
        """Of two prompts the memory has something new to say to one."""
        memory = self.memory
        if isinstance(passage.asks, Recall) and not memory.memories and not memory.trouble:
            self.memories += 1
            memory = Recalled(
                (Memory(f"m-{self.memories}", f"Ann said {self.memories}.", AT),) * (self.memories % 2)
            )
        passage.answer(memory)

    def _notes(self, passage: Passage) -> None:
        """What was decided, and who knows of it."""
        process = passage.process
        self.served.add((self.processes.index(process), process.life))
        self.shaken = self.shaken or process.troubles > 0
        conversation = chain.read(passage.body, SCOPE)
        newest = conversation.newest if conversation else None
        for _, entry, value in passage.decided:
            if entry.name.startswith("a:"):
                key = entry.name.removeprefix("a:")
                given, stands = ledger.decode(entry.value), ledger.decode(value)
                assert given is not None
                assert stands is not None
                assert not given.text or (newest and newest.key == key), "only at the newest place"
                self.decisions[stands.text] = stands
                if stands.text not in self.stands[key]:
                    self.stands[key].append(stands.text)

    def _is_steady(self) -> bool:
        return not self.shaken or len(self.served) == 1

    def _sticky(self, conversation: Conversation, client: bytes, woven: bytes) -> list[str]:
        """What is woven at the anchors, one text at most at each, and at no other place."""
        places = added(client, woven)[1:]
        found = []
        past: list[int] = []
        for anchor in conversation.anchors:
            past.append(anchor.message)  # Each block of a prompt has an anchor behind it.
            number = past.count(anchor.message)
            texts, places[anchor.message][number] = places[anchor.message][number], []
            if texts[-1:] == [EPHEMERAL]:
                assert anchor == conversation.newest
                texts = texts[:-1]
            assert len(texts) <= 1, "one block at an anchor"
            found += texts or [""]
            stands = self.stands.get(anchor.key, [])
            assert found[-1] in ["", *stands]
            assert not self._is_steady() or [found[-1]] == (stands or [""])
        assert not any(texts for blocks in places for texts in blocks)
        return [it for it in found if it]

    def _is_safe(self, new: Gone) -> None:
        """What holds whatever ails."""
        client, woven = new.expected, new.woven
        ours = [*new.sticky, *new.identity, EPHEMERAL]
        assert without(woven, ours) == without(client, ours)
        assert markers(woven) == markers(client)
        assert CANARY not in woven
        assert len(new.identity) == 1
        assert tokens(new.identity[0]) <= PROFILE.identity_budget
        assert new.continuation in {"", GOES_ON, *self.continuations}
        for words in new.sticky:
            assert is_reminder(words)
            assert words.count("Memory #") <= PROFILE.memories.most

    def _extends_all(self, new: Gone) -> None:
        """Against every earlier request, not only the last."""
        made = [self.decisions[words] for words in new.sticky]
        names = [name for decision in made for name in decision.ids]
        assert len(set(names)) == len(names)
        noted = [mark for decision in made for mark in decision.marks if ":" not in mark]
        assert len(set(noted)) == len(noted), "no memorable twice"
        assert sum(decision.tokens for decision in made) <= PROFILE.memories.session_budget
        for old in self.gone:
            if old.decides and begins(new.before, old.before):
                assert begins(new.after, old.after)
            if not (old.decides and new.decides):
                continue  # It may have gone up before its newest prompt was decided.
            if begins(old.before, new.before):
                assert begins(old.after, new.after)
            if (old.root, old.epoch) == (new.root, new.epoch):
                assert old.identity == new.identity
                assert old.continuation == new.continuation
                assert old.client != new.client or old.woven == new.woven

    def _costs_no_more(self, new: Gone) -> None:
        """Of the client's own content upstream reads as much from its cache as without weaving.

        It looks back so many positions and no further, and our blocks take some: so a request that goes on
        from another within that reach is asked for.
        """
        if not (self.is_metered and new.is_answered):
            return
        self.bare, bare = measure(self.bare, json.loads(new.expected), self.now)
        self.full, full = measure(self.full, json.loads(new.woven), self.now)
        warm = (old for old in self.gone if old.decides and (old.root, old.epoch) == (new.root, new.epoch))
        if any(begins(new.after, old.after) and len(new.after) - len(old.after) < REACH for old in warm):
            assert full.cache_read_input_tokens >= bare.cache_read_input_tokens > 0
