"""Small files of configuration: read whole within bounds, written whole or not at all."""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loom_shell.printable import printable

LIMIT = 1024 * 1024
"""Bytes a file of settings, tokens or a key may have."""


class FileRefusedError(Exception):
    """A file that cannot be used; the text is one line that names it and says why."""


def read_whole(path: Path) -> tuple[bytes, int]:
    """The content and the permission bits of a regular file of at most `LIMIT` bytes.

    FileRefusedError otherwise. A pipe or device is refused, for it could block the start for ever.
    """
    try:
        with open(path, "rb", opener=_open_now) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise FileRefusedError(f"cannot read {named(path)}: it is not a regular file")
            content = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:
        raise FileRefusedError(f"cannot read {named(path)}: {_reason(error)}") from None
    if len(content) > LIMIT:
        raise FileRefusedError(f"cannot read {named(path)}: it is larger than {LIMIT} bytes")
    return content, stat.S_IMODE(mode)


def _open_now(path: str, flags: int) -> int:
    # Opening a pipe that nobody writes to would wait without this flag.
    return os.open(path, flags | os.O_NONBLOCK)


def write_private(path: Path, content: bytes) -> None:
    """Replace the file in one step, readable and writable by its owner only (mode 0600).

    A reader sees the old content or the new, also after a power cut. OSError as it comes.
    """
    # The link stays a link: its target is what is replaced.
    target = path.resolve()
    descriptor, fresh = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(fresh).replace(target)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Keep other Looms from changing `path` between our reading and our writing it.

    The folder is made when it is missing (mode 0700). FileRefusedError when another holds it.
    """
    folder = path.resolve().parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise FileRefusedError(f"cannot write {named(path)}: {_reason(error)}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise FileRefusedError(f"cannot write {named(path)}: another command is changing it") from None
    except OSError as error:
        raise FileRefusedError(f"cannot write {named(path)}: {_reason(error)}") from None
    finally:
        os.close(descriptor)


def named(path: Path) -> str:
    return printable(str(path))


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or "unknown error").lower() if isinstance(error, OSError) else "not a file name"


def is_missing(path: Path) -> bool:
    """Whether there is no such file at all: one that may not be looked at is not missing."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
