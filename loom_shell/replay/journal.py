"""The journal of one process: what the driver is told of goes into a bounded queue, and a thread writes it.

No request waits for it. What finds no room in the queue is lost, and a line says of which sessions.
"""

import secrets
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from time import monotonic, sleep

from loom_core import call
from loom_core.actions import Tell
from loom_core.events import Event, RequestReceived, TranscriptNamed
from loom_core.values import ExchangeKey, Key, TurnKey
from loom_shell.config import Config, ConfigError
from loom_shell.files import named
from loom_shell.log import Log
from loom_shell.replay.happened import CHUNKS, Happened
from loom_shell.replay.holding import Holding
from loom_shell.replay.scrubbing import Scrubber
from loom_shell.replay.shadow import Shadow
from loom_shell.replay.writing import Bounds, Files

MOST = 50_000
MOST_BYTES = 64 * 1024 * 1024
"""What may wait for the thread: so many events, and so many bytes of chunks."""
PAUSE = 0.05
"""Seconds between two looks at the queue: nobody has to wake the thread."""
YIELD = 0.000_02
_MOST_SESSIONS = 4_096


class Journal:
    """Call it with what happens, from one thread; it never waits and never raises. `note` may be of any."""

    def __init__(self, folder: Path, note: Callable[[str], None], bounds: Bounds | None = None) -> None:
        """OSError if nothing can be written there."""
        self._note = note
        self._files = Files(folder, bounds or Bounds(), secrets.token_hex(3))
        self._queue: deque[tuple[Key, Event | Tell | None]] = deque()
        self._put, self._taken = 0, 0  # bytes of chunks; each is counted by one thread
        self._lost: dict[Key, None] = {}
        self._scrubber = Scrubber()
        self._holding = Holding(self._scrubber)
        self._shadow = Shadow(self._scrubber)
        self._sessions: dict[Key, str] = {}
        self._closing = Flag()
        self._is_over = False
        self._thread = Thread(target=self._run, name="loom-journal", daemon=True)
        self._thread.start()

    def __call__(self, key: Key, what: Event | Tell | None) -> None:
        size = len(what.data) if isinstance(what, CHUNKS) else 0
        if len(self._queue) < MOST and self._put - self._taken + size <= MOST_BYTES:
            self._put += size
            self._queue.append((key, what))
        elif len(self._lost) < MOST:
            self._lost[key] = None

    def close(self, seconds: float) -> None:
        """Write what waits, for at most so long."""
        self._closing.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._note(
                f"the journal was not written to its end within {seconds:g} seconds: its last events are lost"
            )

    # ------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        try:
            while not self._closing.wait(PAUSE):
                self._look(monotonic())
            self._look(monotonic())
            self._look(float("inf"))
            self._files.close()
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            self._stops(f"{named(self._files.path)}: {reason}")
        except Exception as error:  # noqa: BLE001 - whatever it is, requests go on without a journal
            self._stops(f"{type(error).__name__}: {error}")

    def _stops(self, why: str) -> None:
        self._is_over = True
        self._note(f"the journal has stopped ({why}): nothing more is recorded until the Loom is restarted")
        while not self._closing.wait(PAUSE):
            self._drop()

    def _drop(self) -> None:
        while self._queue:
            _, what = self._queue.popleft()
            self._taken += len(what.data) if isinstance(what, CHUNKS) else 0

    def _look(self, now: float) -> None:
        """Take what is there, and write what waits for nothing."""
        while self._queue:
            key, what = self._queue.popleft()
            one = Happened(key, what, now)
            self._taken += one.size
            self._holding.add(one)
            if len(self._holding) % 256 == 0:
                self._write(now)
        self._write(now)
        if self._lost:
            self._tell_lost()
        self._files.flush()

    def _write(self, now: float) -> None:
        for one in self._holding.ready(now):
            match one.what:
                case None:
                    self._shadow.begins(one.key)
                case Tell() if isinstance(one.key, ExchangeKey):
                    self._files.told(one.key.id, self._shadow.told(one.key, one.what))
                case Tell():
                    pass
                case event:
                    self._files.event(self._shadow.happens(one, event, self._session(one, event)))
            if self._files.is_full:
                self._anew()
            # Whoever serves requests waits for the interpreter no longer than one event takes.
            sleep(YIELD)

    def _anew(self) -> None:
        """In a file of its own, as soon as no exchange is under way."""
        under_way = [key for key in self._shadow.running.states() if isinstance(key, ExchangeKey)]
        if under_way and not self._files.is_more_than_full:
            return
        self._files.anew()
        self._shadow = Shadow(self._scrubber)
        if under_way:
            sessions = sorted({self._sessions.get(key, "") for key in under_way})
            self._files.lost(sessions, "they were under way when this file began")

    def _tell_lost(self) -> None:
        keys, self._lost = list(self._lost), {}
        sessions = sorted({self._session_of(key) for key in keys})
        self._files.lost(sessions, "the queue was full")
        self._note(f"the journal lost events of {len(keys)} exchanges: the disk is too slow for it")

    def _session_of(self, key: Key) -> str:
        return key.session if isinstance(key, TurnKey) else self._sessions.get(key, "")

    def _session(self, one: Happened, event: Event) -> str:
        """Of which session an event is, as far as its request's lines, or else its body, say."""
        key = one.key
        match key, event:
            case TurnKey(session=session), _:
                return session
            case _, RequestReceived(request=asked):
                path = asked.target.partition(b"?")[0]
                found = call.read(path, asked.headers, b"", None).session
                found = found or call.read(path, asked.headers, one.clean or b"", None).session
            case _, TranscriptNamed(session=session):
                found = session
            case _:
                return self._sessions.get(key, "")
        if len(self._sessions) >= _MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        self._sessions[key] = found = self._scrubber.text(found)
        return found


def journal_of(config: Config, log: Log) -> Journal | None:
    """The one that the configuration asks for. `ConfigError` where it cannot be written."""
    asked = config.journal
    if asked is None:
        return None
    try:
        _refuse_open(asked.folder)
        bounds = Bounds(asked.max_bytes, asked.max_days)
        return Journal(asked.folder, lambda text: log.note("warning", text), bounds)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise ConfigError(
            f"no journal can be written in {named(asked.folder)} ({reason}): give --journal another folder"
        ) from None


def _refuse_open(folder: Path) -> None:
    """What was said is nobody else's business. A folder that is not there yet is made so (mode 0700)."""
    if folder.exists() and folder.stat().st_mode & 0o077:
        raise ConfigError(
            f"others may look into {named(folder)}, and a journal holds what was said: "
            f"chmod 700 it, or give --journal a folder that is not there yet"
        )
