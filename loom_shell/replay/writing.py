"""The files of a journal: appended to by one process, begun anew when large, gone when old.

A new file begins while no exchange is under way, if that comes in time, and the machines of its recording
begin with it: so each file can be replayed alone.
"""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

from loom_core.redaction import VERSION as PATTERNS
from loom_shell.replay.blobs import Pack
from loom_shell.replay.codec import Form, encoded, write_event, write_key
from loom_shell.replay.reading import BLOBS, LINES, VERSION
from loom_shell.replay.record import Recorded

MEGABYTE = 1024 * 1024
PARTS = 8
"""A file may have so much of what all may have together."""
_DAY = 24 * 3600.0


@frozen
class Bounds:
    """Of all files of a folder together: bytes, and days since one was written to last."""

    max_bytes: int = 1024 * MEGABYTE
    max_days: float = 30.0


class Files:
    """The file that is written, and those before it. OSError as it comes."""

    def __init__(self, folder: Path, bounds: Bounds, boot: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._bounds, self._boot = folder, bounds, boot
        self._number = 0
        self._open()

    def _open(self) -> None:
        self._number += 1
        began = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        path = self._folder / f"{began}-{self._boot}-{self._number:04}{LINES}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self.path = path
        self._lines = os.open(path, flags, 0o600)
        self._pack = Pack(path.with_suffix(BLOBS))
        self._size = 0
        self._waiting: list[bytes] = []
        self._put({"loom": "journal", "version": VERSION, "patterns": PATTERNS})
        self._trim()

    @property
    def size(self) -> int:
        return self._size + self._pack.size

    @property
    def is_full(self) -> bool:
        return self.size >= self._bounds.max_bytes // PARTS

    @property
    def is_more_than_full(self) -> bool:
        return self.size >= 2 * (self._bounds.max_bytes // PARTS)

    def event(self, record: Recorded) -> None:
        key = write_key(record.key)
        line: dict[str, Form] = {"k": key, "e": write_event(record.event, self._pack.put)}
        if record.session:
            line["s"] = record.session
        if record.begins:
            line["new"] = True
        line["d"] = record.digests[0]
        self._put(line)

    def told(self, exchange: str, digest: str) -> None:
        self._put({"told": exchange, "d": digest})

    def lost(self, sessions: list[str], why: str) -> None:
        self._put({"lost": sessions, "why": why})

    def _put(self, line: dict[str, Form]) -> None:
        octets = encoded(line) + b"\n"
        self._size += len(octets)
        self._waiting.append(octets)

    def flush(self) -> None:
        """Write the lines; what they speak of is in the pack already."""
        if not self._waiting:
            return
        octets = b"".join(self._waiting)
        self._waiting.clear()
        while octets:
            octets = octets[os.write(self._lines, octets) :]

    def anew(self) -> None:
        """Go on in a file of its own."""
        self.close()
        self._open()

    def close(self) -> None:
        self.flush()
        os.close(self._lines)
        self._pack.close()

    def _trim(self) -> None:
        """Take away what is too old, and the oldest as long as all are too much."""
        room = self._bounds.max_bytes - 2 * (self._bounds.max_bytes // PARTS)
        oldest = time.time() - self._bounds.max_days * _DAY
        for path in sorted(self._folder.glob(f"*{LINES}"), reverse=True):
            if path == self.path:
                continue
            both = (path, path.with_suffix(BLOBS))
            stats = [it.stat() for it in both if it.exists()]
            room -= sum(it.st_size for it in stats)
            if room < 0 or max(it.st_mtime for it in stats) < oldest:
                for one in both:
                    one.unlink(missing_ok=True)
