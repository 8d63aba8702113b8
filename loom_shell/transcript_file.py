"""One transcript, open for reading. Everything here asks the disk, and may wait for it: not on the loop."""

import os
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from loom_shell.transcript_roots import Roots


@frozen
class Piece:
    """What was read, of which file, and how large that is. `is_current`: the path led to it just before."""

    file: str
    data: bytes
    size: int
    is_current: bool


class TranscriptFile:
    """The file of a canonical path. It stays the same one wherever it is moved, until it is opened again."""

    def __init__(self, roots: Roots, path: Path) -> None:
        self._roots, self._path = roots, path
        self._file = -1

    def read(self, offset: int, most: int, *, reopens: bool) -> Piece:
        """Bytes from the offset on, as many as asked for or up to the end.

        FileNotFoundError if there is no file, OSError and RefusedPathError if it cannot or may not be read.
        """
        if reopens:
            self.close()
        if self._file < 0:
            try:
                self._file = self._roots.opened(self._path)
            except NotADirectoryError as error:
                raise FileNotFoundError from error
        try:
            found = os.fstat(self._file)
            is_current = self._leads_to(found)
            data = _read(self._file, offset, most)
            size = os.fstat(self._file).st_size
        except OSError:
            # Such as ESTALE of a network disk: only a new descriptor helps.
            self.close()
            raise
        # The number alone: that of the device may be another after the machine has started again.
        return Piece(f"{found.st_ino:x}", data, size, is_current)

    def close(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)
        self._file = -1

    def _leads_to(self, found: os.stat_result) -> bool:
        try:
            there = self._path.lstat()
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)


def _read(file: int, offset: int, most: int) -> bytes:
    """A network disk may give less at once than it has."""
    data = os.pread(file, most, offset)
    if not data or len(data) == most:
        return data
    pieces = [data]
    size = len(data)
    while size < most and (data := os.pread(file, most - size, offset + size)):
        pieces.append(data)
        size += len(data)
    return b"".join(pieces)
