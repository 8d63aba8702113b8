"""Memories with all that is kept of them, tags and tombstones too: for those who ask over HTTP.

The contract (contracts section 6) knows no scope: whoever has the key sees the memories of every scope,
and a memory's tags say whose it is.
"""

import sqlite3

import msgspec
from msgspec import Struct

from loom_core.lookup import Memory, Provenance
from loom_shell.memory import lexical, rows
from loom_shell.memory.verbatim import plain

MOST = 120
"""Memories of one answer, whatever is asked for."""
EXACT = 1.0
"""The score of a memory that holds what was asked for to the letter."""
FIRST, LAST = -(2**63), 2**63 - 1
"""The moments that a row can hold (nanoseconds)."""


class Wanted(Struct, frozen=True):
    """What a search wants. `after` is the first moment that is wanted, `before` the first that is not.

    With `exact`, `query` is to stand in the text letter by letter, upper or lower case in ASCII.
    """

    query: str
    limit: int = 10
    exact: bool = False
    after: int = FIRST
    before: int = LAST
    exclude: tuple[str, ...] = ()
    min_score: float = 0.0
    include_forgotten: bool = False


class Item(Struct, frozen=True):
    """A memory; what its caller and the Loom say of it in tags; and whether it is forgotten."""

    memory: Memory
    tags: tuple[str, ...] = ()
    is_forgotten: bool = False


class Found(Struct, frozen=True):
    """Best first. `forgotten`: those of `exclude` that were deleted."""

    items: tuple[Item, ...] = ()
    forgotten: tuple[str, ...] = ()


class Counts(Struct, frozen=True):
    memories: int
    forgotten: int


_COLUMNS = "id, text, at, provenance, scope, tags, forgotten"
_WANTED = """at >= :after AND at < :before
    AND memory.id NOT IN (SELECT value FROM json_each(:exclude))"""
_NEAREST = """
    SELECT memory.id, -bm25({index}, 1.0{weights}) AS score
    FROM {index} JOIN memory ON memory.id = {index}.rowid
    WHERE {index} MATCH :expression AND {wanted}
    ORDER BY score DESC, memory.id DESC LIMIT :limit
"""
_NEAR = {
    index: _NEAREST.format(index=index, weights=weights, wanted=_WANTED)
    for index, weights in (("words", ", 0.3"), ("gone", ""))
}
_EXACTLY = f"""
    SELECT memory.id, {EXACT} FROM memory
    WHERE {{kept}} AND {_WANTED} AND instr(lower(text), lower(:query))
    ORDER BY at DESC, memory.id DESC LIMIT :limit
"""  # noqa: S608 - nothing in it comes from outside
# Said in so many words, so that the index of the newest serves it, and it can stop early.
_EXACT = {True: _EXACTLY.format(kept="1"), False: _EXACTLY.format(kept="NOT forgotten")}
_ITEMS = f"SELECT {_COLUMNS} FROM memory WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - as above
_NEWEST = f"""
    SELECT {_COLUMNS} FROM memory WHERE NOT forgotten AND at >= ? ORDER BY at DESC, id DESC LIMIT ?
"""  # noqa: S608 - as above
_ONE = f"SELECT {_COLUMNS} FROM memory WHERE id = ? AND NOT forgotten"  # noqa: S608 - as above
_COUNTS = "SELECT count(*) FILTER (WHERE NOT forgotten), count(*) FILTER (WHERE forgotten) FROM memory"

_TAGS = msgspec.json.Decoder(tuple[str, ...])


def found(db: sqlite3.Connection, wanted: Wanted) -> Found:
    """What is nearest to the question's words, or holds it to the letter, newest first."""
    query = plain(wanted.query).strip()
    expression, most = lexical.expression(query), max(0, min(wanted.limit, MOST))
    asked = {
        "expression": expression,
        "query": query,
        "after": _within(wanted.after),
        "before": _within(wanted.before),
        "exclude": _json([row for one in wanted.exclude if (row := rows.number(one))]),
        "limit": most,
    }
    near: list[tuple[int, float]] = []
    if wanted.exact and query:
        near = db.execute(_EXACT[wanted.include_forgotten], asked).fetchall()
    elif expression and not wanted.exact:
        indexes = ("words", "gone") if wanted.include_forgotten else ("words",)
        near = [pair for index in indexes for pair in db.execute(_NEAR[index], asked)]
        near = sorted(near, key=lambda it: (it[1], it[0]), reverse=True)[:most]
    scores = {row: score for row, score in near if score >= wanted.min_score}
    kept = {row[0]: row for row in db.execute(_ITEMS, (_json([*scores]),))}
    items = tuple(_item(kept[row], score) for row, score in scores.items())
    return Found(items, rows.forgotten(db, wanted.exclude) if wanted.exclude else ())


def newest(db: sqlite3.Connection, limit: int, since: int) -> tuple[Item, ...]:
    return tuple(_item(row) for row in db.execute(_NEWEST, (_within(since), limit)))


def one(db: sqlite3.Connection, memory_id: str) -> Item | None:
    return next((_item(row) for row in db.execute(_ONE, (rows.number(memory_id),))), None)


def counts(db: sqlite3.Connection) -> Counts:
    return Counts(*db.execute(_COUNTS).fetchone())


def _item(row: tuple[int, str, int, str, str, str, int], score: float = 0.0) -> Item:
    own, text, at, provenance, scope, told, forgotten = row
    tags = _TAGS.decode(told)
    named = {tag.partition(":")[0] for tag in tags if ":" in tag}
    # What was not stored over HTTP says in tags what RemoteMemory would have said.
    ours = {"provenance": provenance if provenance != Provenance.ASSISTANT.value else "", "scope": scope}
    more = (f"{name}:{value}" for name, value in ours.items() if value and name not in named)
    memory = Memory(f"{own}", text, at, Provenance(provenance), score)
    return Item(memory, (*tags, *more), bool(forgotten))


def _within(at: int) -> int:
    return max(FIRST, min(at, LAST))


def _json(values: list[int]) -> str:
    return msgspec.json.encode(values).decode()
