"""What is told of an exchange once it is over: its log line, its spans, its figures, its turn's news."""

from msgspec import Struct, field
from msgspec.structs import replace as evolve

from loom_core import call, compaction_told
from loom_core.actions import Actions, ExportSpan, LogExchange, Measure, Tell, WatchFile
from loom_core.call import Call, CallKind, turn_key
from loom_core.events import CallBegan, CallEnded, TurnJoined, UpstreamHeadReceived
from loom_core.facts import CallFacts
from loom_core.headers import first
from loom_core.message import Seen
from loom_core.miss import Miss, judged
from loom_core.observer import Observed, Unobserved, conclude, observe
from loom_core.outgoing import Taken, is_whole, path_of
from loom_core.rules import SECOND
from loom_core.shape import Shape
from loom_core.spans import call_spans
from loom_core.values import ExchangeKey, Figure

Labels = tuple[tuple[str, str], ...]
Figures = tuple[Figure, ...]


class Answer(Struct, frozen=True):
    """What stays the same while an answer streams. `head_at`: when its head came."""

    status: int
    head_at: int
    attempts: int
    sent_at: int
    request_id: str


class Told(Struct, frozen=True):
    """A call its turn was told of, and what the turn answered (None: not yet)."""

    call: Call
    joined: TurnJoined | None = None


class Ended(Struct, frozen=True):
    """An exchange whose response is over. Times are nanoseconds, 0 for never.

    `status` is what the client got; `head_at` when; `sent_at` the order of the last attempt.
    """

    taken: Taken
    at: int
    outcome: str
    detail: str = ""
    status: int | None = None
    attempts: int = 0
    sent_at: int = 0
    head_at: int = 0
    first_chunk_at: int = 0
    relayed: int = 0
    request_id: str = ""
    observed: Observed = field(default_factory=Unobserved)
    told: Told | None = None


def answered(
    taken: Taken, head: UpstreamHeadReceived, attempts: int, sent_at: int
) -> tuple[Answer, Observed]:
    """What stays the same while an answer streams, and how it is looked at.

    Its request id is for spans. What it says is for them, for who reads a journal, and for the check of a
    summary; where there is none of these only its figures are read.
    """
    request_id = (first(head.headers, b"request-id") or b"") if is_call(taken) else b""
    rules = taken.asked.rules.tracing
    has_text = rules.tells or rules.is_recorded or taken.woven is not None
    observed = observe(head.status, head.headers, has_text=has_text)
    return Answer(head.status, head.at, attempts, sent_at, request_id.decode("latin-1")), observed


def of_answer(ended: Ended, answer: Answer) -> Ended:
    """The same, of an exchange that had an answer."""
    return evolve(
        ended,
        status=answer.status,
        attempts=answer.attempts,
        sent_at=answer.sent_at,
        head_at=answer.head_at,
        request_id=answer.request_id,
    )


def is_call(taken: Taken) -> bool:
    """Whether a turn is to hear of it: a Messages-API call, with telling switched on."""
    return taken.asked.rules.tracing.tells and is_whole(taken.asked.request)


def begin(key: ExchangeKey, taken: Taken) -> tuple[Told, Actions]:
    """Read what the call says of itself, tell its turn, and have its session's transcript followed."""
    asked = taken.asked
    path, headers = path_of(asked.request), asked.request.headers
    said = taken.call or call.read(path, headers, taken.body or b"", taken.found.last, taken.behind)
    began = CallBegan(asked.at, key, said, asked.seed, asked.rules.tracing.content)
    news = Tell(turn_key(said, key), began)
    if not said.session:
        return Told(said), (news,)
    named = said.metadata.transcript_path if said.metadata else ""
    return Told(said), (news, WatchFile(said.session, named))


def over(key: ExchangeKey, ended: Ended) -> Actions:
    """All there is to tell; the log line last, since with it the exchange is done."""
    seen = conclude(ended.observed)
    owed = (ended.taken.owed,) if ended.taken.owed else ()
    lost = compaction_told.lost_notes(ended.taken.woven, seen)
    return (*owed, *lost, *_told(key, ended, seen), log_line(ended, seen))


def _told(key: ExchangeKey, ended: Ended, seen: Seen | None) -> Actions:
    if not ended.taken.asked.rules.tracing.tells:
        return ()
    figures = (*_of_every_exchange(ended), *_of_the_blocks(ended), *_of_the_weaving(ended))
    if ended.told is None:
        return (Measure(figures),)
    said = ended.told.call
    ok = ended.outcome == "complete" and ended.status is not None and ended.status < 400
    failure = "" if ok else _failure(ended, seen)
    if seen is not None and seen.error:  # An error frame in a stream that came whole.
        ok, failure = False, seen.error
    shape, missed = _of_the_cache(ended, ended.told, seen)
    facts = evolve(_facts(key, ended, seen, failure), miss=missed)
    spans = tuple(ExportSpan(span) for span in call_spans(facts))
    news = Tell(turn_key(said, key), CallEnded(ended.at, key, seen, ok, failure, shape))
    return (*spans, Measure((*figures, *_of_the_call(ended, said, seen, failure))), news)


def _of_the_cache(ended: Ended, told: Told, seen: Seen | None) -> tuple[Shape | None, Miss | None]:
    """What the request was, and why it read less than it could; None for a call that is none of a turn's."""
    joined, taken = told.joined, ended.taken
    if seen is None or joined is None or not joined.index:
        return None, None
    return judged(taken.body or b"", taken.woven, seen, joined.before, (ended.sent_at, ended.head_at))


def _failure(ended: Ended, seen: Seen | None) -> str:
    if ended.outcome in ("client gone", "shut down"):
        return ended.outcome
    return ended.detail or (seen.error if seen else "") or ended.outcome


def log_line(ended: Ended, seen: Seen | None) -> LogExchange:
    asked = ended.taken.asked
    return LogExchange(
        method=asked.request.method,
        path=path_of(asked.request),
        status=ended.status,
        attempts=ended.attempts,
        received=ended.taken.received,
        relayed=ended.relayed,
        to_head=ended.head_at - asked.at if ended.head_at else None,
        total=ended.at - asked.at,
        outcome=ended.outcome,
        detail=ended.detail,
        seen=seen,
        cut=ended.taken.found.cut,
        woven=ended.taken.woven,
    )


def with_answer(told: Told | None, joined: TurnJoined) -> Told | None:
    return None if told is None else evolve(told, joined=joined)


def _facts(key: ExchangeKey, ended: Ended, seen: Seen | None, failure: str) -> CallFacts:
    return CallFacts(
        asked=ended.taken.asked,
        ended_at=ended.at,
        outcome=ended.outcome,
        call=ended.told.call if ended.told else None,
        joined=ended.told.joined if ended.told else None,
        body=ended.taken.body or b"",
        behind=ended.taken.behind,
        seen=seen,
        status=ended.status,
        attempts=ended.attempts,
        received=ended.taken.received,
        relayed=ended.relayed,
        sent_at=ended.sent_at,
        head_at=ended.head_at,
        first_chunk_at=ended.first_chunk_at,
        blocks_cut=ended.taken.found.cut,
        woven=ended.taken.woven,
        failure=failure,
        exchange_id=key.id,
        request_id=ended.request_id,
    )


def _of_every_exchange(ended: Ended) -> Figures:
    request = ended.taken.asked.request
    # Few routes, so that no path anyone makes up becomes a label.
    route = path_of(request).decode("ascii") if is_whole(request) else "other"
    labels = (
        ("http.request.method", request.method),
        ("http.response.status_code", str(ended.status or "none")),
        ("http.route", route),
    )
    took = Figure("http.server.request.duration", (ended.at - ended.taken.asked.at) / SECOND, labels)
    if ended.outcome not in ("no answer", "upstream broke"):
        return (took,)
    cause = ended.detail.partition(":")[0]
    return took, Figure(
        "loom.upstream.errors", 1, (("cause", cause), ("status", str(ended.status or "none")))
    )


def _of_the_blocks(ended: Ended) -> Figures:
    found = ended.taken.found
    counts = (("cut", found.cut), ("left", found.left))
    blocks = tuple(
        Figure("loom.metadata.blocks", count, (("result", result),)) for result, count in counts if count
    )
    return (*blocks, Figure("loom.rewrites", 1, (("kind", "metadata"),))) if found.edits else blocks


def _of_the_weaving(ended: Ended) -> Figures:
    woven = ended.taken.woven
    if woven is None:
        return ()
    labels = (("what", "request"), ("outcome", woven.outcome))
    took = Figure("loom.weave.duration", (woven.ended_at - woven.began_at) / SECOND, labels)
    kinds = (("identity", woven.identity), ("sticky", woven.sticky), ("ephemeral", woven.ephemeral))
    counts = (Figure("loom.weave.tokens", count, (("what", kind),)) for kind, count in kinds if count)
    rewritten = (Figure("loom.rewrites", 1, (("kind", "weave"),)),) if woven.tokens else ()
    of_compaction = compaction_told.figures(woven)
    return (Figure("loom.weave.runs", 1, labels), took, *counts, *rewritten, *of_compaction)


def _of_the_call(ended: Ended, said: Call, seen: Seen | None, failure: str) -> Figures:
    model = (("gen_ai.request.model", said.model),)
    error = (("error.type", failure.partition(":")[0]),) if failure else ()
    figures = [
        Figure("gen_ai.client.operation.duration", (ended.at - ended.sent_at) / SECOND, (*model, *error))
    ]
    if ended.first_chunk_at:
        waited = (ended.first_chunk_at - ended.sent_at) / SECOND
        figures.append(Figure("gen_ai.client.operation.time_to_first_chunk", waited, model))
    if seen is not None:
        figures += _of_the_stream(ended, seen, model)
        if said.kind is not CallKind.COUNT:  # What was counted was not used.
            figures += _of_the_usage(seen, said.model, model)
    return tuple(figures)


def _of_the_stream(ended: Ended, seen: Seen, model: Labels) -> Figures:
    """One mean for a call; where an answer broke off, its end is not when its last frame came."""
    if seen.frames < 2 or ended.outcome != "complete" or not ended.first_chunk_at:
        return ()
    mean = (ended.at - ended.first_chunk_at) / (seen.frames - 1) / SECOND
    return (Figure("gen_ai.client.operation.time_per_output_chunk", mean, model),)


def _of_the_usage(seen: Seen, requested: str, model: Labels) -> Figures:
    kinds = (
        ("input", seen.input_tokens),
        ("output", seen.output_tokens),
        ("cache_read", seen.cache_read),
        ("cache_creation", seen.cache_creation),
    )
    return (
        *(
            Figure("gen_ai.client.token.usage", count, (*model, ("gen_ai.token.type", kind)))
            for kind, count in (("input", seen.prompt_tokens), ("output", seen.output_tokens))
            if count is not None
        ),
        *(
            Figure("loom.tokens", count, (("kind", kind), ("model", requested)))
            for kind, count in kinds
            if count
        ),
    )
