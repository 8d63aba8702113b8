"""The writer of a journal: all that is costly about one, in a process of its own that ends with its pipe.

Whatever ends the process that serves, what it had handed over is written. Nobody waits for the writer: who
is slow is told less (see `journal.py`).
"""

import os
import secrets
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import socket
from time import monotonic

from loom_core import call
from loom_core.actions import Tell
from loom_core.events import Event, RequestReceived, TranscriptNamed
from loom_core.values import ExchangeKey, Key, TurnKey
from loom_shell.files import named
from loom_shell.replay.handing import OPENED, Batch, Receiver, read_frame
from loom_shell.replay.happened import Happened
from loom_shell.replay.holding import Holding
from loom_shell.replay.scrubbing import Scrubber
from loom_shell.replay.shadow import Shadow
from loom_shell.replay.writing import Bounds, Files

NICE = 10
"""Requests go first, also where both want the same CPU."""
PAUSE = 0.25
"""Seconds after which it is looked whether what is held has waited long enough."""
MOST_SECONDS = 60
"""One event takes less by far: what hangs so long outlives nobody."""
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A Ctrl-C, or the end of a service, is for the process that serves, which ends the pipe."""
_MOST_SESSIONS = 4_096


class Writer:
    """Takes what happened, in order, and writes it without its secrets. OSError as it comes."""

    def __init__(self, folder: Path, bounds: Bounds, goes_on: Callable[[], object] = int) -> None:
        """`goes_on` is called for each event, when it is taken and when it is written."""
        self._goes_on = goes_on
        self._files = Files(folder, bounds, secrets.token_hex(3))
        self._scrubber = Scrubber()
        self._holding = Holding(self._scrubber)
        self._shadow = Shadow(self._scrubber)
        self._sessions: dict[Key, str] = {}

    @property
    def path(self) -> Path:
        """Of the file that is written."""
        return self._files.path

    @property
    def holds(self) -> bool:
        """Whether anything waits for the rest of its body."""
        return len(self._holding) > 0

    def take(self, batch: Batch, now: float) -> None:
        """Write it, and what else waits for nothing any more."""
        for key, what in batch.events:
            self._goes_on()
            self._holding.add(Happened(key, what, now))
        self._write(now)
        if batch.lost:
            sessions = sorted({self._session_of(key) for key in batch.lost})
            self._files.lost(sessions, "the queue was full")
        self._files.flush()

    def close(self) -> None:
        """Write all that is held."""
        self._write(float("inf"))
        self._files.close()

    def _write(self, now: float) -> None:
        for one in self._holding.ready(now):
            self._goes_on()
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


def main() -> None:
    """The process. Descriptor 0 is its pipe, on which it says that it has opened a file, and why it stops."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICE)
    with socket(fileno=0) as pipe:
        why = _written(pipe)
        with suppress(OSError):
            pipe.sendall(why.encode("utf-8", "backslashreplace"))
    raise SystemExit(1 if why else 0)


def _written(pipe: socket) -> str:
    """Why what comes was not written to its end; "" if it was."""
    try:
        folder, bounds = read_frame(pipe)
        writer = Writer(folder, bounds, _goes_on)
        pipe.sendall(OPENED)
    except EOFError:
        return ""
    except OSError as error:
        return _reason(error)
    try:
        _write_all(writer, Receiver(pipe))
    except OSError as error:
        return f"{named(writer.path)}: {_reason(error)}"
    except Exception as error:  # noqa: BLE001 - whatever it is, requests go on without a journal
        return f"{type(error).__name__}: {error}"
    return ""


def _write_all(writer: Writer, receiver: Receiver) -> None:
    try:
        while True:
            signal.alarm(0)
            batch = receiver.receive(PAUSE if writer.holds else None)
            _goes_on()
            writer.take(batch, monotonic())
    except EOFError:
        _goes_on()
        writer.close()


def _goes_on() -> None:
    signal.alarm(MOST_SECONDS)


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown error").lower()
