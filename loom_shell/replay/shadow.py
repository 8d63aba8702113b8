"""The core run once more, over what a journal is to hold: what it does then is what a replay is held against.

Without its secrets a request has other digests, and so other names in the ledger and other unnamed sessions,
than the live run saw. What the store answered is told to the shadow under the names that it asked for.
"""

from typing import TypeVar, cast

from attrs import define, field
from attrs import evolve as evolve_record
from msgspec import Struct
from msgspec.structs import astuple
from msgspec.structs import replace as evolve

from loom_core.actions import Action, Decide, LookUp, Tell
from loom_core.events import (
    DecisionsMade,
    Event,
    FileRead,
    HookReported,
    LookupsAnswered,
    PositionFound,
    PositionLoaded,
    RequestChunkReceived,
    RequestReceived,
    TimerFired,
    UpstreamChunkReceived,
    UpstreamHeadReceived,
)
from loom_core.exchange import Composing, Idle, Receiving
from loom_core.loom import State, begin, step
from loom_core.position import Position, digest
from loom_core.rules import Rules
from loom_core.values import ExchangeKey, Key, TurnKey
from loom_shell.replay.codec import read_key, write_key
from loom_shell.replay.digest import Digests
from loom_shell.replay.happened import Happened
from loom_shell.replay.record import Recorded
from loom_shell.replay.running import Running, Stepped
from loom_shell.replay.scrubbing import Scrubber

_MOST = 4_096
"""Names that are kept: of sessions without one, and values that a ledger has."""
T = TypeVar("T", bound=Struct)


@define(eq=False)
class _Twin:
    """An exchange with its secrets, as long as it composes, and what both of them asked last."""

    state: State
    asks: Action | None = None
    shadow_asks: Action | None = None


@define(eq=False)
class Shadow:
    """Of one file of a journal: takes what happened, in order, and gives what is to be written of it."""

    scrubber: Scrubber
    running: Running = field(factory=Running)
    _digests: Digests = field(factory=Digests)
    _twins: dict[ExchangeKey, _Twin] = field(factory=dict)
    _sessions: dict[str, str] = field(factory=dict)
    _values: dict[str, str] = field(factory=dict)
    _begun: set[Key] = field(factory=set)
    _rules: tuple[Rules, Rules] | None = None

    def begins(self, key: Key) -> None:
        self._begun.add(key)

    def happens(self, one: Happened, live: Event, session: str = "") -> Recorded:
        """An event as it is written."""
        key, event = self._key(one.key), self._translated(one, live)
        record = Recorded(0, event.at, key, event, session, begins=one.key in self._begun)
        self._begun.discard(one.key)
        self._lives(one, live)
        (steps,) = self.running.parts(record)
        self._asked(one.key, steps)
        found = evolve_record(record, digests=(self._digests.of(steps),))
        self._forget(key)
        return found

    def told(self, key: ExchangeKey, tell: Tell) -> str:
        """The digest of what follows from the delivery of what an exchange had to tell first."""
        record = Recorded(0, tell.event.at, key, tell.event)
        steps = list(self.running.delivers(record, key))
        if steps and isinstance(tell.key, TurnKey) and isinstance(steps[0].key, TurnKey):
            _learn(self._sessions, tell.key.session, steps[0].key.session)
        self._asked(key, steps)
        found = self._digests.of(steps)
        self._forget(key)
        return found

    def _forget(self, key: Key) -> None:
        if not self.running.has(key):
            self._digests.forget(key)
            self._twins.pop(cast("ExchangeKey", key), None)

    # ------------------------------------------------------------------ without secrets

    def _key(self, key: Key) -> Key:
        if isinstance(key, ExchangeKey):  # A name of our own.
            return key
        if isinstance(key, TurnKey) and key.session in self._sessions:
            return TurnKey(self._sessions[key.session], self.scrubber.text(key.agent))
        kind, *names = write_key(key)
        return read_key([kind, *map(self.scrubber.text, names)])

    def _translated(self, one: Happened, live: Event) -> Event:
        match live:
            case RequestChunkReceived() | UpstreamChunkReceived() | FileRead():
                return evolve(live, data=one.clean or b"")
            case RequestReceived(request=asked):
                target, headers = self.scrubber.target(asked.target), self.scrubber.headers(asked.headers)
                asked = evolve(asked, target=target, headers=headers)
                return evolve(live, request=asked, rules=self._without(live.rules))
            case UpstreamHeadReceived(headers=headers):
                return evolve(live, headers=self.scrubber.headers(headers))
            case LookupsAnswered(answers=answers):
                names, twin = dict[str, str](), self._twins.get(cast("ExchangeKey", one.key))
                match twin:
                    case _Twin(asks=LookUp(reading=ours), shadow_asks=LookUp(reading=theirs)):
                        names = dict(zip(ours.fields, theirs.fields, strict=False))
                    case _:
                        pass
                rest = self._plain(evolve(live, answers=evolve(answers, fields={})))
                fields = {names.get(name, name): self._value(said) for name, said in answers.fields.items()}
                return evolve(rest, answers=evolve(rest.answers, fields=fields))
            case DecisionsMade(values=values):
                return evolve(self._plain(live), values=tuple(map(self._value, values)))
            case PositionLoaded(position=position) | PositionFound(position=position):
                return evolve(live, position=_moved(position, one.following))
            case HookReported(prompt_id=prompt, tool_use_id=tool):
                text = self.scrubber.text
                return evolve(live, prompt_id=text(prompt), tool_use_id=text(tool))
            case TimerFired():
                return live
            case _:
                return self._plain(live)

    def _value(self, said: str) -> str:
        """One of the ledger, as the shadow wrote it."""
        return self._values[said] if said in self._values else self.scrubber.text(said)

    def _without(self, rules: Rules) -> Rules:
        """Those of one state of the configuration are one value."""
        if self._rules is None or self._rules[0] is not rules:
            self._rules = rules, self._plain(rules)
        return self._rules[1]

    def _plain(self, value: T) -> T:
        """Any value, each of its texts looked through."""
        return cast("T", _mapped(value, self.scrubber))

    # ------------------------------------------------------------------ what the secrets named

    def _lives(self, one: Happened, live: Event) -> None:
        """Another exchange, with the secrets, as long as it composes: to know what it asked for."""
        key = one.key
        if not isinstance(key, ExchangeKey):
            return
        if isinstance(live, RequestReceived) and one.is_changed:
            self._twins[key] = _Twin(begin(key))
        if (twin := self._twins.get(key)) is None:
            return
        twin.state, actions = step(key, twin.state, live)
        twin.asks = next((it for it in actions if isinstance(it, LookUp | Decide)), None)
        if not isinstance(twin.state, Idle | Receiving | Composing):
            del self._twins[key]

    def _asked(self, key: Key, steps: list[Stepped]) -> None:
        twin = self._twins.get(cast("ExchangeKey", key))
        if twin is None:
            return
        found = [it for step in steps for it in step.actions if isinstance(it, LookUp | Decide)]
        twin.shadow_asks = found[-1] if found else None
        match twin:
            case _Twin(asks=Decide(entries=ours), shadow_asks=Decide(entries=theirs)):
                for our, their in zip(ours, theirs, strict=False):
                    _learn(self._values, our.value, their.value)
            case _:
                pass


def _learn(known: dict[str, str], live: str, shadow: str) -> None:
    if live == shadow:
        return
    if len(known) >= _MOST:
        known.pop(next(iter(known)))
    known[live] = shadow


def _moved(position: Position, read: Happened | None) -> Position:
    """The same place, by the bytes before it as they are written."""
    event, clean = (read.what, read.clean) if read else (None, None)
    if not isinstance(event, FileRead) or clean is None:
        return position
    end = position.offset - event.offset
    begin = end - position.witnessed
    if begin < 0 or digest(event.data[begin:end]) != position.witness:
        return position
    return evolve(position, witness=digest(clean[begin:end]))


def _mapped(value: object, scrubber: Scrubber) -> object:
    match value:
        case str():
            return scrubber.text(value)
        case bytes():
            return scrubber.content(value)
        case Struct():
            return type(value)(*(_mapped(it, scrubber) for it in astuple(value)))
        case tuple() | frozenset():
            return type(value)(_mapped(it, scrubber) for it in value)
        case dict():
            return {_mapped(name, scrubber): _mapped(it, scrubber) for name, it in value.items()}
        case _:
            return value
