"""A process of the Loom without sockets: the real driver, whose exchanges tell when their client lets them.

Time is a count of milliseconds and chance a count too, so that the same story is the same journal.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from itertools import count
from typing import cast

import msgspec

from loom_core.actions import (
    AbortUpstream,
    Action,
    Decide,
    LookUp,
    Recall,
    Remember,
    Retire,
    SendUpstream,
    SetTimer,
    Tell,
)
from loom_core.events import (
    ClientGone,
    Event,
    RequestChunkReceived,
    RequestEnded,
    RequestReceived,
    ShutdownRequested,
    TimerFired,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamHeadReceived,
)
from loom_core.meter import Figures
from loom_core.rules import Retry, Rules, Tracing, WeaveRules
from loom_core.values import Admission, ExchangeKey, Headers, Key, Request, TranscriptKey, TurnKey
from loom_shell.driver import Driver
from loom_shell.log import Log
from loom_shell.simulator.answers import answer
from loom_shell.simulator.frames import message_frames
from tests.support.samples import SSE_HEAD
from tests.support.weaving import ANN, AT, MS, Sources

RULES = Rules(Retry(statuses=frozenset({529})), None, Tracing(tells=True), WeaveRules({"ann": ANN}))


class _NoLog:
    def exchange(self, *_: object) -> None: ...

    def note(self, *_: object, **__: object) -> None: ...


class Live(Driver):
    """`did` holds what each machine ordered; `journal` is told what a journal is."""

    def __init__(
        self,
        journal: Callable[[Key, Event | Tell | None], None] | None = None,
        sources: Sources | None = None,
        process: str = "x",
    ) -> None:
        super().__init__(cast("Log", _NoLog()), journal=journal)
        self.sources = sources or Sources()
        self.did: defaultdict[Key, list[Action]] = defaultdict(list)
        self.timers: deque[tuple[Key, SetTimer]] = deque()
        self.outboxes: dict[ExchangeKey, deque[Action]] = {}
        self.asked: dict[ExchangeKey, Action] = {}
        self.up: dict[ExchangeKey, SendUpstream] = {}
        self._process, self._numbers, self._clock = process, count(1), AT

    def at(self, milliseconds: int = 1) -> int:
        self._clock += milliseconds * MS
        return self._clock

    # What the shell does

    def do(self, key: Key, action: Action) -> None:
        if not isinstance(key, ExchangeKey):
            self.did[key].append(action)
        match action:
            case Tell() | Retire():
                super().do(key, action)
            case SetTimer():
                self.timers.append((key, action))
            case Remember(fields=fields):
                self.sources.remembers(fields)
            case _:
                pass

    def _order(self, key: ExchangeKey, action: Action) -> None:
        self.did[key].append(action)
        match action:
            case LookUp() | Recall() | Decide():
                self.asked[key] = action
            case SendUpstream():
                self.up[key] = action
            case SetTimer():
                self.timers.append((key, action))
            case AbortUpstream():
                self.asked.pop(key, None)
            case _:
                self.outboxes[key].append(action)

    def flush(self, key: ExchangeKey, most: int = 1_000) -> None:
        """The client takes so many orders that wait for it."""
        outbox = self.outboxes[key]
        while outbox and most:
            self.do(key, outbox.popleft())
            most -= 1

    def fires(self) -> None:
        """The timer that waits longest."""
        key, timer = self.timers.popleft()
        self._clock = max(self._clock, timer.at)
        self.dispatch(key, TimerFired(self._clock, timer.timer))
        if isinstance(key, ExchangeKey):
            self.flush(key)

    # What a client and an upstream do

    def asks(
        self, body: bytes, headers: Headers, rules: Rules = RULES, path: bytes = b"/v1/messages", cut: int = 0
    ) -> ExchangeKey:
        """A request goes up, all its questions answered; its body in pieces of `cut` bytes."""
        key = self.begins(headers, rules, path)
        step = cut or len(body) or 1
        for start in range(0, len(body), step):
            self.dispatch(key, RequestChunkReceived(self.at(), body[start : start + step]))
        self.dispatch(key, RequestEnded(self.at()))
        while (question := self.asked.pop(key, None)) is not None:
            self.dispatch(key, self.sources.answer(question, self.at()))
            self.flush(key)
        return key

    def begins(self, headers: Headers, rules: Rules = RULES, path: bytes = b"/v1/messages") -> ExchangeKey:
        number = next(self._numbers)
        key = ExchangeKey(f"{self._process}-{number}")
        self.outboxes[key] = deque()
        self.begin(key, lambda action: self._order(key, action))
        asked = RequestReceived(self.at(), Request("POST", path, headers), rules, Admission.OWN, number)
        self.dispatch(key, asked)
        return key

    def heads(self, key: ExchangeKey, status: int = 200, headers: Headers = SSE_HEAD) -> None:
        self.dispatch(key, UpstreamHeadReceived(self.at(20), status, headers))
        self.flush(key)

    def frames(self, key: ExchangeKey) -> list[bytes]:
        """What the simulator answers to what went up."""
        body = self.up[key].body or b"{}"
        asked = msgspec.json.decode(body, type=dict[str, object])
        return [*message_frames(answer(asked, int(key.id.rpartition("-")[2]), Figures()))]

    def says(self, key: ExchangeKey, *frames: bytes, waits: bool = False) -> None:
        """`waits`: the client does not take them yet."""
        for frame in frames:
            self.dispatch(key, UpstreamChunkReceived(self.at(), frame))
            if not waits:
                self.flush(key)

    def ends(self, key: ExchangeKey) -> None:
        self.dispatch(key, UpstreamEnded(self.at()))
        self.flush(key)
        self.end(key)

    def leaves(self, key: ExchangeKey) -> None:
        self.dispatch(key, ClientGone(self.at()))
        self.flush(key)
        self.end(key)

    def answered(self, key: ExchangeKey) -> None:
        """All of the simulator's answer."""
        self.heads(key)
        self.says(key, *self.frames(key))
        self.ends(key)

    def stops(self) -> None:
        """The process ends."""
        for key in [key for key in self.states() if isinstance(key, TurnKey)]:
            self.dispatch(key, ShutdownRequested(self.at()))

    def follows(self, path: str) -> TranscriptKey:
        key = TranscriptKey(path)
        self.begin(key, lambda action: self.do(key, action))
        return key
