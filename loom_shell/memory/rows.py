"""The rows of the embedded memory: every statement that reads or changes them, on a given connection.

A memory is stored with its surroundings: the near ends of the memories before and after it in its scope
and session, and its date. They are indexed with it, and written anew when a neighbour comes or goes.
"""

import sqlite3

import msgspec

from loom_core.lookup import Memory, Provenance, Question
from loom_shell.memory import lexical
from loom_shell.memory.port import NewMemory
from loom_shell.memory.verbatim import valid

NEAREST = """
    SELECT memory.id, memory.text, memory.at, memory.provenance, nearest.score
    FROM (
        SELECT words.rowid AS id, -bm25(words, 1.0, 0.3) AS score
        FROM words JOIN memory ON memory.id = words.rowid
        WHERE words MATCH :expression
            AND memory.provenance IN (SELECT value FROM json_each(:provenance))
            AND (:scope = '' OR memory.scope IN (:scope, ''))
            AND memory.id NOT IN (SELECT value FROM json_each(:exclude))
        ORDER BY score DESC, id DESC LIMIT :limit
    ) AS nearest JOIN memory USING (id) WHERE nearest.score >= :min_score
    ORDER BY nearest.score DESC, memory.id DESC
"""
_NEWEST = """
    SELECT id, text, at, provenance, 0.0 FROM memory
    WHERE NOT forgotten AND at >= :since ORDER BY at DESC, id DESC LIMIT :limit
"""
_FORGOTTEN = "SELECT id FROM memory WHERE forgotten AND id IN (SELECT value FROM json_each(:ids)) ORDER BY id"
_ONE = "SELECT id, text, at, provenance, 0.0 FROM memory WHERE id = :id AND NOT forgotten"
_PUT = """
    INSERT INTO memory (at, provenance, scope, session, text, around, tags)
    VALUES (:at, :provenance, :scope, :session, :text, '', :tags)
"""
_FORGET = "UPDATE memory SET forgotten = 1 WHERE id = :id AND NOT forgotten"
_PLACE = "SELECT scope, session, at, id FROM memory WHERE id = ?"
_BEFORE = """
    SELECT id, text, at FROM memory WHERE NOT forgotten AND scope = ? AND session = ? AND (at, id) < (?, ?)
    ORDER BY at DESC, id DESC LIMIT 2
"""
_AFTER = """
    SELECT id, text, at FROM memory WHERE NOT forgotten AND scope = ? AND session = ? AND (at, id) > (?, ?)
    ORDER BY at, id LIMIT 2
"""
_ITSELF = "SELECT id, text, at FROM memory WHERE id = ? AND NOT forgotten"


def number(memory_id: str) -> int:
    """The row an id names; 0, which no row has, for what is no id."""
    return int(memory_id) if memory_id.isascii() and memory_id.isdigit() and len(memory_id) < 19 else 0


def nearest(db: sqlite3.Connection, question: Question, limit: int) -> list[Memory]:
    """What the question's words are nearest to, best first; its budget and deadline are the caller's."""
    expression = lexical.expression(question.query)
    if not expression:
        return []
    asked = {
        "expression": expression,
        "provenance": _json(sorted(one.value for one in question.provenance)),
        "scope": valid(question.scope),
        "exclude": _json([row for one in question.exclude if (row := number(one))]),
        "min_score": question.min_score,
        "limit": limit,
    }
    return [*map(_memory, db.execute(NEAREST, asked))]


def forgotten(db: sqlite3.Connection, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Those of them that were deleted."""
    rows = db.execute(_FORGOTTEN, {"ids": _json([row for one in ids if (row := number(one))])})
    return tuple(f"{row}" for (row,) in rows)


def newest(db: sqlite3.Connection, limit: int, since: int) -> tuple[Memory, ...]:
    """The newest, newest first, none older than `since` (nanoseconds)."""
    asked = {"limit": limit, "since": max(-(2**63), min(since, 2**63 - 1))}
    return tuple(map(_memory, db.execute(_NEWEST, asked)))


def one(db: sqlite3.Connection, memory_id: str) -> Memory | None:
    return next(map(_memory, db.execute(_ONE, {"id": number(memory_id)})), None)


def put(db: sqlite3.Connection, new: NewMemory) -> Memory:
    """Store what was made storable before."""
    told = {"provenance": new.provenance.value, "tags": _json([*new.tags])}
    fields = msgspec.structs.asdict(new) | told
    db.execute("BEGIN IMMEDIATE")
    row = int(db.execute(_PUT, fields).lastrowid or 0)
    _renew(db, row)
    db.execute("COMMIT")
    return Memory(str(row), new.text, new.at, new.provenance)


def forget(db: sqlite3.Connection, memory_id: str) -> bool:
    """Leave a tombstone; whether there ever was such a memory."""
    row = number(memory_id)
    db.execute("BEGIN IMMEDIATE")
    if db.execute(_FORGET, {"id": row}).rowcount:
        _renew(db, row)
    is_known = db.execute(_PLACE, (row,)).fetchone() is not None
    db.execute("COMMIT")
    return is_known


def _renew(db: sqlite3.Connection, row: int) -> None:
    """Write the surroundings of a memory that has come or gone, and of its neighbours, anew."""
    place = db.execute(_PLACE, (row,)).fetchone()
    is_in_session = place[1] != ""
    before = db.execute(_BEFORE, place).fetchall()[::-1] if is_in_session else []
    after = db.execute(_AFTER, place).fetchall() if is_in_session else []
    line = [*before, *db.execute(_ITSELF, (row,)), *after]
    # The outermost ones, unless a session ends there, are neighbours of neighbours: they stay.
    first = 1 if len(before) == 2 else 0
    last = len(line) - 1 if len(after) == 2 else len(line)
    for i in range(first, last):
        own, _text, at = line[i]
        text_before = line[i - 1][1] if i else ""
        text_after = line[i + 1][1] if i + 1 < len(line) else ""
        told = lexical.around(text_before, text_after, at)
        db.execute("UPDATE memory SET around = ? WHERE id = ?", (told, own))


def probe(db: sqlite3.Connection) -> None:
    """Read the index, and write nothing where writing is allowed."""
    db.execute("SELECT rowid FROM words WHERE words MATCH 'loom' LIMIT 1").fetchone()
    db.execute("BEGIN IMMEDIATE")
    db.execute("ROLLBACK")


def _memory(found: tuple[int, str, int, str, float]) -> Memory:
    row, text, at, provenance, score = found
    return Memory(str(row), text, at, Provenance(provenance), score)


def _json(values: list[str] | list[int]) -> str:
    return msgspec.json.encode(values).decode()
