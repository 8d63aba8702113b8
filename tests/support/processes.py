"""Processes of a Loom at one store: the pure core, and what they ask answered as their shell does it.

The store is a model with the semantics of the one Redis (`HSETNX`, `HGET`, a compare and set); what a
process knows of the ledgers is the shell's own `Kept`, each with its own.
"""

from collections.abc import Mapping, Sequence

from attrs import define, field

from loom_core import loom
from loom_core.actions import Action, Decide, LookUp, Recall, Remember, SendHead, SendUpstream, Tell
from loom_core.events import (
    ClientGone,
    DecisionsMade,
    Event,
    LookupsAnswered,
    MemoriesRecalled,
    RequestChunkReceived,
    RequestEnded,
    RequestReceived,
    UpstreamEnded,
    UpstreamHeadReceived,
)
from loom_core.exchange import AwaitingHead, Finished
from loom_core.lookup import Answers, Entry, Reading, Recalled
from loom_core.outgoing import Taken
from loom_core.values import ExchangeKey
from loom_shell.kept import Kept

KEY = ExchangeKey("x-1")
BEGUN: list["Passage"] | None = None
"""Where a test puts a list, in which it finds all passages that begin."""
AILMENTS = ("", "away", "deaf", "full")
"""It answers; it does not; it writes and its answers are lost; it reads and refuses to write."""


@define
class Shared:
    """The one store: ledgers by scope, and texts."""

    ledgers: dict[str, dict[str, str]] = field(factory=dict)
    texts: dict[str, str] = field(factory=dict)
    lists: dict[str, tuple[str, ...]] = field(factory=dict)
    ails: str = ""

    def set_first(self, scope: str, name: str, value: str, expected: str | None = None) -> str:
        """What stands then: another's value, unless it is the expected one."""
        held = self.ledgers.setdefault(scope, {})
        stood = held.get(name)
        if stood is None or stood == expected:
            held[name] = value
        return held[name]


@define
class Process:
    """One process. A restart forgets what it kept."""

    shared: Shared
    kept: Kept = field(factory=Kept)
    life: int = 0
    troubles: int = 0

    def restart(self) -> None:
        self.kept, self.life = Kept(), self.life + 1

    def read(self, reading: Reading) -> Answers:
        shared, scope = self.shared, reading.scope
        if shared.ails in {"away", "deaf"}:
            self.troubles += 1
            known = self.kept.known(scope, reading.fields)
            return Answers(known, trouble="the store: slow", is_read=not reading.fields)
        held = shared.ledgers.get(scope, {})
        fields = {name: held[name] for name in reading.fields if name in held}
        if reading.fields:
            self.kept.learn(scope, fields)
            fields |= self.kept.lost(scope, (it for it in reading.fields if it not in fields))
        texts = {name: shared.texts[name] for name in reading.texts if name in shared.texts}
        lists = {name: shared.lists[name] for name in reading.lists if name in shared.lists}
        return Answers(fields, texts, {}, lists)

    def decide(self, scope: str, entries: Sequence[Entry]) -> tuple[tuple[str, ...], str]:
        """As the store of the shell does it: among our own where the store has no answer."""
        shared = self.shared
        standing: dict[str, str] = {}
        for entry in entries:
            value = self.kept.stands(scope, entry.name, entry.value, entry.expected)
            if shared.ails in {"", "deaf"}:
                stands = shared.set_first(scope, entry.name, value, entry.expected)
            else:
                stands = shared.ledgers.get(scope, {}).get(entry.name, "")
            if shared.ails == "" or (shared.ails == "full" and stands and entry.expected is None):
                standing[entry.name] = stands
        self.kept.learn(scope, standing)
        for entry in entries:
            if entry.name not in standing:
                kept = self.kept.decide(scope, entry.name, entry.value, entry.expected)
                standing[entry.name] = kept
        self.troubles += bool(shared.ails)
        trouble = "the store: slow" if shared.ails else ""
        return tuple(standing[entry.name] for entry in entries), trouble

    def remember(self, scope: str, fields: Mapping[str, str]) -> None:
        self.kept.learn(scope, fields)
        owed = self.kept.owed(scope)
        if self.shared.ails in {"", "deaf"}:
            for name, value in owed.items():
                self.shared.set_first(scope, name, value)
            self.shared.ledgers.setdefault(scope, {}).update(fields)
        if self.shared.ails == "":
            self.kept.paid(scope, owed)
        self.troubles += bool(self.shared.ails)


@define
class Passage:
    """One request on its way through a process, question by question."""

    process: Process
    request: RequestReceived
    body: bytes
    at: int
    state: loom.State = field(init=False)
    asks: LookUp | Recall | Decide | None = None
    up: bytes | None = None
    head: SendHead | None = None
    decided: list[tuple[str, Entry, str]] = field(factory=list)
    """(scope, entry, what stands) of each that was decided, in order."""
    done: list[Action] = field(factory=list)
    heard: list[Event | Tell] = field(factory=list)
    """What came from outside, and when what it told was delivered."""

    def __attrs_post_init__(self) -> None:
        if BEGUN is not None:
            BEGUN.append(self)
        self.state = loom.begin(KEY)
        self._happens(self.request)
        self._happens(RequestChunkReceived(self.at, self.body))
        self._happens(RequestEnded(self.at))

    @property
    def taken(self) -> Taken:
        """The request as it goes up."""
        assert isinstance(self.state, AwaitingHead)
        return self.state.taken

    def answer(self, memory: Recalled) -> None:
        """The question that is open is answered."""
        match self.asks:
            case LookUp(reading):
                self._happens(LookupsAnswered(self.at, self.process.read(reading)))
            case Recall():
                self._happens(MemoriesRecalled(self.at, memory))
            case Decide(scope, entries):
                values, trouble = self.process.decide(scope, entries)
                self.decided += [(scope, *pair) for pair in zip(entries, values, strict=True)]
                self._happens(DecisionsMade(self.at, values, trouble))
            case None:
                raise AssertionError("nothing was asked")

    def ends(self) -> None:
        """Upstream answers, and what is owed is written."""
        self._happens(UpstreamHeadReceived(self.at, 200, ()))
        self._happens(UpstreamEnded(self.at))
        assert isinstance(self.state, Finished)

    def leaves(self) -> None:
        self._happens(ClientGone(self.at))
        assert isinstance(self.state, Finished)

    def _happens(self, event: Event) -> None:
        self.asks = None
        waiting: list[Event | Tell] = [event]
        while waiting:
            self.heard.append(waiting[0])
            one = waiting.pop(0)
            self.state, actions = loom.step(KEY, self.state, one.event if isinstance(one, Tell) else one)
            for action in actions:
                self._ordered(action)
                if isinstance(action, Tell):
                    waiting.append(action)

    def _ordered(self, action: Action) -> None:
        self.done.append(action)
        match action:
            case LookUp() | Recall() | Decide():
                self.asks = action
            case SendUpstream(body=body):
                self.up = body
            case SendHead():
                self.head = action
            case Remember(scope, fields):
                self.process.remember(scope, dict(fields))
            case _:
                pass
