"""The watcher: finds the transcripts that requests name, and follows them until they are silent.

It decides which files may be read, and nothing about their lines. No request waits for it: `watch` looks up
what it knows, and tasks of its own ask the disk and the bus.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import anyio
from attrs import frozen

from loom_core.actions import WatchFile
from loom_core.events import FileChanged, ShutdownRequested, TranscriptNamed
from loom_shell.bus import Bus, BusTroubleError
from loom_shell.changes import QUIET_SECONDS, Changes
from loom_shell.claims import Claims
from loom_shell.driver import Driver
from loom_shell.files import named
from loom_shell.followed import Followed, Means
from loom_shell.seeking import Seeking
from loom_shell.subagents import Subagents
from loom_shell.transcript_roots import Roots, agent_of

MOST_FILES = 256
"""Followed at a time. Others are followed once there is room, when they are named again."""
MOST_AGENTS = 192
"""So many at most are files of subagents: a session may have hundreds of them."""
LONGEST_SESSION = 256
GATHER_SECONDS = 0.02
CLOSING_SECONDS, READING_SECONDS = 5.0, 0.5


@frozen
class Places:
    """Where transcripts may lie, and the home that keeps what its processes share.

    `polls`: the system is not asked to tell of changes.
    """

    roots: Roots
    home: Path
    polls: bool = False


@frozen
class Watching:
    """How the watcher does.

    `files` are followed, of which `waiting` are not there yet; `sought` names lead to no file so far, and
    `refused` ones never will. `behind` bytes are read or written and not published; `published` lines are, by
    this process. `bus` is how the store does.
    """

    files: int
    waiting: int
    sought: int
    refused: int
    behind: int
    published: int
    bus: str


class Watcher:
    """One per process and event loop. `note` takes one line for the log.

    `wants`, if given, is called when a first file is found: until `open`, none is followed.
    """

    def __init__(
        self,
        driver: Driver,
        bus: Bus,
        places: Places,
        note: Callable[[str], None],
        wants: Callable[[], None] | None = None,
    ) -> None:
        self._driver, self._bus, self._note = driver, bus, note
        self._seeking = Seeking(places.roots, note)
        self._changes = Changes(self._changed, note, polls=places.polls)
        self._agents = Subagents(places.roots)
        self._claims = Claims(places.home)
        self._means = Means(driver, bus, places.roots, note, self._heed)
        self._files: dict[Path, Followed] = {}
        self._others: dict[Path, str] = {}  # files that another process follows, and their sessions
        self._others_at = 0.0
        self._is_full = False
        self._trouble = ""
        self._wake, self._ended = asyncio.Event(), asyncio.Event()
        self._is_closing = False
        self._wants = wants
        self._held: dict[Path, str] = {}  # files that were found before there was a bus, and their sessions

    def open(self) -> None:
        """There is a bus: follow what was found meanwhile, and from now on what is found."""
        self._wants = None
        held, self._held = self._held, {}
        for path, session in held.items():
            self._follow(session, path)

    def watch(self, order: WatchFile) -> None:
        """Follow what a request has named. It asks neither the disk nor the bus."""
        session, path = order.session, order.path
        if self._is_closing or len(session) > LONGEST_SESSION or not (session or path):
            return
        sought = len(self._seeking)
        found = self._seeking.known((session, path))
        is_new = len(self._seeking) > sought or any(it not in self._files for it in found)
        for known in found:
            self._follow(session, known)
        if is_new:
            # Every request names its session: what is followed already gives nothing to look for.
            self._wake.set()

    def status(self) -> Watching:
        health = self._bus.health()
        is_ill = health.state in {"in trouble", "left alone"}
        return Watching(
            files=len(self._files),
            waiting=self._changes.waiting(self._files),
            sought=len(self._seeking),
            refused=self._seeking.refused,
            behind=sum(file.behind for file in self._files.values()),
            published=self._means.published,
            bus=f"{health.state}: {health.trouble}" if is_ill else health.state,
        )

    async def run(self) -> None:
        """Until `aclose`."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._changes.listen)
            while not self._is_closing:
                self._wake.clear()
                await self._look()
                with anyio.move_on_after(self._pause()):
                    await self._wake.wait()
                # What is named at the same time is looked for at once.
                await anyio.sleep(GATHER_SECONDS)
            self._changes.close()

    async def verify(self) -> None:
        """Follow anew each file of which the bus keeps another position than it did.

        A store that was killed may have lost what it had taken last, and a file that is silent now would
        never find out.
        """
        settled = [file for file in self._files.values() if file.is_settled]
        before = [file.mark for file in settled]
        try:
            found = await self._bus.marks([str(file.path) for file in settled])
        except BusTroubleError:
            return
        for file, mark, stands in zip(settled, before, found, strict=True):
            if stands != mark == file.mark and file.is_settled and self._files.get(file.path) is file:
                self._note(f"the store has lost lines of {named(file.path)}: they are published again")
                file.tell(ShutdownRequested(self._driver.now()))
                self._follow(file.session, file.path)

    async def aclose(self) -> None:
        """Publish what was read, as far as the bus takes it now, and let go of the files."""
        self._is_closing = True
        self._wake.set()
        for file in [*self._files.values()]:
            file.tell(ShutdownRequested(self._driver.now()))
        with anyio.move_on_after(CLOSING_SECONDS):
            while self._files:
                self._ended.clear()
                await self._ended.wait()
        if self._means.tasks:
            # Who still reads closes its file; who waits for a disk that hangs is left behind.
            await asyncio.wait(self._means.tasks, timeout=READING_SECONDS)
        for task in self._means.tasks:
            task.cancel()
        await asyncio.gather(*self._means.tasks, return_exceptions=True)
        self._claims.close()

    async def _look(self) -> None:
        """For what was named and not found, subagents, files that another process let go of, and changes."""
        try:
            for session, path in await self._seeking.look():
                self._follow(session, path)
            for session, path in await self._agents.look():
                self._follow(session, path)
            self._try_others()
            await self._changes.look()
            self._trouble = ""
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            trouble = f"transcripts cannot be looked for ({type(error).__name__}): trying again"
            if self._trouble != trouble:
                self._note(trouble)
            self._trouble = trouble
            await anyio.sleep(QUIET_SECONDS)

    def _pause(self) -> float:
        others = QUIET_SECONDS if self._others else float("inf")
        return min(self._seeking.pause, self._changes.pause, others)

    def _try_others(self) -> None:
        now = time.monotonic()
        if self._others and now >= self._others_at + QUIET_SECONDS:
            self._others_at = now
            for path, session in [*self._others.items()]:
                self._follow(session, path)

    def _follow(self, session: str, path: Path) -> None:
        if self._wants is not None:
            if len(self._held) < MOST_FILES:
                self._held[path] = session
            self._wants()
            return
        file, is_agent = self._files.get(path), bool(agent_of(path))
        if file is None:
            if self._is_closing or not (self._has_room(is_agent=is_agent) and self._is_ours(session, path)):
                self._agents.forget(path)
                return
            file = self._files[path] = Followed(self._means, session, path, self._end)
        file.tell(TranscriptNamed(self._driver.now(), session))
        if not is_agent:
            self._changes.add(self._agents.named(session, path))

    def _has_room(self, *, is_agent: bool) -> bool:
        agents = sum(file.is_agent for file in self._files.values())
        has_room = len(self._files) < MOST_FILES and not (is_agent and agents >= MOST_AGENTS)
        if not has_room and not self._is_full:
            count = len(self._files)
            self._note(f"{count} transcripts are followed: more when one of them has been silent for an hour")
            self._is_full = True
        return has_room

    def _is_ours(self, session: str, path: Path) -> bool:
        if self._claims.take(path):
            self._others.pop(path, None)
            return True
        if len(self._others) < MOST_FILES:
            self._others[path] = session
        return False

    def _heed(self, path: Path, *, does: bool) -> None:
        """Tell of changes at the path, or no more."""
        if does:
            self._changes.add(path)
            self._wake.set()
        else:
            self._changes.remove(path)

    def _changed(self, path: Path) -> None:
        if file := self._files.get(path):
            file.tell(FileChanged(self._driver.now()))
        else:
            self._agents.changed(path)
            self._wake.set()

    def _end(self, file: Followed) -> None:
        del self._files[file.path]
        self._claims.release(file.path)
        if not file.is_agent:
            self._changes.remove(self._agents.left(file.path))
        self._is_full = False
        self._ended.set()
