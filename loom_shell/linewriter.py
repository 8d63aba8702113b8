"""Whole lines to a descriptor from a thread of its own, so that nobody waits for a slow reader."""

import os
import select
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from threading import Event, Thread

MAX_QUEUED = 10_000
"""Lines that may wait. A line is seldom over 500 bytes, so this is some 5 MB."""
MAX_BATCH = 512
"""Lines the thread takes from the queue at a time."""
MAX_WRITE = 4_096
"""Bytes of one write, unless one line is longer: as much as a pipe takes as one piece (PIPE_BUF,
pipe(7)), so that the lines of several workers on one pipe do not cut one another."""
GATHERING = 0.05
"""Seconds the thread gathers lines before it writes, unless it is behind: one wake-up for many."""


class LineWriter:
    """`put` never waits and never raises: it may be called from any thread, or from a finaliser.

    Lines beyond the queue, and lines that cannot be written, are counted; `report(n)` makes the line
    that tells of `n` of them, and is written as soon as writing works again.
    The descriptor is duplicated: should someone close it and a socket get its number, no line can
    end up there.
    """

    def __init__(self, fd: int, report: Callable[[int], bytes]) -> None:
        self._report = report
        # A SimpleQueue, for its put may interrupt itself; the bound is kept here.
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._dropped = 0  # added to by whoever puts
        self._lost = 0  # added to by the thread alone, as what follows
        self._reported = 0
        self._is_torn = False
        self._closing = Event()
        try:
            self._fd = os.dup(fd)
        except OSError:
            # Nobody can read: each write fails and is counted like any other failure.
            self._fd = -1
        self._thread = Thread(target=self._run, name="loom-log", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Hand in a line, with its line feed. It is dropped where there is no room for it."""
        if self.has_room:
            self._lines.put(line)
        else:
            self.drop()

    @property
    def has_room(self) -> bool:
        """Ask first, and a line that would be dropped need not be made; call `drop` then."""
        return self._lines.qsize() < MAX_QUEUED and not self._closing.is_set()

    def drop(self) -> None:
        """Count a line that nobody made."""
        self._dropped += 1

    def close(self, deadline_seconds: float) -> bool:
        """Write what waits, for at most so many seconds; whether every line there ever was went out."""
        self._closing.set()
        self._lines.put(None)
        self._thread.join(deadline_seconds)
        if self._thread.is_alive():
            # It stays in its write, as a daemon thread, until the process ends.
            return False
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        return not self._dropped and not self._lost

    def _run(self) -> None:
        going_on, lines = True, list[bytes | None]()
        while going_on:
            is_behind = len(lines) > MAX_BATCH
            lines = [self._lines.get()]
            if not is_behind:
                self._closing.wait(GATHERING)
            lines.extend(_waiting(self._lines))
            going_on = None not in lines
            for chunk in _chunks(line for line in lines if line is not None):
                if not self._write(b"".join(chunk)):
                    self._lost += len(chunk)
            self._tell_missing()

    def _tell_missing(self) -> None:
        missing = self._dropped + self._lost - self._reported
        if missing and self._write(self._report(missing)):
            self._reported += missing

    def _write(self, chunk: bytes) -> bool:
        rest = memoryview(b"\n" + chunk if self._is_torn else chunk)
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError:
            # A reader that is gone, a full disk: the lines are lost, the next ones are tried again.
            self._is_torn = self._is_torn or len(rest) < len(chunk)
            return False
        self._is_torn = False
        return True

    def _write_some(self, rest: memoryview) -> int:
        try:
            return os.write(self._fd, rest)
        except BlockingIOError:
            # Another process may have made the shared descriptor non-blocking.
            room = select.poll()
            room.register(self._fd, select.POLLOUT)
            room.poll(1_000)
            return 0


def _waiting(lines: "SimpleQueue[bytes | None]") -> Iterator[bytes | None]:
    try:
        for _ in range(MAX_BATCH):
            yield lines.get_nowait()
    except Empty:
        return


def _chunks(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        if chunk and size + len(line) > MAX_WRITE:
            yield chunk
            chunk, size = [], 0
        chunk.append(line)
        size += len(line)
    if chunk:
        yield chunk
