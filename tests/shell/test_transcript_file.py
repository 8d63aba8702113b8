import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from loom_shell.transcript_file import Piece, TranscriptFile
from loom_shell.transcript_roots import RefusedPathError, Roots


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.jsonl"


@pytest.fixture
def one(path: Path) -> Iterator[TranscriptFile]:
    one = TranscriptFile(Roots((path.parent,)), path)
    yield one
    one.close()


@pytest.mark.spec("watcher.waits")
def test_there_is_nothing_to_read_before_there_is_a_file(tmp_path: Path, one: TranscriptFile) -> None:
    with pytest.raises(FileNotFoundError):
        one.read(0, 9, reopens=False)
    (tmp_path / "f").write_bytes(b"")
    below = TranscriptFile(Roots((tmp_path,)), tmp_path / "f" / "s.jsonl")
    with pytest.raises(FileNotFoundError):
        below.read(0, 9, reopens=True)


def test_a_piece_is_what_was_asked_for_or_up_to_the_end(path: Path, one: TranscriptFile) -> None:
    path.write_bytes(b"0123456789")
    name = f"{path.stat().st_ino:x}"
    assert one.read(2, 3, reopens=False) == Piece(name, b"234", 10, is_current=True)
    assert one.read(8, 3, reopens=False) == Piece(name, b"89", 10, is_current=True)
    assert one.read(20, 3, reopens=False) == Piece(name, b"", 10, is_current=True)
    one.close()
    one.close()


@pytest.mark.spec("watcher.anew")
def test_it_stays_the_same_file_until_it_is_opened_again(path: Path, one: TranscriptFile) -> None:
    path.write_bytes(b"old")
    before = one.read(0, 9, reopens=False)
    path.rename(path.with_suffix(".old"))
    assert one.read(0, 9, reopens=False) == Piece(before.file, b"old", 3, is_current=False)
    path.write_bytes(b"newer")
    assert one.read(0, 9, reopens=False) == Piece(before.file, b"old", 3, is_current=False)
    after = one.read(0, 9, reopens=True)
    assert (after.data, after.is_current) == (b"newer", True)
    assert after.file != before.file
    path.unlink()
    assert not one.read(0, 9, reopens=False).is_current
    with pytest.raises(FileNotFoundError):
        one.read(0, 9, reopens=True)


@pytest.mark.spec("watcher.roots")
def test_what_became_a_link_is_not_opened(path: Path, one: TranscriptFile) -> None:
    path.symlink_to("/etc/hostname")
    with pytest.raises(RefusedPathError):
        one.read(0, 9, reopens=False)


def test_a_disk_that_gives_less_at_once_is_asked_again(
    path: Path, one: TranscriptFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"0123456789")
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda file, most, offset: whole(file, min(most, 3), offset))
    assert one.read(1, 8, reopens=False).data == b"12345678"
    assert one.read(1, 80, reopens=False).data == b"123456789"


@pytest.mark.spec("watcher.trouble")
def test_after_a_failure_it_is_opened_anew(
    path: Path, one: TranscriptFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"0123456789")
    one.read(0, 1, reopens=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", _stale)
        with pytest.raises(OSError, match="Stale"):
            one.read(0, 9, reopens=False)
    assert one.read(0, 3, reopens=False).data == b"012"


def _stale(*_: object) -> bytes:
    raise OSError(116, "Stale file handle")
