"""Every metric of the Loom: its unit, its kind, its bucket edges, and the labels it may have.

A label never names a session, a prompt or a trace: what is not listed is not recorded.
"""

from typing import Literal

from attrs import frozen

Kind = Literal["counter", "level", "histogram"]
"""A level is not recorded: it is read when somebody asks."""

CALL_SECONDS = (0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 90, 120, 180, 300, 600, 1200, 3600)
"""Calls of a model last longer than the conventions' last edge, 81.92 s."""
FIRST_SECONDS = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 15, 30, 60, 120, 300)
CHUNK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)
OVERHEAD_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2)
TURN_SECONDS = (1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 131072, 262144, 524288, 1048576, 4194304)
CALLS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377)

MODELS = frozenset({"gen_ai.request.model", "gen_ai.response.model", "model"})
"""Labels whose values come from outside as free text."""


@frozen
class Metric:
    """`edges` are of a histogram's buckets; `labels` are all it may have."""

    name: str
    kind: Kind
    unit: str
    description: str
    labels: frozenset[str] = frozenset()
    edges: tuple[float, ...] = ()


def _counter(name: str, unit: str, description: str, *labels: str) -> Metric:
    return Metric(name, "counter", unit, description, frozenset(labels))


def _histogram(name: str, unit: str, edges: tuple[float, ...], description: str, *labels: str) -> Metric:
    return Metric(name, "histogram", unit, description, frozenset(labels), edges)


_CALL = (
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "error.type",
)

CATALOGUE: tuple[Metric, ...] = (
    _histogram(
        "gen_ai.client.operation.duration",
        "s",
        CALL_SECONDS,
        "A call, from its request upstream to its end",
        *_CALL,
    ),
    _histogram(
        "gen_ai.client.operation.time_to_first_chunk",
        "s",
        FIRST_SECONDS,
        "From a call's request upstream to the first chunk of a streamed answer",
        *_CALL,
    ),
    _histogram(
        "gen_ai.client.operation.time_per_output_chunk",
        "s",
        CHUNK_SECONDS,
        "Between two frames of a streamed answer, the mean of each call",
        *_CALL,
    ),
    _histogram(
        "gen_ai.client.token.usage",
        "{token}",
        TOKENS,
        "Tokens of a call: input, those of the prompt cache among them, and output",
        *_CALL,
        "gen_ai.token.type",
    ),
    _histogram(
        "http.server.request.duration",
        "s",
        CALL_SECONDS,
        "An exchange with a client",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "error.type",
    ),
    _counter("loom.tokens", "{token}", "Tokens, with those of the prompt cache apart", "kind", "model"),
    _counter("loom.turns", "{turn}", "Turns that ended", "outcome", "agent"),
    _histogram("loom.turn.duration", "s", TURN_SECONDS, "A turn, prompt to end", "outcome", "agent"),
    _histogram("loom.turn.calls", "{call}", CALLS, "Calls of a turn", "outcome", "agent"),
    _histogram(
        "loom.proxy.overhead",
        "s",
        OVERHEAD_SECONDS,
        "From the last byte of a request that is read whole to the order of its first attempt",
        "what",
    ),
    Metric("loom.streams.active", "level", "{stream}", "Exchanges under way"),
    _counter("loom.metadata.blocks", "{block}", "Metadata blocks found in requests", "result"),
    _counter("loom.rewrites", "{rewrite}", "Requests that were changed", "kind"),
    _counter("loom.weave.runs", "{run}", "Attempts to weave something in", "what", "outcome"),
    _histogram("loom.weave.duration", "s", OVERHEAD_SECONDS, "Time spent on weaving", "what", "outcome"),
    _counter("loom.weave.tokens", "{token}", "Tokens woven in", "what"),
    _counter("loom.store.operations", "{operation}", "Operations on the store", "operation", "outcome"),
    _counter("loom.compaction.drift", "{request}", "Compactions whose wording was not known", "phase"),
    _counter("loom.upstream.errors", "{error}", "Answers of upstream that failed", "cause", "status"),
    _counter(
        "loom.transitions.invalid", "{transition}", "Events that fit no state", "machine", "state", "event"
    ),
    _counter(
        "loom.telemetry.dropped",
        "{item}",
        "Telemetry that was not delivered",
        "exporter",
        "signal",
        "reason",
    ),
)
