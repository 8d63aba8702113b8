"""The exchange machine: one HTTP request and its response, with its attempts and back-off.

    Idle -> Receiving -> Composing -> AwaitingHead <-> BackingOff -> Streaming -> Concluding -> Finished
           (whole body)  (weaving)   (an attempt)  (before the next) (the answer) (its log line)

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
    TurnJoined,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamHeadReceived,
)
from loom_core.gathered import Gathered
from loom_core.headers import to_client
from loom_core.observer import Observed, add, due, fold
from loom_core.outgoing import Taken, order, refusal, streams_up, taken_whole, told_to_client
from loom_core.retry import RETRIED, wait, wait_after_status
from loom_core.telling import Answer, Ended, Told, answered, begin, is_call, of_answer, over, with_answer
from loom_core.values import Cause, ExchangeKey
from loom_core.weaving import Answered, Following, Weaving, go_on, weave

BACK_OFF = "back-off"


class Idle(Struct, frozen=True):
    """Nothing has come yet."""


class Receiving(Struct, frozen=True):
    """The body, or the news that there is none, is read whole before anything goes upstream."""

    asked: RequestReceived
    body: Gathered


class Composing(Struct, frozen=True):
    """The request is being woven: something was asked of the store or the memory."""

    weaving: Weaving


class AwaitingHead(Struct, frozen=True):
    """An attempt is under way since `sent_at`."""

    taken: Taken
    attempt: int
    sent_at: int


class BackingOff(Struct, frozen=True):
    """Between two attempts; the timer brings the next."""

    taken: Taken
    attempt: int
    sent_at: int


class Streaming(Struct, frozen=True):
    """The head has gone to the client; `relayed` body bytes followed so far, the first at `first_at`."""

    taken: Taken
    answer: Answer
    told: Told | None
    first_at: int
    relayed: int
    observed: Observed


class Concluding(Struct, frozen=True):
    """The response is over, one way or another; what it said is read once the client has its end."""

    ended: Ended


class Finished(Struct, frozen=True):
    """Over; what still trickles in from either side changes nothing."""


State = Streaming | Idle | Receiving | Composing | AwaitingHead | BackingOff | Concluding | Finished
Unanswered = Receiving | Composing | AwaitingHead | BackingOff
Step = tuple[State, Actions]


def step(key: ExchangeKey, state: State, event: Event) -> Step:
    """The next state, and what must be done; never raises. Arms are tried in order: the usual ones first."""
    match state, event:
        case Streaming(), UpstreamChunkReceived(data=data):
            return _relay(key, state, event.at, data)
        case Streaming(), ObservationDue():
            return _look(key, state)
        case Streaming(), UpstreamEnded(at=at):
            return _end(key, _ended(state, at, "complete"), EndResponse())
        case Concluding(ended), ObservationDue():
            return _conclude(key, ended)
        case AwaitingHead(), UpstreamHeadReceived():
            return _answer(key, state, event)
        case Idle(), RequestReceived():
            return _begin(key, event)
        case Receiving(), RequestChunkReceived(data=data):
            return _gather(key, state, data, event.at)
        case Receiving(asked, body), RequestEnded(at=at):
            return _compose(weave(taken_whole(asked, body.joined()), at), at)
        case Composing(weaving), _ if isinstance(event, Answered):
            return _compose(go_on(weaving, event), event.at)
        case AwaitingHead() | BackingOff() | Streaming(), RequestChunkReceived() if state.taken.body is None:
            return _pass_up(key, state, event.data, event.at)
        case AwaitingHead() | BackingOff() | Streaming(), RequestEnded() if state.taken.body is None:
            return state, (EndUpstreamRequest(),)
        case AwaitingHead(), UpstreamFailed():
            return _retry_or_give_up(key, state, event)
        case BackingOff(), TimerFired(at=at):
            return _attempt(state.taken, state.attempt + 1, at)
        case Streaming(told=Told()), TurnJoined():
            return evolve(state, told=with_answer(state.told, event)), ()
        case Concluding(Ended(told=Told()) as ended), TurnJoined():
            return Concluding(evolve(ended, told=with_answer(ended.told, event))), ()
        case Streaming(), UpstreamFailed(at=at):
            # A stream that broke upstream breaks downstream too; it never turns into a clean end.
            return _end(key, _ended(state, at, "upstream broke", reason(event)), AbortResponse())
        case Streaming(), ShutdownRequested(at=at):
            return _end(key, _ended(state, at, "shut down"), AbortUpstream(), AbortResponse())
        case Streaming(), ClientGone(at=at):
            return _end(key, _ended(state, at, "client gone"), AbortUpstream())
        case Receiving() | Composing() | AwaitingHead() | BackingOff(), ClientGone(at=at):
            return _stop(key, _ended(state, at, "client gone"), AbortUpstream())
        case Receiving() | Composing() | AwaitingHead() | BackingOff(), ShutdownRequested(at=at):
            return _refuse(key, _ended(state, at, "shut down"), SHUTTING_DOWN, AbortUpstream())
        case Finished() | Concluding(), _:
            return state, ()
        case Idle(), ClientGone() | ShutdownRequested():
            return Finished(), ()
        case _:
            return state, (Note(f"invalid transition: {type(event).__name__} in {type(state).__name__}"),)


def _begin(key: ExchangeKey, asked: RequestReceived) -> Step:
    if (refused := refusal(asked)) is not None:
        return _refuse(key, _ended(Receiving(asked, Gathered()), asked.at, "refused"), refused)
    if streams_up(asked.request):
        return _attempt(Taken(asked, None, 0), 1, asked.at)
    return Receiving(asked, Gathered()), ()


def _gather(key: ExchangeKey, state: Receiving, data: bytes, at: int) -> Step:
    if (limit := state.asked.rules.max_body) is not None and state.body.size + len(data) > limit:
        return _refuse(key, _ended(state, at, "refused"), too_large(limit))
    return Receiving(state.asked, state.body.add(data)), ()


def _pass_up(key: ExchangeKey, state: AwaitingHead | BackingOff | Streaming, data: bytes, at: int) -> Step:
    limit, received = state.taken.asked.rules.max_body, state.taken.received + len(data)
    if limit is None or received <= limit:
        return evolve(state, taken=evolve(state.taken, received=received)), (SendUpstreamChunk(data),)
    if isinstance(state, Streaming):
        return _end(key, _ended(state, at, "refused", "body too large"), AbortUpstream(), AbortResponse())
    return _refuse(key, _ended(state, at, "refused"), too_large(limit), AbortUpstream())


def _compose(following: Following, at: int) -> Step:
    """On with the weaving, or upstream with what came of it."""
    if isinstance(following, Taken):
        return _attempt(following, 1, at)
    weaving, asks = following
    return Composing(weaving), (asks,)


def _attempt(taken: Taken, attempt: int, at: int) -> Step:
    beside = taken.beside if attempt == 1 else ()
    ordered = order(taken.asked, attempt, taken.body, edited=taken.is_edited)
    return AwaitingHead(taken, attempt, at), (ordered, *beside)


def _answer(key: ExchangeKey, state: AwaitingHead, head: UpstreamHeadReceived) -> Step:
    asked, retry = state.taken.asked, state.taken.asked.rules.retry
    if head.status in retry.statuses and state.attempt < retry.max_attempts and state.taken.body is not None:
        pause = wait_after_status(retry, state.attempt, asked.seed, head.headers, head.at)
        if pause is not None:
            return _back_off(state, head.at + pause, AbortUpstream())
    answer, observed = answered(state.taken, head, state.attempt, state.sent_at)
    streaming = Streaming(state.taken, answer, None, 0, 0, observed)
    sent = SendHead(head.status, (*to_client(head.headers), *told_to_client(key, state.taken)))
    # Its turn hears of the call once the client has its head.
    return streaming, (sent, Tell(key, ObservationDue(head.at))) if is_call(state.taken) else (sent,)


def _retry_or_give_up(key: ExchangeKey, state: AwaitingHead, failed: UpstreamFailed) -> Step:
    asked, retry = state.taken.asked, state.taken.asked.rules.retry
    can_repeat = state.taken.body is not None or failed.replayable
    if failed.cause in RETRIED and can_repeat and state.attempt < retry.max_attempts:
        # A kept-alive connection that went stale says nothing of upstream's health: no wait.
        pause = 0 if failed.cause is Cause.STALE else wait(retry, state.attempt, asked.seed)
        return _back_off(state, failed.at + pause)
    last = upstream_failed(failed.cause, state.attempt)
    return _refuse(key, _ended(state, failed.at, "no answer", reason(failed)), last)


def _back_off(state: AwaitingHead, until: int, *before: Action) -> Step:
    return BackingOff(state.taken, state.attempt, state.sent_at), (*before, SetTimer(BACK_OFF, until))


def _relay(key: ExchangeKey, state: Streaming, at: int, data: bytes) -> Step:
    observed = add(state.observed, data)
    relayed = state.relayed + len(data)
    relaying = Streaming(state.taken, state.answer, state.told, state.first_at or at, relayed, observed)
    if due(observed):
        return relaying, (SendChunk(data), Tell(key, ObservationDue(at)))
    return relaying, (SendChunk(data),)


def _look(key: ExchangeKey, state: Streaming) -> Step:
    """Look at what has gone out; the first time, tell the turn of the call."""
    looked = evolve(state, observed=fold(state.observed))
    if state.told is not None or not is_call(state.taken):
        return looked, ()
    told, news = begin(key, state.taken)
    return evolve(looked, told=told), news


def _refuse(key: ExchangeKey, ended: Ended, refusal: Refusal, *before: Action) -> Step:
    """Answer the client with an error of the Loom's own, and finish."""
    body = refusal.body
    # The answer to HEAD is the head alone (RFC 9110 section 9.3.2).
    chunks = () if ended.taken.asked.request.method == "HEAD" else (SendChunk(body),)
    answered = evolve(
        ended,
        detail=ended.detail or refusal.kind,
        status=refusal.status,
        relayed=len(body) if chunks else 0,
        head_at=ended.at,
    )
    head = SendHead(refusal.status, refusal.headers(body))
    return _stop(key, answered, *before, head, *chunks, EndResponse())


def _ended(state: Unanswered | Streaming, at: int, outcome: str, detail: str = "") -> Ended:
    match state:
        case Receiving(asked, body):
            return Ended(Taken(asked, None, body.size), at, outcome, detail)
        case Composing(weaving):
            return Ended(weaving.subject.taken, at, outcome, detail)
        case AwaitingHead(taken, attempt, sent_at) | BackingOff(taken, attempt, sent_at):
            return Ended(taken, at, outcome, detail, attempts=attempt, sent_at=sent_at)
        case Streaming(taken, answer, told, first_at, relayed, observed):
            so_far = Ended(taken, at, outcome, detail, first_chunk_at=first_at, relayed=relayed, told=told)
            return of_answer(evolve(so_far, observed=observed), answer)


def _end(key: ExchangeKey, ended: Ended, *actions: Action) -> Step:
    """The response is over; its bytes are looked at after the client has seen the end."""
    return Concluding(ended), (*actions, Tell(key, ObservationDue(ended.at)))


def _stop(key: ExchangeKey, ended: Ended, *actions: Action) -> Step:
    """Over without an answer from upstream: only a turn may still have to hear of it."""
    if is_call(ended.taken) and ended.taken.body is not None:
        return _end(key, ended, *actions)
    return Finished(), (*actions, *over(key, ended))


def _conclude(key: ExchangeKey, ended: Ended) -> Step:
    if ended.told is not None or not is_call(ended.taken):
        return Finished(), over(key, ended)
    # No head ever came: its turn has not heard of the call yet, and answers before the next look.
    told, news = begin(key, ended.taken)
    return Concluding(evolve(ended, told=told)), (*news, Tell(key, ObservationDue(ended.at)))
