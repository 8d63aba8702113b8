"""Which files may be read as transcripts.

A path comes from whoever sends requests, and is not trusted: it must lead to a regular `.jsonl` file under
one of the configured folders, after every link on its way was followed. Everything here asks the disk, and
may wait for it.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from loom_shell.files import named
from loom_shell.printable import printable

SUFFIX = ".jsonl"
LONGEST_PATH = 4_096
"""Bytes (PATH_MAX)."""
SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
AGENT = re.compile(r"agent-([A-Za-z0-9_-]{1,128})\.jsonl")
MOST_FOLDERS = 10_000
"""Project folders that are looked at for one session."""
MOST_AGENTS = 4_096
"""Entries of a folder that are looked at for files of subagents."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe that nobody writes to would wait without O_NONBLOCK.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class RefusedPathError(Exception):
    """The path may not be followed; the text is one line that says why."""


def projects_folder(user: Path, config: str = "") -> Path:
    """Where the client keeps transcripts. `user`: the user's home; `config`: its CLAUDE_CONFIG_DIR, or ""."""
    return (Path(config) if config else user / ".claude") / "projects"


@frozen
class Roots:
    """The folders, as configured. What they are links to is looked up each time: they may change."""

    folders: tuple[Path, ...]

    def admitted(self, path: str) -> Path:
        """The canonical path, whether there is a file or not yet; RefusedPathError."""
        canonical = _canonical(path)
        if not any(canonical.is_relative_to(root) for root in self._real()):
            raise _refusal(path, f"it does not lie under {_listed(self.folders)}")
        with suppress(OSError):
            if not stat.S_ISREG(canonical.lstat().st_mode):
                raise _refusal(path, "it is not a regular file")
        return canonical

    def opened(self, path: Path) -> int:
        """A descriptor of the file at a canonical path. OSError as it comes, RefusedPathError.

        Each folder is opened from the one above it and no link is followed: whoever replaces one by a
        link after `admitted` gains nothing.
        """
        root = next((root for root in self._real() if path.is_relative_to(root)), None)
        if root is None:
            raise _refusal(str(path), f"it does not lie under {_listed(self.folders)}")
        *folders, name = path.relative_to(root).parts
        held = os.open(root, _FOLDER)
        try:
            for folder in folders:
                below = os.open(folder, _FOLDER, dir_fd=held)
                os.close(held)
                held = below
            file = os.open(name, _FILE, dir_fd=held)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _refusal(str(path), "it has become a link") from None
            raise
        finally:
            os.close(held)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise _refusal(str(path), "it is not a regular file")
        return file

    def of_session(self, session: str) -> Iterator[Path]:
        """The canonical paths of files that are there under the session's name, in any project."""
        if not SESSION.fullmatch(session):
            return
        for root in self._real():
            for folder in _entries(root, MOST_FOLDERS):
                path = Path(folder.path, session + SUFFIX)
                if os.path.exists(path):  # noqa: PTH110 - false for whatever error
                    with suppress(RefusedPathError):
                        yield self.admitted(str(path))

    def subagents(self, path: Path) -> Iterator[Path]:
        """The canonical paths of the files of a session's subagents that are there."""
        names = [it.name for it in _entries(subagents_folder(path), MOST_AGENTS) if AGENT.fullmatch(it.name)]
        for name in sorted(names):
            with suppress(RefusedPathError):
                yield self.admitted(str(subagents_folder(path) / name))

    def _real(self) -> list[Path]:
        return [Path(os.path.realpath(folder)) for folder in self.folders]


def subagents_folder(path: Path) -> Path:
    """Of a session's transcript."""
    return path.with_suffix("") / "subagents"


def agent_of(path: Path) -> str:
    """The subagent that a transcript is of, "" for that of a session."""
    found = AGENT.fullmatch(path.name) if path.parent.name == "subagents" else None
    return found[1] if found else ""


def _canonical(path: str) -> Path:
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        raise _refusal(path, "it is not a file name") from None
    if b"\0" in encoded or len(encoded) > LONGEST_PATH:
        raise _refusal(path, "it is not a file name")
    if not path.startswith("/"):
        raise _refusal(path, "it is not absolute")
    canonical = Path(os.path.realpath(path))
    if not path.endswith(SUFFIX) or canonical.suffix != SUFFIX:
        raise _refusal(path, f"its name does not end in {SUFFIX}")
    return canonical


def _entries(folder: Path, most: int) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry, _ in zip(entries, range(most), strict=False)]
    except OSError:
        return []


def _refusal(path: str, why: str) -> RefusedPathError:
    return RefusedPathError(f"the transcript {printable(path, 200)} is not followed: {why}")


def _listed(folders: tuple[Path, ...]) -> str:
    return " or ".join(named(folder) for folder in folders) or "any folder, for none is configured"
