"""The files of a session's subagents, as they appear beside its transcript.

Looked for when their folder changes and when a request names the session. A file is told of when it is new,
or has changed since it was told of.
"""

from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from loom_shell.transcript_roots import Roots, subagents_folder

MOST = 10_000
"""Files that are remembered; the session that was named first goes first."""
Stamp = tuple[int, int]


class Subagents:
    """`named` and `changed` say where to look, `look` looks."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._sessions: dict[Path, tuple[str, Path]] = {}  # by folder: session and transcript
        self._told: dict[Path, Stamp] = {}
        self._due: set[Path] = set()

    def named(self, session: str, path: Path) -> Path:
        """A request named the session of this transcript; the folder whose changes matter."""
        folder = subagents_folder(path)
        self._sessions[folder] = session, path
        self._due.add(folder)
        return folder

    def changed(self, folder: Path) -> None:
        if folder in self._sessions:
            self._due.add(folder)

    def left(self, path: Path) -> Path:
        """The transcript is followed no more; the folder that mattered."""
        folder = subagents_folder(path)
        self._sessions.pop(folder, None)
        self._due.discard(folder)
        return folder

    def forget(self, path: Path) -> None:
        """What was told of this file was in vain: tell of it again at the next occasion."""
        self._told.pop(path, None)

    async def look(self) -> list[tuple[str, Path]]:
        """Sessions and files, the latest file first."""
        due = [self._sessions[folder] for folder in self._due if folder in self._sessions]
        self._due.clear()
        found: list[tuple[Stamp, str, Path]] = []
        for session, path in due:
            work = partial(_stamped, self._roots, path)
            for file, stamp in await anyio.to_thread.run_sync(work, abandon_on_cancel=True):
                if self._told.get(file) != stamp:
                    self._told[file] = stamp
                    found.append((stamp, session, file))
        while len(self._told) > MOST:
            del self._told[next(iter(self._told))]
        return [(session, file) for _, session, file in sorted(found, reverse=True)]


def _stamped(roots: Roots, path: Path) -> list[tuple[Path, Stamp]]:
    stamped = []
    for file in roots.subagents(path):
        try:
            found = file.lstat()
        except OSError:
            continue
        stamped.append((file, (found.st_mtime_ns, found.st_size)))
    return stamped
