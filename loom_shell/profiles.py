"""All profiles of a home, `LOOM_HOME/profiles/*`: read at the start, and again when they change.

What is on disk never stops the Loom. A profile that is broken stays as it was when it was last in
order, and is told of once for each state; a folder that is gone is a profile that is gone.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path

import anyio
import anyio.to_thread
from watchfiles import awatch

from loom_core.profile import Profile
from loom_shell.files import FileRefusedError, named
from loom_shell.printable import printable
from loom_shell.profile_file import BrokenProfileError, read_profile

FOLDER = "profiles"
MOST = 256
"""Profiles of one home."""
LOOK_SECONDS = 5.0
"""After so long a quiet it looks by itself: links, network disks and replaced folders tell nothing."""
SETTLE_MS = 200
"""Quiet after a change before it is read: saving several files is one change."""
POLL_MS = 1_000

Faults = tuple[str, ...]
Seen = Mapping[str, Profile | Faults]


def look(home: Path) -> Seen:
    """Every folder of `profiles`, hidden ones aside: its profile, or what is wrong with it.

    Nothing if there is no such folder; FileRefusedError if it cannot be listed.
    """
    folder = home / FOLDER
    try:
        with os.scandir(folder) as entries:
            names = sorted(one.name for one in entries if one.name[0] != "." and _is_folder(one))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise FileRefusedError(f"cannot list {named(folder)}: {reason}") from None
    seen: dict[str, Profile | Faults] = {name: look_at(folder / name) for name in names[:MOST]}
    for name in names[MOST : MOST + 1]:
        seen[name] = (f"{named(folder)} holds {len(names)} folders: only the first {MOST} are read",)
    return seen


def look_at(folder: Path) -> Profile | Faults:
    try:
        return read_profile(folder)
    except BrokenProfileError as broken:
        return broken.faults


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


class Profiles:
    """The profiles as they are now. `note` gets one sentence for each trouble, and for its end."""

    def __init__(self, home: Path, note: Callable[[str], None]) -> None:
        self._home, self._note = home, note
        self._good: dict[str, Profile] = {}
        self._told: dict[str, Faults] = {}
        self._trouble = ""
        self.load()

    @property
    def all(self) -> Mapping[str, Profile]:
        """Each by its name, as it was last in order; another object once any of it changed."""
        return self._good

    def get(self, name: str) -> Profile | None:
        """The profile of that name as it was last in order, None if there is none."""
        return self._good.get(name)

    def load(self) -> None:
        """Look at the disk now."""
        self._settle(_looked(self._home))

    async def watch(self, *, force_polling: bool = False, look_seconds: float = LOOK_SECONDS) -> None:
        """Follow the disk until cancelled. `force_polling`: for disks that tell of no change."""
        stop = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(_set_at_the_end, stop)
            await self._watch(look_seconds, stop, polling=force_polling)

    async def _watch(self, look_seconds: float, stop: anyio.Event, *, polling: bool) -> None:
        while True:
            self._settle(await anyio.to_thread.run_sync(_looked, self._home))
            try:
                await self._follow(look_seconds, stop, polling=polling)
            except FileNotFoundError:
                await anyio.sleep(look_seconds)
            except (OSError, RuntimeError, ExceptionGroup) as error:
                if not polling:
                    # Such as no watches left: fs.inotify.max_user_watches.
                    why = printable(str(error), 200)
                    self._note(
                        f"nothing tells of changes in {named(self._home / FOLDER)}, so it is polled: {why}"
                    )
                polling = True
                await anyio.sleep(look_seconds)

    async def _follow(self, look_seconds: float, stop: anyio.Event, *, polling: bool) -> None:
        """Load at each change, until nothing was told for `look_seconds`.

        The watch then begins anew: it may be one of a folder that is no longer there.
        """
        changes = awatch(
            self._home / FOLDER,
            watch_filter=None,
            step=SETTLE_MS,
            stop_event=stop,
            rust_timeout=round(look_seconds * 1_000),
            yield_on_timeout=True,
            force_polling=polling,
            poll_delay_ms=POLL_MS,
            ignore_permission_denied=False,  # it would hide every other reason too
        )
        async with aclosing(changes):
            async for told in changes:
                if not told:
                    return
                self._settle(await anyio.to_thread.run_sync(_looked, self._home))

    def _settle(self, seen: Seen | FileRefusedError) -> None:
        """Take over what was seen; what cannot be seen stays as it was."""
        if isinstance(seen, FileRefusedError):
            if self._trouble != str(seen):
                self._note(f"{seen}: the profiles stay as they are")
            self._trouble = str(seen)
            return
        self._trouble = ""
        good = {}
        for name, one in seen.items():
            if isinstance(one, Profile):
                good[name] = one
                if name in self._told:
                    self._note(f"profile {name} is in order again")
            else:
                if name in self._good:
                    good[name] = self._good[name]
                if self._told.get(name) != one:
                    self._note(_broken(name, one, is_kept=name in good))
        self._told = {name: one for name, one in seen.items() if not isinstance(one, Profile)}
        if good != self._good:
            self._good = good


async def _set_at_the_end(stop: anyio.Event) -> None:
    """Set it when cancelled: the thread that waits for changes knows of no other sign (within SETTLE_MS)."""
    try:
        await anyio.sleep_forever()
    finally:
        stop.set()


def _looked(home: Path) -> Seen | FileRefusedError:
    try:
        return look(home)
    except FileRefusedError as error:
        return error


def _broken(name: str, faults: Faults, *, is_kept: bool) -> str:
    more = f" (and {len(faults) - 1} more: see `loom profile check`)" if len(faults) > 1 else ""
    state = "stays as it was" if is_kept else "is not used"
    return f"profile {printable(name, 80)} is broken and {state}: {faults[0]}{more}"
