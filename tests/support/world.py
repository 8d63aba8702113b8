"""Events of any kind and in any order, and a world that brings them in an order that can be."""

from collections import deque
from collections.abc import Iterable

from attrs import define, field
from hypothesis import strategies as st

from loom_core import loom
from loom_core.actions import (
    AbortResponse,
    AbortUpstream,
    Action,
    Decide,
    EndResponse,
    LogExchange,
    LookUp,
    Note,
    Recall,
    Remember,
    SendChunk,
    SendHead,
    SendUpstream,
    SendUpstreamChunk,
    SetTimer,
    Tell,
)
from loom_core.events import (
    ClientGone,
    DecisionsMade,
    Event,
    LookupsAnswered,
    MemoriesRecalled,
    ObservationDue,
    RequestChunkReceived,
    RequestEnded,
    RequestReceived,
    ShutdownRequested,
    TimerFired,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamHeadReceived,
)
from loom_core.exchange import Idle
from loom_core.lookup import Answers, Memory, Recalled
from loom_core.rules import Retry, Rules, WeaveRules
from loom_core.values import Admission, Cause, Headers, Request
from tests.support.dialogue import FRAMES
from tests.support.samples import AT, KEY
from tests.support.weaving import ANN, BARE, Sources

times = st.integers(0, 2**63)
NAMES = (
    b"x Content-Length transfer-encoding content-type content-encoding retry-after connection x-api-key Host"
)
names = st.sampled_from(NAMES.split())
values = st.binary(max_size=6) | st.sampled_from(
    [b"2", b"chunked", b"gzip", b"application/json", b"text/event-stream"]
)
headers = st.lists(st.tuples(names, values), max_size=5).map(tuple)
ASKS = b'{"messages":[{"role":"user","content":"Tea?"}],"system":"Be brief."}'
chunks = st.binary(max_size=9) | st.sampled_from([*FRAMES, ASKS, b"data: x\n\n" * 2_000])
bodies = st.lists(chunks, max_size=3) | st.just([ASKS])
retries = st.builds(
    Retry,
    max_attempts=st.integers(1, 4),
    base=st.integers(0, 10**10),
    factor=st.floats(1, 1e9),
    cap=st.integers(0, 10**10),
    statuses=st.frozensets(st.sampled_from([200, 429, 529])),
)
weavings = st.builds(WeaveRules, st.sampled_from([{}, {"ann": ANN}, {"ann": BARE}]), st.booleans())
any_requests = st.builds(
    RequestReceived,
    at=times,
    request=st.builds(
        Request,
        method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "CONNECT"]),
        target=st.sampled_from([b"/v1/messages?a=b", b"/v1/messages/count_tokens", b"/v1/files", b"*"]),
        headers=headers,
    ),
    rules=st.builds(Rules, retry=retries, max_body=st.none() | st.integers(0, 20), weaving=weavings),
    admission=st.sampled_from(Admission),
    seed=st.integers(0, 2**64),
)


def _of_ann(told: Headers) -> Request:
    return Request("POST", b"/v1/messages", ((b"x-loom-source", b"ann"), (b"x-loom-session", b"s"), *told))


of_a_profile = st.builds(
    RequestReceived,
    at=times,
    request=st.lists(st.tuples(names, values), max_size=2).map(tuple).map(_of_ann),
    rules=st.builds(Rules, retry=retries, weaving=st.builds(WeaveRules, st.just({"ann": ANN}))),
    admission=st.just(Admission.OWN),
    seed=st.integers(0, 2**64),
)
requests = any_requests | of_a_profile
heads = st.builds(UpstreamHeadReceived, times, st.sampled_from([200, 204, 400, 429, 529]), headers)
failures = st.builds(
    UpstreamFailed, times, st.sampled_from(Cause), st.booleans(), st.sampled_from(["", "errno"])
)
from_client = st.builds(RequestChunkReceived, times, chunks) | st.builds(RequestEnded, times)
from_upstream = st.builds(UpstreamChunkReceived, times, chunks) | st.builds(UpstreamEnded, times)
others = st.builds(TimerFired, times, st.text(max_size=3)) | st.builds(ObservationDue, times)
words = st.text(max_size=9) | st.sampled_from(["ann", "{}", '{"text":"I am Ann."}', '{"version":"0"}'])
answers = st.builds(
    Answers,
    fields=st.dictionaries(st.sampled_from(["source", "i:x", "a:x", "u:x"]), words),
    texts=st.dictionaries(st.sampled_from(["ann:mood", "ann:news"]), words),
    lists=st.dictionaries(st.just("intro:memorables:s"), st.lists(words, max_size=2).map(tuple)),
    trouble=st.sampled_from(["", "slow"]),
    is_read=st.booleans(),
)
recalled = st.builds(Recalled, st.lists(st.builds(Memory, words, words), max_size=3).map(tuple), words)
woven = (
    st.builds(LookupsAnswered, times, answers)
    | st.builds(MemoriesRecalled, times, recalled)
    | st.builds(DecisionsMade, times, st.lists(words, max_size=3).map(tuple), words)
)
goings = st.builds(ClientGone, times) | st.builds(ShutdownRequested, times)
anything = requests | heads | failures | from_client | from_upstream | others | goings | woven
sequences = st.builds(
    lambda first, rest: [first, *rest], requests | anything, st.lists(anything, max_size=25)
)


def run(events: Iterable[Event], state: loom.State | None = None) -> tuple[loom.State, list[Action]]:
    """All actions of a run, `Tell` delivered as the driver does it."""
    state = loom.begin(KEY) if state is None else state
    done: list[Action] = []
    for event in events:
        waiting = deque([event])
        while waiting:
            state, actions = loom.step(KEY, state, waiting.popleft())
            done += actions
            waiting += [action.event for action in actions if isinstance(action, Tell)]
    return state, done


@define
class Ledger:
    """What must balance: told every event and every action, it objects at once."""

    began: bool = False
    open: bool = False
    asks: LookUp | Recall | Decide | None = None
    head: bool = False
    ended: bool = False
    lines: int = 0
    notes: list[str] = field(factory=list)

    def happened(self, event: Event) -> None:
        match event, self.asks:
            case UpstreamEnded() | UpstreamFailed(), _:
                self.open = False
            case (LookupsAnswered(), LookUp()) | (MemoriesRecalled(), Recall()) | (DecisionsMade(), Decide()):
                self.asks = None
            case _:
                pass

    def ordered(self, action: Action) -> None:
        match action:
            case SendUpstream():
                assert not self.open, "a second attempt beside one that is open"
                assert not self.head, "an attempt after the head"
                assert not self.asks, "an attempt before the weaving is done"
                self.open = True
            case LookUp() | Recall() | Decide():
                assert not self.open, "weaving beside an attempt"
                assert not self.asks, "a second question beside one that is open"
                self.asks = action
            case AbortUpstream():
                self.open, self.asks = False, None
            case SendHead():
                assert not self.head, "a second head"
                self.head = True
            case SendChunk():
                assert self.head, "a chunk before the head"
                assert not self.ended, "a chunk after the end"
            case EndResponse() | AbortResponse():
                assert self.head, "an end without a head"
                assert not self.ended, "a second end"
                self.ended = True
            case LogExchange():
                assert not self.open, "the record before upstream was let go"
                self.lines += 1
            case Note(text=text):
                self.notes.append(text)
            case _:
                assert not self.ended or isinstance(action, Tell | Remember), "an order after the end"

    def tell(self, state: loom.State, event: Event) -> tuple[loom.State, list[Action]]:
        """One event, and the events it leads to; all that was ordered."""
        self.began = self.began or (isinstance(state, Idle) and isinstance(event, RequestReceived))
        self.happened(event)
        state, done = run([event], state)
        for action in done:
            self.ordered(action)
        return state, done


@define
class World:
    """A client, an upstream and a clock that keep to their part; `possible` is what they may do next."""

    asked: RequestReceived
    body_left: list[bytes]
    answer_left: list[bytes]
    state: loom.State = field(factory=Idle)
    ledger: Ledger = field(factory=Ledger)
    request_ended: bool = False
    answering: bool = False
    timer: int | None = None
    sources: Sources = field(factory=Sources)
    asked_sources: bool = False
    up: list[bytes] = field(factory=list)
    down: list[bytes] = field(factory=list)

    def possible(self, head: UpstreamHeadReceived, failed: UpstreamFailed) -> list[Event]:
        may: list[Event] = []
        if not self.request_ended:
            may.append(RequestChunkReceived(AT, self.body_left[0]) if self.body_left else RequestEnded(AT))
        if self.ledger.open and self.answering:
            may.append(
                UpstreamChunkReceived(AT, self.answer_left[0]) if self.answer_left else UpstreamEnded(AT)
            )
            may.append(failed)
        elif self.ledger.open:
            may += [head, failed]
        if self.ledger.asks is not None:
            may.append(self.sources.answer(self.ledger.asks, AT))
        if self.timer is not None:
            may.append(TimerFired(self.timer, "back-off"))
        return may

    def happens(self, event: Event) -> None:
        match event:
            case RequestChunkReceived():
                self.body_left.pop(0)
            case RequestEnded():
                self.request_ended = True
            case UpstreamHeadReceived():
                self.answering = True
            case UpstreamChunkReceived(data=data):
                self.answer_left.pop(0)
                self.down.append(data)
            case TimerFired():
                self.timer = None
            case _:
                pass
        self.state, actions = self.ledger.tell(self.state, event)
        for action in actions:
            match action:
                case SetTimer(at=at):
                    assert at >= event.at
                    self.timer = at
                case SendUpstream(body=body):
                    self.answering = False
                    # Of a body that streams up, the shell keeps what it was given for the next attempt.
                    self.up = self.up if body is None else [body]
                case SendUpstreamChunk(data=data):
                    self.up.append(data)
                case LookUp():
                    self.asked_sources = True
                case _:
                    pass
