"""The key of the Cortex: the configured one, else one of its own in a file that only its owner reads."""

import os
import secrets
import tempfile
from pathlib import Path

from loom_shell.files import FileRefusedError, is_missing, named, read_whole
from loom_shell.parsing import key_text
from loom_shell.secret import Secret

FILE_NAME = "cortex-key"
PREFIX = "loom_cortex_"
"""Redaction knows the Loom's tokens by their beginning, and so it knows this one."""


class CortexKey:
    """Making one touches nothing; the file is read, and made, when the key is first asked for."""

    def __init__(self, home: Path, given: Secret | None = None) -> None:
        self.file = home / FILE_NAME
        self._given = given
        self._found: Secret | None = None

    @property
    def is_given(self) -> bool:
        """Whether it was configured, so that there is no file of it."""
        return self._given is not None

    def get(self) -> Secret:
        """The key. FileRefusedError where its file cannot be read or made: it is tried again then."""
        if self._given is not None:
            return self._given
        if self._found is None:
            self._found = _read(self.file) or _made(self.file)
        return self._found


def _read(file: Path) -> Secret | None:
    """The key in the file, made its owner's alone; None if there is no file."""
    if is_missing(file):
        return None
    content, mode = read_whole(file)
    try:
        key = Secret(key_text(content.decode("ascii", "replace")))
    except ValueError:
        raise FileRefusedError(
            f"{named(file)} must hold one word of visible ASCII: remove it, and another is made"
        ) from None
    if mode & 0o077:
        try:
            file.chmod(0o600)
        except OSError:
            raise FileRefusedError(
                f"{named(file)} holds a key and others may read it: make it yours"
            ) from None
    return key


def _made(file: Path) -> Secret:
    key = PREFIX + secrets.token_urlsafe(32)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, fresh = tempfile.mkstemp(prefix=f".{FILE_NAME}.", dir=file.parent)
        try:
            with os.fdopen(descriptor, "w") as written:
                written.write(f"{key}\n")
            # Of several processes the first one's stands, whole: a link replaces nothing.
            os.link(fresh, file)
        except FileExistsError:
            pass
        finally:
            Path(fresh).unlink()
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise FileRefusedError(f"cannot write {named(file)}: {reason}") from None
    return _read(file) or Secret(key)
