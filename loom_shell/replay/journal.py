"""The journal of one process: what the driver is told of goes into a bounded queue, and on to the writer.

No request waits for it. What finds no room in the queue is lost, and a line says of which sessions. All that
takes time is done by the writer, another process (`writer.py`), to which a thread hands it over.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Event as Flag
from threading import Thread

from loom_core.values import Key
from loom_shell.config import Config, ConfigError
from loom_shell.files import named
from loom_shell.log import Log
from loom_shell.replay.happened import CHUNKS, What
from loom_shell.replay.process import WriterProcess
from loom_shell.replay.writing import Bounds

MOST = 50_000
MOST_BYTES = 64 * 1024 * 1024
"""What may wait for the thread: so many events, and so many bytes of chunks."""
PAUSE = 0.05
"""Seconds between two looks at the queue: nobody has to wake the thread."""


class Journal:
    """Call it with what happens, from one thread; it never waits and never raises. `note` may be of any."""

    def __init__(self, folder: Path, note: Callable[[str], None], bounds: Bounds | None = None) -> None:
        """OSError if nothing can be written there."""
        self._note = note
        self._writer = WriterProcess(folder, bounds or Bounds())
        self._queue: deque[tuple[Key, What]] = deque()
        self._put, self._taken = 0, 0  # bytes of chunks; each is counted by one thread
        self._lost: dict[Key, None] = {}
        self._closing = Flag()
        self._thread = Thread(target=self._run, name="loom-journal", daemon=True)
        self._thread.start()

    def __call__(self, key: Key, what: What) -> None:
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
                f"the journal was not written to its end within {seconds:g} seconds: its end may be lost"
            )

    # ------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        why = self._hand_over()
        why = self._writer.end() or why
        if why:
            self._note(
                f"the journal has stopped ({why}): nothing more is recorded until the Loom is restarted"
            )
        while not self._closing.wait(PAUSE):
            self._queue.clear()
            self._taken = self._put

    def _hand_over(self) -> str:
        """To the end; or why not, as far as it is not for the writer to say."""
        try:
            while not self._closing.wait(PAUSE):
                self._look()
                if not self._writer.is_going_on:
                    return ""
            self._look()
        except OSError:
            return ""
        except Exception as error:  # noqa: BLE001 - whatever it is, requests go on without a journal
            return f"{type(error).__name__}: {error}"
        return ""

    def _look(self) -> None:
        """Hand over what is there."""
        if lost := self._lost:
            self._lost = {}
        rest = len(self._queue)
        while rest > 0:
            count, size = self._writer.sender.take(self._queue)
            rest -= count
            self._taken += size
            self._writer.sender.send()
        if lost:
            self._writer.sender.send(tuple(lost))
            self._note(f"the journal lost events of {len(lost)} exchanges: its writer was too slow for them")


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
