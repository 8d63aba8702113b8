"""What weaving asks of the store and the memory, and what they answer: values of actions and events.

The store is the one Redis. A ledger is one hash, `loom:ledger:{scope}`, so that all of it lies in one
cluster slot and one command reads what a request needs (weaving.md, "The ledger").
"""

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct, field

LEDGER_SECONDS = 30 * 24 * 3600
"""Life of a ledger, begun again at each use (contracts section 5)."""


def ledger_key(scope: str) -> str:
    return f"loom:ledger:{{{scope}}}"


class Reading(Struct, frozen=True):
    """One pipelined read. `fields` are of the ledger of `scope`; the rest are keys of their own.

    `patterns` are key patterns with `*`: all keys that match are read as texts, bounded by the store.
    """

    scope: str
    fields: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


class Answers(Struct, frozen=True):
    """What a reading found; what is absent is not in the mappings.

    `matched` has for each pattern the (key, text) pairs, sorted by key. `trouble` is "" or says in a few
    words why the store did not answer (all or part of) it: then absent does not mean that it is not there.
    `is_read` False: the ledger itself was not read; `fields` are what this process knew of it.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    matched: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trouble: str = ""
    is_read: bool = True


class Entry(Struct, frozen=True):
    """A field of a ledger to be written, unless another was first.

    With `expected`, a field that stands so is replaced.
    """

    name: str
    value: str
    expected: str | None = None


class Provenance(Enum):
    """Who a memory's words came from."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    WEB = "web"
    IMPORTED = "imported"


class Memory(Struct, frozen=True):
    """One memory as a search found it. `at`: nanoseconds, when it was stored; a higher `score` is nearer."""

    id: str
    text: str
    at: int = 0
    provenance: Provenance = Provenance.USER
    score: float = 0.0


class Question(Struct, frozen=True):
    """What is asked of the memory. `deadline`: nanoseconds the search may take; `budget`: tokens in all."""

    query: str
    scope: str = ""
    limit: int = 5
    budget: int = 400
    exclude: tuple[str, ...] = ()
    provenance: frozenset[Provenance] = frozenset({Provenance.USER, Provenance.ASSISTANT})
    min_score: float = 0.0
    deadline: int = 250_000_000


class Recalled(Struct, frozen=True):
    """What the memory found, best first. `trouble` as in `Answers`.

    `forgotten`: those of the question's `exclude` that were deleted since.
    """

    memories: tuple[Memory, ...] = ()
    trouble: str = ""
    forgotten: tuple[str, ...] = ()
