import os
import stat
from pathlib import Path

import pytest

from loom_shell import files
from loom_shell.files import LIMIT, FileRefusedError, is_missing, read_whole, sole_writer, write_private


def refused(path: Path) -> str:
    with pytest.raises(FileRefusedError) as caught:
        read_whole(path)
    (line,) = str(caught.value).splitlines()
    return line


def test_a_regular_file_is_read_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * LIMIT)
    path.chmod(0o640)
    assert read_whole(path) == (b"x" * LIMIT, 0o640)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe").endswith("it is not a regular file")
    assert refused(tmp_path).endswith("is a directory")
    assert refused(Path("/dev/zero")).endswith("it is not a regular file")


def test_what_cannot_be_opened_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refused(tmp_path / "no").startswith(f"cannot read {tmp_path}/no: no such file")
    assert "symbolic links" in refused(tmp_path / "loop")
    assert "not a file name" in refused(Path("a\0b"))
    assert "\\n" in refused(tmp_path / "a\nb")


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * (LIMIT + 1))
    assert "larger than 1048576 bytes" in refused(path)


def test_writing_replaces_the_file_and_makes_it_private(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["f"]


def test_writing_through_a_link_replaces_what_it_points_at(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "f")
    write_private(tmp_path / "link", b"new")
    assert (tmp_path / "there" / "f").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


def test_writing_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["f"]


@pytest.mark.spec("gateway.writers")
def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    path = tmp_path / "home" / "f"
    with sole_writer(path), pytest.raises(FileRefusedError, match="another command"), sole_writer(path):
        raise AssertionError
    with sole_writer(path):
        write_private(path, b"x")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_failing_to_write_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(FileRefusedError, match="cannot write"), sole_writer(tmp_path / "f" / "below" / "x"):
        raise AssertionError
    with pytest.raises(FileRefusedError, match="no space left"), sole_writer(tmp_path / "x"):
        raise OSError(28, "No space left on device")


def test_only_what_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "f").write_bytes(b"")
    assert is_missing(tmp_path / "no")
    assert is_missing(tmp_path / "f" / "below")
    assert not is_missing(tmp_path / "dangling")
    assert not is_missing(Path("/" + "x" * 5000))
