"""Which process of a home follows which file: a byte of one file is locked for each (fcntl(2)).

The kernel lets go of a lock when its process ends, however that ends.
"""

import fcntl
import os
from hashlib import blake2b
from pathlib import Path


class Claims:
    """One per process, home and `name`. They save work, and nothing depends on them."""

    def __init__(self, home: Path, name: str = "transcripts") -> None:
        self._place = home / f"{name}.lock"
        self._file = -1

    def take(self, path: Path) -> bool:
        """Whether the file is this process's now; also where nothing can be locked."""
        try:
            if self._file < 0:
                self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = os.open(self._place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte(path))
        except (BlockingIOError, PermissionError):
            # Another's (EAGAIN or EACCES, fcntl(2)); or a home that may not be written, where nobody locks.
            return self._file < 0
        except OSError:
            return True
        return True

    def release(self, path: Path) -> None:
        if self._file >= 0:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte(path))

    def close(self) -> None:
        """Let go of all of them."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def _byte(path: Path) -> int:
    return int.from_bytes(blake2b(os.fsencode(path), digest_size=7).digest())
