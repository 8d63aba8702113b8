import os
import time
from pathlib import Path

import pytest

from loom_shell.replay.checking import Check, parts
from loom_shell.replay.reading import files, recorded
from loom_shell.replay.writing import Bounds, Files
from tests.support.conversations import prompt
from tests.support.journalled import Live
from tests.support.journals import journal
from tests.support.recordings import asked
from tests.support.weaving import MAIN, WHOSE

KILOBYTE = 1024


def calls(live: Live, many: int) -> None:
    for number in range(many):
        live.answered(live.asks(asked(prompt(f"Tea? {os.urandom(300).hex()} {number}")), (*WHOSE, MAIN)))


def total(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.spec("journal.bounded", "journal.alone")
def test_all_files_stay_within_their_bytes_and_each_can_be_replayed_alone(tmp_path: Path) -> None:
    most = 240 * KILOBYTE
    with journal(tmp_path / "j", Bounds(most)) as book:
        calls(Live(book), 60)
    assert total(tmp_path / "j") <= most
    assert len(files(tmp_path / "j")) > 2
    check = Check()
    for path in files(tmp_path / "j"):
        assert [part for part in parts(recorded(path)) if check.differs(part)] == []
    assert check.compared > 100


@pytest.mark.spec("journal.bounded", "journal.alone")
def test_an_exchange_that_never_ends_does_not_keep_a_file_open_for_ever(tmp_path: Path) -> None:
    with journal(tmp_path / "j", Bounds(160 * KILOBYTE)) as book:
        live = Live(book)
        live.heads(live.asks(asked(prompt("Wait.")), (*WHOSE, MAIN)))
        calls(live, 60)
    assert total(tmp_path / "j") <= 160 * KILOBYTE
    assert not all(record.whole for record in recorded(tmp_path / "j"))


@pytest.mark.spec("journal.bounded")
def test_files_that_are_too_old_go_when_another_begins(tmp_path: Path) -> None:
    old = tmp_path / "j" / "20200101T000000-aaaaaa-0001.jsonl"
    Files(tmp_path / "j", Bounds(), "a").close()
    for path in (old, old.with_suffix(".blobs"), tmp_path / "j" / "notes.txt"):
        path.write_bytes(b"x")
        os.utime(path, (0, time.time() - 3 * 24 * 3600))
    Files(tmp_path / "j", Bounds(max_days=4), "b").close()
    assert old.exists()
    Files(tmp_path / "j", Bounds(max_days=2), "c").close()
    assert not old.exists()
    assert not old.with_suffix(".blobs").exists()
    assert (tmp_path / "j" / "notes.txt").exists()
