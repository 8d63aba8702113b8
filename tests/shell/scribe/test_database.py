import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from attrs import evolve

from loom_shell.scribe import rows
from loom_shell.scribe.database import SET_ASIDE, Database
from loom_shell.scribe.engine import FILE_NAME
from loom_shell.scribe.statements import Wanted
from loom_shell.scribe.trouble import DatabaseTroubleError, NoDatabaseError
from loom_shell.scribe.words import phrases
from loom_shell.scribe_url import Postgres, postgres
from tests.support.postgres import Server
from tests.support.scribed import told

FILL = """
import sys
from pathlib import Path
from loom_shell.scribe.database import Database
from loom_shell.scribe.trouble import DatabaseTroubleError
from loom_shell.scribe_url import postgres
from tests.support.scribed import told
where, step = sys.argv[1], int(sys.argv[2])
one, done = Database(postgres(where) if "://" in where else Path(where)), 0
while done < 300:
    try:
        one.store([told(i) for i in range(done, done + 30)][::step])
        done += 30
    except DatabaseTroubleError as error:
        assert "locked" in str(error)
one.close()
"""


def url(place: Postgres | Path) -> str:
    if isinstance(place, Path):
        return str(place)
    return f"postgresql://{place.user}@/{place.database}?host={dict(place.options)['host']}"


@pytest.mark.spec("scribe.every", "scribe.once")
def test_lines_are_stored_once(database: Database) -> None:
    lines = [told(i) for i in range(10)]
    assert database.store(lines[:6]) == 6
    assert database.store(lines[3:]) == 4
    assert database.store([*lines, *lines]) == 0
    assert database.store([told(1, session="s2"), told(1, "other text")]) == 1
    assert database.store([]) == 0
    assert database.count() == 11
    assert list(database.lines("s1")) == [row for row, _ in lines]


@pytest.mark.spec("scribe.every")
@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\0\xff\xed\xa0\x80", b'{"a":"\\ud800\\u0000"}', b"x" * 3_000_000]
)
def test_whatever_was_published_is_stored(database: Database, raw: bytes) -> None:
    assert database.store([told(1, raw=raw)]) == 1
    (one,) = database.lines("s1")
    assert one == told(1, raw=raw)[0]


@pytest.mark.spec("scribe.names")
def test_the_longest_names_fit_into_the_indexes(database: Database) -> None:
    # Of letters that do not repeat, for what does is packed.
    long = "".join(chr(0x4E00 + i * 7) for i in range(3_000))
    line = told(1, session=long, line_id=long, file=long, id=long, usage={"input_tokens": 1})
    assert database.store([line]) == 1
    assert database.store([line]) == 0


@pytest.mark.spec("scribe.every")
def test_the_longest_text_of_different_words_fits_into_the_index(database: Database) -> None:
    text = " ".join(chr(0x4E00 + i % 20_000) + chr(0x4E00 + i // 7) for i in range(60_000))
    assert database.store([told(1, text)]) == 1
    assert database.find(Wanted(phrases(text[:2])))


@pytest.mark.spec("scribe.refused")
def test_a_line_that_is_refused_is_kept_without_what_it_holds(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MOST_TEXT", 10_000_000)
    text = " ".join(f"word{i}" for i in range(200_000))
    bad = evolve(told(2)[0], text=text), None
    one = Database(postgres_server.place())
    assert one.store([told(1), bad, told(3)]) == 3
    assert [(it.problem, bool(it.text)) for it in one.lines("s1")] == [
        ("", True),
        (SET_ASIDE, False),
        ("", True),
    ]
    assert one.store([told(1), bad, told(3)]) == 0
    one.close()


@pytest.mark.spec("scribe.shared", "scribe.once")
def test_processes_can_make_and_fill_one_database_at_once(place: Postgres | Path) -> None:
    command = [sys.executable, "-c", FILL, url(place)]
    started = [subprocess.Popen([*command, step]) for step in ("1", "-1")]
    assert [one.wait(50) for one in started] == [0, 0]
    database = Database(place)
    assert database.count() == 300
    database.close()


@pytest.mark.spec("scribe.none")
def test_who_reads_makes_no_file(tmp_path: Path) -> None:
    one = Database(tmp_path / "home" / FILE_NAME)
    for ask in (one.count, lambda: one.sessions("", 1), lambda: list(one.lines("s1"))):
        with pytest.raises(NoDatabaseError, match="is not there yet: `loom serve` or `loom scribe` makes it"):
            ask()
    assert not (tmp_path / "home").exists()


@pytest.mark.spec("scribe.order")
def test_a_session_is_not_held_in_memory(database: Database) -> None:
    database.store([told(i) for i in range(500)])
    taken = database.lines("s1")
    assert [next(taken).line_id for _ in range(3)] == ["u0", "u1", "u2"]
    taken.close()  # type: ignore[attr-defined]
    assert database.store([told(500)]) == 1


# Troubles


@pytest.mark.spec("scribe.trouble")
def test_a_locked_file_is_told_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loom_shell.scribe.engine.WAIT_SECONDS", 0.05)
    one = Database(tmp_path / FILE_NAME)
    one.store([told(1)])
    one.close()
    other = sqlite3.connect(one.place, isolation_level=None)  # type: ignore[arg-type]
    other.execute("BEGIN IMMEDIATE")
    for _ in range(2):
        with pytest.raises(DatabaseTroubleError, match="is locked by another program"):
            one.store([told(2)])
    other.execute("ROLLBACK")
    other.close()
    assert one.store([told(1), told(2)]) == 1
    one.close()


@pytest.mark.spec("scribe.trouble")
def test_a_damaged_file_is_told_and_one_put_back_is_used(tmp_path: Path) -> None:
    one = Database(tmp_path / FILE_NAME)
    assert isinstance(one.place, Path)
    one.place.write_bytes(b"no database " * 1_000)
    with pytest.raises(DatabaseTroubleError, match="is damaged: move it away"):
        one.store([told(1)])
    one.place.unlink()
    assert one.store([told(1)]) == 1
    one.close()


@pytest.mark.spec("scribe.trouble")
def test_a_full_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Database(tmp_path / FILE_NAME)
    one.store([told(1)])
    made = one._engine
    assert made is not None
    with made.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 20")
    with pytest.raises(DatabaseTroubleError, match="is full: make room on its disk"):
        one.store([told(2, "x" * 1_000_000)])
    # Opened anew, it has room again.
    assert one.store([told(2, "x" * 1_000_000)]) == 1
    one.close()


@pytest.mark.spec("scribe.trouble")
def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseTroubleError, match="cannot be opened"):
        Database(tmp_path / "file" / FILE_NAME).store([told(1)])


@pytest.mark.spec("scribe.replaced")
def test_a_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    one = Database(tmp_path / "home" / FILE_NAME)
    one.store([told(1)])
    shutil.rmtree(tmp_path / "home")
    assert one.store([told(1), told(2)]) == 2
    assert one.count() == 2
    one.close()


@pytest.mark.spec("scribe.replaced")
def test_a_file_that_goes_while_it_is_written_is_a_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Database(tmp_path / FILE_NAME)
    one.store([told(1)])

    def put(*_: object) -> int:
        (tmp_path / FILE_NAME).unlink()
        return 1

    monkeypatch.setattr("loom_shell.scribe.statements.put", put)
    with pytest.raises(DatabaseTroubleError, match="cannot be opened: no such file"):
        one.store([told(2)])
    monkeypatch.undo()
    assert one.store([told(2)]) == 1
    one.close()


@pytest.mark.spec("scribe.trouble")
def test_a_server_that_went_and_came_is_used_again(postgres_server: Server) -> None:
    one = Database(postgres_server.place())
    one.store([told(1)])
    assert isinstance(one.place, Postgres)
    postgres_server.end(one.place)
    with pytest.raises(DatabaseTroubleError, match=r"started or stopped|cannot be reached"):
        one.store([told(2)])
    assert one.store([told(1), told(2)]) == 1
    one.close()


@pytest.mark.spec("scribe.trouble", "scribe.url")
@pytest.mark.parametrize(
    ("url", "told_"),
    [
        ("postgresql://loom:hunter2hunter2@127.0.0.1:1/d", "cannot be reached"),
        ("postgresql://loom:hunter2hunter2@/d?host=/nowhere", "cannot be reached"),
        ("postgresql://loom:hunter2hunter2@name.invalid/d", "cannot be reached"),
    ],
)
def test_a_server_that_is_not_there_is_told_without_the_password(url: str, told_: str) -> None:
    with pytest.raises(DatabaseTroubleError, match=told_) as refused:
        Database(postgres(url)).store([told(1)])
    assert "hunter2" not in str(refused.value)


@pytest.mark.spec("scribe.trouble")
def test_a_database_or_a_user_that_is_not_there_is_told(postgres_server: Server) -> None:
    for place in ("postgresql://loom@/absent", "postgresql://nobody@/postgres"):
        with pytest.raises(DatabaseTroubleError, match="or its user is not there"):
            Database(postgres(f"{place}?host={postgres_server.folder}")).store([told(1)])


@pytest.mark.spec("scribe.bounded")
def test_what_a_stopped_server_leaves_unanswered_can_be_cut(postgres_server: Server) -> None:
    one = Database(postgres_server.place())
    one.store([told(1)])
    assert isinstance(one.place, Postgres)
    backend = postgres_server.backend(one.place)
    os.kill(backend, signal.SIGSTOP)
    troubles: list[DatabaseTroubleError] = []

    def store() -> None:
        try:
            one.store([told(2)])
        except DatabaseTroubleError as error:
            troubles.append(error)

    thread = threading.Thread(target=store)
    try:
        thread.start()
        until = time.monotonic() + 10
        while one._driver is None and time.monotonic() < until:
            time.sleep(0.01)
        with pytest.raises(DatabaseTroubleError, match="still does what it was asked before"):
            one.store([told(3)])
        one.cut()
        thread.join(10)
        assert not thread.is_alive()
        assert len(troubles) == 1
    finally:
        os.kill(backend, signal.SIGCONT)
    assert one.store([told(2), told(3)]) == 2
    one.close()
    one.cut()
