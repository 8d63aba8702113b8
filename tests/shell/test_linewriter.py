import errno
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from loom_shell import linewriter
from loom_shell.linewriter import MAX_QUEUED, MAX_WRITE, LineWriter

WAIT = 10.0
"""Seconds a test waits for what must come; it comes at once."""


class Pipe:
    """A pipe whose reader stands still until it is told to read."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.is_read = True

    def fill(self) -> int:
        """Bytes it took until nothing more went in."""
        os.set_blocking(self.write_end, False)
        count = 0
        try:
            while True:
                count += os.write(self.write_end, b"\n" * 4096)
        except BlockingIOError:
            os.set_blocking(self.write_end, True)
            return count

    def line(self) -> bytes:
        got = b""
        while not got.endswith(b"\n"):
            assert select.select([self.read_end], [], [], WAIT)[0], "no line came"
            got += os.read(self.read_end, 1)
        return got

    def rest(self) -> bytes:
        """Everything up to the end; all writers must have closed."""
        self.close_writing()
        parts = []
        while part := os.read(self.read_end, 65536):
            parts.append(part)
        return b"".join(parts)

    def close_writing(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close_reading(self) -> None:
        if self.is_read:
            os.close(self.read_end)
            self.is_read = False


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close_writing()
    pipe.close_reading()


def missing(count: int) -> bytes:
    return b"%d missing\n" % count


def test_lines_come_out_in_order_while_it_runs(pipe: Pipe) -> None:
    writer = LineWriter(pipe.write_end, missing)
    writer.put(b"one\n")
    writer.put(b"two\n")
    assert pipe.line() == b"one\n"
    assert pipe.line() == b"two\n"
    assert writer.close(WAIT)


@pytest.mark.spec("log.close")
def test_closing_writes_what_waits(pipe: Pipe) -> None:
    writer = LineWriter(pipe.write_end, missing)
    lines = [b"%d\n" % n for n in range(2_000)]
    for line in lines:
        writer.put(line)
    assert writer.close(WAIT)
    assert pipe.rest() == b"".join(lines)


@pytest.mark.spec("log.close")
def test_closing_twice_is_as_closing_once_and_later_lines_are_dropped(pipe: Pipe) -> None:
    writer = LineWriter(pipe.write_end, missing)
    writer.put(b"one\n")
    assert writer.close(WAIT)
    assert writer.close(WAIT)
    writer.put(b"late\n")
    assert pipe.rest() == b"one\n"


@pytest.mark.spec("log.never-waits", "log.bounded", "log.close")
def test_a_reader_that_stands_still_costs_lines_and_no_time(pipe: Pipe) -> None:
    filled = pipe.fill()
    writer = LineWriter(pipe.write_end, missing)
    writer.put(b"first\n")
    done = threading.Event()

    def puts() -> None:
        for _ in range(4 * MAX_QUEUED):
            writer.put(b"line\n")
        done.set()

    threading.Thread(target=puts, daemon=True).start()
    assert done.wait(WAIT)
    assert writer._lines.qsize() <= MAX_QUEUED
    assert not writer.close(0.05)

    # The reader moves again: what waited comes, and how many did not.
    reader = threading.Thread(target=lambda: out.append(pipe.rest()))
    out: list[bytes] = []
    reader.start()
    writer._thread.join(WAIT)
    assert not writer.close(WAIT)  # lines are missing, and it says so
    reader.join(WAIT)
    lines = out[0][filled:].splitlines(keepends=True)
    assert lines[0] == b"first\n"
    told = sum(int(line.split()[0]) for line in lines if line.endswith(b"missing\n"))
    assert lines.count(b"line\n") + told == 4 * MAX_QUEUED
    assert told >= 2 * MAX_QUEUED


@pytest.mark.spec("log.whole-lines")
def test_a_write_holds_whole_lines_of_at_most_a_pipes_piece(
    monkeypatch: pytest.MonkeyPatch, pipe: Pipe
) -> None:
    writes: list[bytes] = []

    def write(_fd: int, piece: memoryview) -> int:
        writes.append(bytes(piece))
        return len(piece)

    monkeypatch.setattr(linewriter.os, "write", write)
    writer = LineWriter(pipe.write_end, missing)
    lines = [b"x" * (n % 700) + b"\n" for n in range(500)]
    lines[250] = b"y" * 9_000 + b"\n"
    for line in lines:
        writer.put(line)
    assert writer.close(WAIT)
    assert b"".join(writes) == b"".join(lines)
    assert all(piece.endswith(b"\n") for piece in writes)
    assert [len(piece) for piece in writes if len(piece) > MAX_WRITE] == [9_001]
    assert len(writes) < 100


@pytest.mark.spec("log.gone")
def test_a_reader_that_is_gone_raises_nothing(pipe: Pipe) -> None:
    writer = LineWriter(pipe.write_end, missing)
    pipe.close_reading()
    for _ in range(100):
        writer.put(b"line\n")
    assert not writer.close(WAIT)


@pytest.mark.spec("log.gone")
def test_a_descriptor_that_is_not_open_raises_nothing() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    writer = LineWriter(write_end, missing)
    writer.put(b"line\n")
    assert not writer.close(WAIT)


@pytest.mark.spec("log.gone")
def test_closing_the_descriptor_elsewhere_sends_no_line_to_its_next_owner(pipe: Pipe, tmp_path: Path) -> None:
    writer = LineWriter(pipe.write_end, missing)
    number = pipe.write_end
    pipe.close_writing()
    with (tmp_path / "other").open("wb") as other:
        os.dup2(other.fileno(), number)
        writer.put(b"line\n")
        assert writer.close(WAIT)
        if number != other.fileno():
            os.close(number)
    assert (tmp_path / "other").read_bytes() == b""
    assert pipe.rest() == b"line\n"


@pytest.mark.spec("log.bounded", "log.gone")
def test_a_full_disk_is_told_of_once_there_is_room_and_no_line_is_torn(
    monkeypatch: pytest.MonkeyPatch, pipe: Pipe
) -> None:
    written = bytearray()
    tries = iter(["half", "full", "full"])

    def write(_fd: int, piece: memoryview) -> int:
        match next(tries, "room"):
            case "half":
                written.extend(piece[:3])
                return 3
            case "full":
                failed.set()
                raise OSError(errno.ENOSPC, "No space left on device")
        written.extend(piece)
        if b"missing" in bytes(piece):
            told.set()
        return len(piece)

    told, failed = threading.Event(), threading.Event()
    monkeypatch.setattr(linewriter.os, "write", write)
    writer = LineWriter(pipe.write_end, missing)
    writer.put(b"broken off\n")
    assert failed.wait(WAIT)
    writer.put(b"whole\n")
    assert told.wait(WAIT)
    assert not writer.close(WAIT)
    assert bytes(written) == b"bro\nwhole\n1 missing\n"


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: Pipe) -> None:
    filled = pipe.fill()
    os.set_blocking(pipe.write_end, False)
    writer = LineWriter(pipe.write_end, missing)
    writer.put(b"line\n")
    assert not writer.close(0.1)
    got = b""
    while len(got) < filled:
        got += os.read(pipe.read_end, filled - len(got))
    assert pipe.line() == b"line\n"
    assert writer.close(WAIT)
