"""Which of some paths have changed on disk: told by the system, and looked at where it does not tell.

One `awatch` for all of them, of their folders and not below. Now and then all of them are looked at: that
finds what nobody told of, and the folders that never tell, such as those of a network disk. Those are polled.
"""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import aclosing
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from watchfiles import awatch

from loom_shell.files import named
from loom_shell.printable import printable

QUIET_SECONDS = 2.0
"""How often it looks while the system tells."""
POLL_SECONDS = 0.25
YOUNG_SECONDS = 0.05
"""How often while a file is waited for that was named a moment ago: a client makes it after some 40 ms."""
YOUTH = 3.0
SETTLE_MS = 20
GATHER_MS = 100
STOP_MS = 1_000
"""An end that nobody announced is seen after so long."""
MISSES, PATIENCE = 3, 2.0
"""Changes of a folder that were found and not told, and for how many seconds, until it is polled."""

Signature = tuple[int, int, int, int] | None
UNSEEN: Signature = (-1, -1, -1, -1)


class Changes:
    """`tell` gets each path that has changed, and each new one; `note` a line where it begins to poll."""

    def __init__(
        self, tell: Callable[[Path], None], note: Callable[[str], None], *, polls: bool = False
    ) -> None:
        self._tell, self._note = tell, note
        self._paths: dict[Path, Signature] = {}
        self._young_until = 0.0
        self._polls = polls
        self._polled: set[Path] = set()
        self._speaking: set[Path] = set()
        self._missed: dict[Path, tuple[float, int]] = {}
        self._folders: tuple[Path, ...] = ()
        self._listens_to: tuple[Path, ...] = ()
        self._moved = anyio.Event()
        self._is_closed = False

    def add(self, path: Path) -> None:
        """A file or folder, whether it is there or not."""
        self._paths.setdefault(path, UNSEEN)
        self._young_until = time.monotonic() + YOUTH

    def remove(self, path: Path) -> None:
        self._paths.pop(path, None)

    def waiting(self, paths: Iterable[Path]) -> int:
        """How many of the paths lead to nothing."""
        return sum(self._paths.get(path, UNSEEN) is None for path in paths)

    @property
    def pause(self) -> float:
        """Seconds until the next look, infinite while there is no path."""
        if not self._paths:
            return float("inf")
        if time.monotonic() < self._young_until:
            is_unheard = not self._polls and self._listens_to != self._folders
            if is_unheard or any(it in {None, UNSEEN} for it in self._paths.values()):
                return YOUNG_SECONDS
        return POLL_SECONDS if self._polls or self._polled else QUIET_SECONDS

    async def look(self) -> None:
        """Tell of all that has changed since the last look."""
        await self._looked([*self._paths], is_told=False)
        folders = await anyio.to_thread.run_sync(_folders, [*self._paths], abandon_on_cancel=True)
        if folders != self._folders:
            self._folders = folders
            self._speaking.intersection_update(folders)
            self._polled.intersection_update(folders)
            self._young_until = time.monotonic() + YOUTH
            self._moved.set()

    async def listen(self) -> None:
        """Tell of what the system tells, until `close`."""
        while not self._is_closed and not self._polls:
            self._moved = anyio.Event()
            self._listens_to = self._folders
            try:
                await (self._listened(self._listens_to, self._moved) if self._folders else self._moved.wait())
            except FileNotFoundError:
                # One that was there a moment ago: the next look says which are.
                await anyio.sleep(YOUNG_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it is, what is followed is looked at
                # Such as no watches left: fs.inotify.max_user_watches.
                self._polls = True
                self._note(f"nothing tells of changes in transcripts, so they are polled: {_why(error)}")

    def close(self) -> None:
        self._is_closed = True
        self._moved.set()

    async def _listened(self, folders: tuple[Path, ...], moved: anyio.Event) -> None:
        batches = awatch(
            *folders,
            watch_filter=None,
            step=SETTLE_MS,
            debounce=GATHER_MS,
            stop_event=moved,
            rust_timeout=STOP_MS,
            recursive=False,
            ignore_permission_denied=False,  # it would hide every other reason too
        )
        async with aclosing(batches):
            async for batch in batches:
                told = {Path(path) for _, path in batch}
                parents = {path.parent for path in told}
                self._speaking |= parents
                self._polled -= parents
                # A folder changes with what is in it, a path with the folder it will be in.
                touched = [it for it in [*self._paths] if it in told or it in parents or it.parent in told]
                await self._looked(touched, is_told=True)

    async def _looked(self, paths: list[Path], *, is_told: bool) -> None:
        seen = await anyio.to_thread.run_sync(partial(_signatures, paths), abandon_on_cancel=True)
        for path, signature in seen:
            before = self._paths.get(path, signature)
            if before == signature:
                continue
            self._paths[path] = signature
            if not is_told and before != UNSEEN:
                self._found(path.parent)
            self._tell(path)

    def _found(self, folder: Path) -> None:
        """What was not told may be told in a moment; a folder that never tells anything is polled."""
        if folder in self._speaking or folder not in self._listens_to or folder in self._polled:
            return
        now = time.monotonic()
        since, count = self._missed.get(folder, (now, 0))
        self._missed[folder] = since, count + 1
        if count + 1 >= MISSES and now >= since + PATIENCE:
            del self._missed[folder]
            self._polled.add(folder)
            self._note(f"nothing tells of changes in {named(folder)}, so it is polled")


def _signatures(paths: Iterable[Path]) -> list[tuple[Path, Signature]]:
    return [(path, _signature(path)) for path in paths]


def _signature(path: Path) -> Signature:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _folders(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Those of the paths, and of their folders, that are there."""
    some = {folder for path in paths for folder in (path, path.parent)}
    there = [folder for folder in some if os.path.isdir(folder)]  # noqa: PTH112 - false for whatever error
    return tuple(sorted(there))


def _why(error: Exception) -> str:
    return printable(str(error), 200)
