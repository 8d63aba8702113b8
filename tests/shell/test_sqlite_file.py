import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from loom_shell.sqlite_file import NotRegularError, identity, opened


def soon() -> float:
    return time.monotonic() + 2


@pytest.mark.spec("memory.file", "scribe.file")
def test_a_file_is_its_owners_alone_and_takes_several(tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.sqlite"
    one, other = opened(path, soon()), opened(path, soon())
    one.execute("CREATE TABLE t (x)")
    assert other.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert one.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    modes = [it.stat().st_mode & 0o777 for it in (path, path.parent)]
    assert modes == [0o600, 0o700]
    one.close()
    other.close()


@pytest.mark.spec("memory.file", "scribe.file")
def test_one_that_others_could_read_becomes_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "one.sqlite"
    path.touch()
    path.chmod(0o644)
    opened(path, soon()).close()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.spec("memory.file", "scribe.file")
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotRegularError):
        opened(tmp_path / "pipe", soon())
    with pytest.raises(OSError):
        opened(tmp_path, soon())


def test_a_connection_goes_from_thread_to_thread_only_if_asked_for(tmp_path: Path) -> None:
    def raised(db: sqlite3.Connection) -> list[BaseException]:
        found: list[BaseException] = []

        def use() -> None:
            try:
                db.execute("SELECT 1")
            except sqlite3.ProgrammingError as error:
                found.append(error)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        return found

    for anywhere in (True, False):
        db = opened(tmp_path / "one.sqlite", soon(), anywhere=anywhere)
        assert bool(raised(db)) is not anywhere
        db.close()


def test_a_file_is_known_by_what_it_is_and_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert identity(path) is None
    path.touch()
    first = identity(path)
    # The second exists before the first goes, so that it cannot get its number.
    (tmp_path / "y").touch()
    (tmp_path / "y").replace(path)
    assert identity(path) not in {None, first}
