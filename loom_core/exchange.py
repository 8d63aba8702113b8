"""The exchange machine: one HTTP request and its response, with its attempts and back-off.

    Idle -> Receiving -> AwaitingHead <-> BackingOff -> Streaming -> Concluding -> Finished
            (whole body) (an attempt)  (before the next) (the answer) (its log line)

- `POST /v1/messages` and `/count_tokens` are received whole; all other bodies stream up as they come.
- An attempt that failed before any head may be made again (`retry.RETRIED`), as long as nothing
  of a streamed body was sent. After the last one the client gets the last error.
- Once `SendHead` was ordered nothing is retried: a broken answer breaks the client's connection.
- Bytes are relayed first and looked at second: `add` appends, `ObservationDue` comes back after
  the bytes, or the end of the response, went out.
- Whatever does not fit keeps the state and is noted.
"""

from msgspec import Struct
from msgspec.structs import replace as evolve

from loom_core.actions import (
    AbortResponse,
    AbortUpstream,
    Action,
    Actions,
    EndResponse,
    EndUpstreamRequest,
    LogExchange,
    Note,
    SendChunk,
    SendHead,
    SendUpstreamChunk,
    SetTimer,
    Tell,
)
from loom_core.errors import SHUTTING_DOWN, Refusal, reason, too_large, upstream_failed
from loom_core.events import (
    ClientGone,
    Event,
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
from loom_core.gathered import Gathered
from loom_core.headers import to_client
from loom_core.observer import Observed, add, conclude, due, fold, observe
from loom_core.outgoing import order, path_of, refusal, streams_up
from loom_core.retry import RETRIED, wait, wait_after_status
from loom_core.values import Cause, ExchangeKey

BACK_OFF = "back-off"


class Idle(Struct, frozen=True):
    """Nothing has come yet."""


class Receiving(Struct, frozen=True):
    """The body, or the news that there is none, is read whole before anything goes upstream."""

    asked: RequestReceived
    body: Gathered


class AwaitingHead(Struct, frozen=True):
    """An attempt is under way. `body` None: the client's chunks are streamed up as they come."""

    asked: RequestReceived
    attempt: int
    body: bytes | None
    received: int


class BackingOff(Struct, frozen=True):
    """Between two attempts; the timer brings the next."""

    asked: RequestReceived
    attempt: int
    body: bytes | None
    received: int


class Streaming(Struct, frozen=True):
    """The head has gone to the client; `relayed` body bytes followed so far."""

    asked: RequestReceived
    answer: "Answer"
    received: int
    relayed: int
    observed: Observed


class Answer(Struct, frozen=True):
    """What stays the same while an answer streams. `head_at`: when its head came."""

    status: int
    head_at: int
    attempts: int


class Concluding(Struct, frozen=True):
    """The response is over, one way or another; what it said is read once the client has its end."""

    streamed: Streaming
    ended_at: int
    outcome: str
    detail: str = ""


class Finished(Struct, frozen=True):
    """Over; what still trickles in from either side changes nothing."""


State = Streaming | Idle | Receiving | AwaitingHead | BackingOff | Concluding | Finished
Unanswered = Receiving | AwaitingHead | BackingOff
Step = tuple[State, Actions]


def step(key: ExchangeKey, state: State, event: Event) -> Step:
    """The next state, and what must be done; never raises."""
    match state, event:
        case Streaming(), UpstreamChunkReceived(data=data):
            return _relay(key, state, data)
        case Streaming(), ObservationDue():
            return evolve(state, observed=fold(state.observed)), ()
        case Idle(), RequestReceived():
            return _begin(event)
        case Receiving(), RequestChunkReceived(data=data):
            return _gather(state, data, event.at)
        case Receiving(asked, body), RequestEnded():
            return _attempt(asked, 1, body.joined(), body.size)
        case AwaitingHead() | BackingOff() | Streaming(), RequestChunkReceived() if _streams_up(state):
            return _pass_up(key, state, event.data, event.at)
        case AwaitingHead() | BackingOff() | Streaming(), RequestEnded() if _streams_up(state):
            return state, (EndUpstreamRequest(),)
        case AwaitingHead(), UpstreamHeadReceived():
            return _answer(state, event)
        case AwaitingHead(), UpstreamFailed():
            return _retry_or_give_up(state, event)
        case BackingOff(), TimerFired():
            return _attempt(state.asked, state.attempt + 1, state.body, state.received)
        case Streaming(), UpstreamEnded(at=at):
            return _end(key, Concluding(state, at, "complete"), EndResponse())
        case Streaming(), UpstreamFailed(at=at):
            # A stream that broke upstream breaks downstream too; it never turns into a clean end.
            return _end(key, Concluding(state, at, "upstream broke", reason(event)), AbortResponse())
        case Streaming(), ClientGone(at=at):
            return _end(key, Concluding(state, at, "client gone"), AbortUpstream())
        case Streaming(), ShutdownRequested(at=at):
            return _end(key, Concluding(state, at, "shut down"), AbortUpstream(), AbortResponse())
        case Concluding(), ObservationDue():
            return Finished(), (_answered(state),)
        case Receiving() | AwaitingHead() | BackingOff(), ClientGone(at=at):
            return Finished(), (AbortUpstream(), _unanswered(state, at, "client gone"))
        case Receiving() | AwaitingHead() | BackingOff(), ShutdownRequested(at=at):
            return _abort_and_refuse(state, SHUTTING_DOWN, at, "shut down")
        case Finished() | Concluding(), _:
            return state, ()
        case Idle(), ClientGone() | ShutdownRequested():
            return Finished(), ()
        case _:
            return state, (Note(f"invalid transition: {type(event).__name__} in {type(state).__name__}"),)


def _begin(asked: RequestReceived) -> Step:
    if (refused := refusal(asked)) is not None:
        return _refuse(Receiving(asked, Gathered()), refused, asked.at, "refused")
    return _attempt(asked, 1, None, 0) if streams_up(asked.request) else (Receiving(asked, Gathered()), ())


def _gather(state: Receiving, data: bytes, at: int) -> Step:
    limit = state.asked.rules.max_body
    if limit is not None and state.body.size + len(data) > limit:
        return _refuse(state, too_large(limit), at, "refused")
    return Receiving(state.asked, state.body.add(data)), ()


def _streams_up(state: AwaitingHead | BackingOff | Streaming) -> bool:
    return streams_up(state.asked.request)


def _pass_up(key: ExchangeKey, state: AwaitingHead | BackingOff | Streaming, data: bytes, at: int) -> Step:
    limit = state.asked.rules.max_body
    received = state.received + len(data)
    if limit is None or received <= limit:
        return evolve(state, received=received), (SendUpstreamChunk(data),)
    if isinstance(state, Streaming):
        return _end(key, Concluding(state, at, "refused", "body too large"), AbortUpstream(), AbortResponse())
    return _abort_and_refuse(state, too_large(limit), at, "refused")


def _attempt(asked: RequestReceived, attempt: int, body: bytes | None, received: int) -> Step:
    return AwaitingHead(asked, attempt, body, received), (order(asked, attempt, body),)


def _answer(state: AwaitingHead, head: UpstreamHeadReceived) -> Step:
    retry = state.asked.rules.retry
    if head.status in retry.statuses and state.attempt < retry.max_attempts and state.body is not None:
        pause = wait_after_status(retry, state.attempt, state.asked.seed, head.headers, head.at)
        if pause is not None:
            return _back_off(state, head.at + pause, AbortUpstream())
    answer = Answer(head.status, head.at, state.attempt)
    streaming = Streaming(state.asked, answer, state.received, 0, observe(head.status, head.headers))
    return streaming, (SendHead(head.status, to_client(head.headers)),)


def _retry_or_give_up(state: AwaitingHead, failed: UpstreamFailed) -> Step:
    retry = state.asked.rules.retry
    can_repeat = state.body is not None or failed.replayable
    if failed.cause in RETRIED and can_repeat and state.attempt < retry.max_attempts:
        # A kept-alive connection that went stale says nothing of upstream's health: no wait.
        pause = 0 if failed.cause is Cause.STALE else wait(retry, state.attempt, state.asked.seed)
        return _back_off(state, failed.at + pause)
    last = upstream_failed(failed.cause, state.attempt)
    return _refuse(state, last, failed.at, "no answer", reason(failed))


def _back_off(state: AwaitingHead, until: int, *before: Action) -> Step:
    waiting = BackingOff(state.asked, state.attempt, state.body, state.received)
    return waiting, (*before, SetTimer(BACK_OFF, until))


def _relay(key: ExchangeKey, state: Streaming, data: bytes) -> Step:
    observed = add(state.observed, data)
    relaying = Streaming(state.asked, state.answer, state.received, state.relayed + len(data), observed)
    if due(observed):
        return relaying, (SendChunk(data), Tell(key, ObservationDue(state.answer.head_at)))
    return relaying, (SendChunk(data),)


def _end(key: ExchangeKey, ending: Concluding, *actions: Action) -> Step:
    """The response is over; its bytes are looked at after the client has seen the end."""
    return ending, (*actions, Tell(key, ObservationDue(ending.ended_at)))


def _abort_and_refuse(state: Unanswered, refusal: Refusal, at: int, outcome: str) -> Step:
    finished, actions = _refuse(state, refusal, at, outcome)
    return finished, (AbortUpstream(), *actions)


def _refuse(state: Unanswered, refusal: Refusal, at: int, outcome: str, detail: str = "") -> Step:
    """Answer the client with an error of the Loom's own, and finish."""
    body = refusal.body
    # The answer to HEAD is the head alone (RFC 9110 section 9.3.2).
    chunks = () if state.asked.request.method == "HEAD" else (SendChunk(body),)
    record = evolve(
        _unanswered(state, at, outcome),
        status=refusal.status,
        relayed=len(body) if chunks else 0,
        to_head=at - state.asked.at,
        detail=detail or refusal.kind,
    )
    return Finished(), (SendHead(refusal.status, refusal.headers(body)), *chunks, EndResponse(), record)


def _unanswered(state: Unanswered, at: int, outcome: str) -> LogExchange:
    return LogExchange(
        method=state.asked.request.method,
        path=path_of(state.asked.request),
        status=None,
        attempts=0 if isinstance(state, Receiving) else state.attempt,
        received=state.body.size if isinstance(state, Receiving) else state.received,
        relayed=0,
        to_head=None,
        total=at - state.asked.at,
        outcome=outcome,
        detail="",
        seen=None,
    )


def _answered(state: Concluding) -> LogExchange:
    streamed, answer = state.streamed, state.streamed.answer
    asked = streamed.asked
    return LogExchange(
        method=asked.request.method,
        path=path_of(asked.request),
        status=answer.status,
        attempts=answer.attempts,
        received=streamed.received,
        relayed=streamed.relayed,
        to_head=answer.head_at - asked.at,
        total=state.ended_at - asked.at,
        outcome=state.outcome,
        detail=state.detail,
        seen=conclude(streamed.observed),
    )
