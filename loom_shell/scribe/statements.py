"""Every statement that reads or changes the tables of transcripts, on a given connection."""

from collections.abc import Sequence
from typing import Any

from attrs import asdict, fields, frozen
from sqlalchemy import (
    ColumnClause,
    Connection,
    Select,
    and_,
    bindparam,
    column,
    func,
    select,
    table,
    text,
)
from sqlalchemy import (
    Row as Found,
)
from sqlalchemy.dialects import postgresql, sqlite

from loom_shell.scribe import words
from loom_shell.scribe.rows import Row, Usage
from loom_shell.scribe.tables import LINE, USAGE

KEYS = ("session", "message_id")
COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
NAMES = tuple(one.name for one in fields(Row))
CONFIGURATION = "transcript_words"
LAST = "\U0010ffff"
"""The last code point: no name of a session has it."""


@frozen
class Wanted:
    """What is looked for: words as `words.phrases` gives them, and what else must hold. "" and 0: any."""

    asked: tuple[words.Phrase, ...]
    session: str = ""
    since: int = 0
    role: str = ""
    most: int = 20


COUNT = select(func.count()).select_from(LINE)


def put(connection: Connection, rows: Sequence[Row], usages: Sequence[Usage]) -> int:
    """Insert what is not there yet; the number of lines that were new."""
    if not rows:
        return 0
    is_postgres = connection.dialect.name == "postgresql"
    given = [_given(row, with_words=is_postgres) for row in rows]
    insert = _PUT_POSTGRES if is_postgres else _PUT_SQLITE
    done = connection.execute(insert, given, execution_options={"preserve_rowcount": True})
    if usages:
        connection.execute(_USED_POSTGRES if is_postgres else _USED_SQLITE, [*map(asdict, usages)])
    return done.rowcount


def line(found: Found[*tuple[Any, ...]]) -> Row:
    return Row(**found._mapping)  # noqa: SLF001 - its public name


def found(wanted: Wanted, kind: str) -> Select[Any]:
    """The lines that hold all the words, newest first."""
    if kind == "postgresql":
        each = [f"phraseto_tsquery('{CONFIGURATION}', :asked{i})" for i in range(len(wanted.asked))]
        holds = text(f"words @@ ({' && '.join(each)})").bindparams(
            **{f"asked{i}": " ".join(one) for i, one in enumerate(wanted.asked)}
        )
    else:
        of = "SELECT rowid FROM transcript_words WHERE transcript_words MATCH :asked"
        holds = text(f"id IN ({of})").bindparams(asked=words.fts5(wanted.asked))
    chosen = select(*_shown()).where(holds)
    if wanted.session:
        chosen = chosen.where(_begins(wanted.session))
    if wanted.since:
        chosen = chosen.where(LINE.c.at >= wanted.since)
    if wanted.role:
        chosen = chosen.where(LINE.c.role == wanted.role)
    return chosen.order_by(LINE.c.at.desc(), LINE.c.id.desc()).limit(wanted.most)


def sessions(beginning: str, most: int) -> Select[Any]:
    chosen = (
        select(LINE.c.session).group_by(LINE.c.session).order_by(func.max(LINE.c.at).desc(), LINE.c.session)
    )
    return (chosen.where(_begins(beginning)) if beginning else chosen).limit(most)


def conversation(session: str) -> Select[Any]:
    order = (LINE.c.at, LINE.c.file, LINE.c.place, LINE.c.id)
    return select(*_shown()).where(LINE.c.session == session).order_by(*order)


def used(session: str) -> Select[Any]:
    return select(*(func.sum(USAGE.c[name]) for name in COUNTS)).where(USAGE.c.session == session)


def _shown() -> list[ColumnClause[Any]]:
    return [LINE.c[name] for name in NAMES]


def _begins(beginning: str) -> Any:  # noqa: ANN401 - SQLAlchemy's own types of expressions
    """A range, for both databases compare sessions by code points: so an index serves."""
    return and_(LINE.c.session >= beginning, LINE.c.session < beginning + LAST)


# Inserts. A parameter may not have the name of its column.


def _given(row: Row, *, with_words: bool) -> dict[str, Any]:
    given = {f"new_{name}": value for name, value in row.values.items()}
    return given | {"new_words": words.folded(row.text)} if with_words else given


def _new(names: Sequence[str]) -> dict[str, Any]:
    return {name: bindparam(f"new_{name}") for name in names}


_LINE_WITH_WORDS = table(LINE.name, *(column(name) for name in (*NAMES, "words")))
_ONCE = ["session", "line_id"]
_PUT_SQLITE = sqlite.insert(LINE).values(_new(NAMES)).on_conflict_do_nothing(index_elements=_ONCE)
_PUT_POSTGRES = (
    postgresql.insert(_LINE_WITH_WORDS)
    .values({**_new(NAMES), "words": func.to_tsvector(text(f"'{CONFIGURATION}'"), bindparam("new_words"))})
    .on_conflict_do_nothing(index_elements=_ONCE)
)


def _most(kind: Any, greatest: Any) -> Any:  # noqa: ANN401 - the same methods in both dialects
    """Insert what a message used, or keep the larger of both: the same in any order, however often."""
    insert = kind.insert(USAGE)
    larger = {name: greatest(USAGE.c[name], insert.excluded[name]) for name in COUNTS}
    return insert.on_conflict_do_update(index_elements=KEYS, set_=larger)


_USED_SQLITE = _most(sqlite, func.max)
_USED_POSTGRES = _most(postgresql, func.greatest)
