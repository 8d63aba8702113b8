"""From the names that requests give to the files they mean: paths that were told, and sessions without one.

A name is sought for a while, since a client makes the file a moment after its first request, and perhaps the
folder too. What is not there then is on another machine. Each refusal is told once.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from loom_shell.files import named
from loom_shell.printable import printable
from loom_shell.transcript_roots import RefusedPathError, Roots

MOST_NAMES = 1_000
"""Names whose files are remembered, and as many that are sought."""
TOLD_SECONDS, UNTOLD_SECONDS = 60.0, 10.0
"""How long a path that was told, and a session without one, are sought."""
YOUNG_SECONDS, YOUTH = 0.05, 3.0
PAUSE_SECONDS = 1.0

Name = tuple[str, str]
"""(session, path); the path is "" where none was told."""
Found = tuple[Path, ...] | str
"""Canonical paths, none if nothing is there yet, or why it is refused."""


class Seeking:
    """`note` gets a line for each name that leads nowhere; of sessions without a path for the first only."""

    def __init__(self, roots: Roots, note: Callable[[str], None]) -> None:
        self._roots, self._note = roots, note
        self._known: OrderedDict[Name, tuple[Path, ...]] = OrderedDict()
        self._sought: dict[Name, float] = {}
        self._has_told = False
        self.refused = 0
        """Names that lead nowhere."""

    def __len__(self) -> int:
        """How many names are sought."""
        return len(self._sought)

    def known(self, name: Name) -> tuple[Path, ...]:
        """Where the name leads, if that was found. Otherwise it is sought from now on."""
        found = self._known.get(name)
        if found is not None:
            self._known.move_to_end(name)
        elif name not in self._sought and len(self._sought) < MOST_NAMES:
            self._sought[name] = time.monotonic()
        return found or ()

    @property
    def pause(self) -> float:
        """Seconds until the next look, infinite while nothing is sought."""
        if not self._sought:
            return float("inf")
        newest = max(self._sought.values())
        return YOUNG_SECONDS if time.monotonic() < newest + YOUTH else PAUSE_SECONDS

    async def look(self) -> list[tuple[str, Path]]:
        """Sessions and files that were found just now."""
        found = []
        names = [*self._sought]
        if not names:
            return []
        work = partial(_looked, self._roots, names)
        for name, what in await anyio.to_thread.run_sync(work, abandon_on_cancel=True):
            if isinstance(what, str):
                self._over(name, what)
            elif what:
                self._keep(name, what)
                found += [(name[0], path) for path in what]
            elif name in self._sought:
                self._perhaps_over(name)
        return found

    def _perhaps_over(self, name: Name) -> None:
        session, path = name
        seconds = TOLD_SECONDS if path else UNTOLD_SECONDS
        if time.monotonic() < self._sought[name] + seconds:
            return
        where = named(Path(path)) if path else " or ".join(named(it) for it in self._roots.folders)
        text = (
            f"no transcript of session {printable(session, 80)} is at {where}: it may be on another machine"
        )
        is_new = bool(path) or not self._has_told
        self._has_told = self._has_told or not path
        self._over(name, text if is_new else "")

    def _over(self, name: Name, text: str) -> None:
        self._keep(name, ())
        self.refused += 1
        if text:
            self._note(text)

    def _keep(self, name: Name, paths: tuple[Path, ...]) -> None:
        self._sought.pop(name, None)
        self._known[name] = paths
        if paths and name[1] and not self._known.get((name[0], "")):
            # A subagent's request has no path, and is of the same session.
            self._keep((name[0], ""), paths)
        while len(self._known) > MOST_NAMES:
            self._known.popitem(last=False)


def _looked(roots: Roots, names: list[Name]) -> list[tuple[Name, Found]]:
    return [(name, _found(roots, *name)) for name in names]


def _found(roots: Roots, session: str, path: str) -> Found:
    if not path:
        return tuple(roots.of_session(session))
    try:
        canonical = roots.admitted(path)
    except RefusedPathError as refused:
        return str(refused)
    # Where the folder is, the file may be waited for.
    return (canonical,) if os.path.isdir(canonical.parent) else ()  # noqa: PTH112 - false for whatever error
