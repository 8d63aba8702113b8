"""One sample of every state and of every event of the exchange machine."""

from msgspec.structs import replace as evolve

from loom_core import call, observer
from loom_core.actions import Action
from loom_core.call import Call
from loom_core.events import (
    AgentBegan,
    BusFailed,
    CallBegan,
    CallEnded,
    ClientGone,
    DecisionsMade,
    Event,
    FileChanged,
    FileMissing,
    FileRead,
    HookReported,
    LinesPublished,
    LookupsAnswered,
    MemoriesRecalled,
    ObservationDue,
    PositionFound,
    PositionLoaded,
    ReadFailed,
    RequestChunkReceived,
    RequestEnded,
    RequestReceived,
    ShutdownRequested,
    TimerFired,
    TranscriptNamed,
    TurnAbove,
    TurnJoined,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamHeadReceived,
)
from loom_core.exchange import (
    BACK_OFF,
    AwaitingHead,
    BackingOff,
    Composing,
    Concluding,
    Finished,
    Idle,
    Receiving,
    State,
    Streaming,
)
from loom_core.gathered import Gathered
from loom_core.lookup import Answers, Memory, Recalled
from loom_core.outgoing import Taken
from loom_core.position import Position
from loom_core.profile import Profile
from loom_core.rules import Rules, WeaveRules
from loom_core.telling import Answer, Ended
from loom_core.values import Admission, Cause, ExchangeKey, Headers, Request, TurnKey
from loom_core.weaving import Answered, Following, Weaving, go_on, weave

KEY = ExchangeKey("x-sample")
AT = 1_700_000_000_000_000_000
SSE_HEAD: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"request-id", b"req_1"))


def asked(
    method: str = "POST",
    target: bytes = b"/v1/messages?beta=true",
    headers: Headers = (
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
        (b"x-api-key", b"k"),
    ),
    rules: Rules | None = None,
    admission: Admission = Admission.OWN,
    seed: int = 7,
) -> RequestReceived:
    return RequestReceived(AT, Request(method, target, headers), rules or Rules(), admission, seed)


def said() -> Call:
    """What the sample request says of itself."""
    request = asked().request
    return call.read(request.target.partition(b"?")[0], request.headers, b'{"messages":[]}', None)


def events() -> dict[str, Event]:
    """A sample of every event class, by its name."""
    samples: tuple[Event, ...] = (
        asked(),
        RequestChunkReceived(AT + 1, b"{}"),
        RequestEnded(AT + 2),
        LookupsAnswered(AT + 2, Answers()),
        MemoriesRecalled(AT + 2, Recalled((Memory("m-1", "Tea is hot.", AT),))),
        DecisionsMade(AT + 2, ('{"text":"I am Ann."}', "{}")),
        ClientGone(AT + 3),
        UpstreamHeadReceived(AT + 4, 200, SSE_HEAD),
        UpstreamChunkReceived(AT + 5, b"event: ping\ndata: {}\n\n"),
        UpstreamEnded(AT + 6),
        UpstreamFailed(AT + 7, Cause.CLOSED, replayable=True, detail="eof"),
        TimerFired(AT + 8, BACK_OFF),
        ObservationDue(AT + 9),
        ShutdownRequested(AT + 10),
        TurnJoined(AT + 11, "a" * 32, "b" * 16, 1, 0, frozenset()),
        CallBegan(AT + 12, KEY, said(), 7),
        CallEnded(AT + 13, KEY, None, ok=False, failure="closed"),
        AgentBegan(AT + 14, TurnKey("s", "agent-1")),
        TurnAbove(AT + 15, "a" * 32, "b" * 16),
        HookReported(AT + 16, "Stop", "p", ""),
        TranscriptNamed(AT + 17, "s"),
        PositionLoaded(AT + 18, Position()),
        FileChanged(AT + 19),
        FileRead(AT + 20, "1", 0, b"{}\n", 3, is_current=True),
        FileMissing(AT + 21),
        ReadFailed(AT + 22, "I/O error"),
        LinesPublished(AT + 23),
        PositionFound(AT + 24, Position()),
        BusFailed(AT + 25, "no connection"),
    )
    return {type(event).__name__: event for event in samples}


def composing() -> dict[str, State]:
    """One in each phase of weaving, as one leads to the next."""
    rules = Rules(weaving=WeaveRules({"ann": Profile("ann", "1")}))
    request = asked(headers=((b"x-loom-source", b"ann"), (b"x-loom-session", b"s")), rules=rules)
    taken = Taken(request, b'{"messages":[{"role":"user","content":"Tea?"}]}', 47)
    looking, _ = _following(weave(taken, AT + 2))
    recalling, _ = _following(go_on(looking, _answer("LookupsAnswered")))
    deciding, _ = _following(go_on(recalling, _answer("MemoriesRecalled")))
    return {
        "Composing (looking up)": Composing(looking),
        "Composing (recalling)": Composing(recalling),
        "Composing (deciding)": Composing(deciding),
    }


def _following(following: Following) -> tuple[Weaving, Action]:
    assert not isinstance(following, Taken)
    return following


def _answer(name: str) -> Answered:
    event = events()[name]
    assert isinstance(event, Answered)
    return event


def states() -> dict[str, State]:
    """A sample of every state class, by its name; variants of a class have a word after it."""
    taken = Taken(asked(), b"{}", 2)
    answer = Answer(200, AT + 4, 1, AT + 2, "req_1")
    streaming = Streaming(taken, answer, None, 0, 0, observer.observe(200, SSE_HEAD))
    up = Taken(asked("PUT", b"/v1/files", ((b"transfer-encoding", b"chunked"),)), None, 3)
    awaiting = AwaitingHead(taken, 1, AT + 2)
    ended = Ended(taken, AT + 6, "complete", status=200, attempts=1, sent_at=AT + 2, head_at=AT + 4)
    return {
        "Idle": Idle(),
        "Receiving": Receiving(asked(), Gathered().add(b"{")),
        **composing(),
        "AwaitingHead": awaiting,
        "AwaitingHead (body streams up)": AwaitingHead(up, 1, AT),
        "AwaitingHead (last attempt)": evolve(awaiting, attempt=3),
        "BackingOff": BackingOff(taken, 1, AT + 2),
        "BackingOff (body streams up)": BackingOff(up, 1, AT),
        "Streaming": streaming,
        "Streaming (body streams up)": evolve(streaming, taken=up),
        "Concluding": Concluding(ended),
        "Finished": Finished(),
    }
