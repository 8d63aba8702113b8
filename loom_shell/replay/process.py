"""The writer's process, as the one that serves holds it."""

import errno
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from socket import MSG_DONTWAIT, MSG_PEEK, SHUT_WR, SO_SNDBUF, SOL_SOCKET, socket, socketpair

from loom_shell.replay.handing import OPENED, Sender, write_frame
from loom_shell.replay.writing import Bounds

ROOM = 1024 * 1024
"""Bytes in the pipe, as far as the system grants them: what is there is handed over."""
START_SECONDS = 20.0
END_SECONDS = 10.0
"""Who has let go of the pipe has nothing to do any more."""
_NO_START = "its writer did not start"
_HUNG = "its writer hung, and ended itself"
_RUN = "import sys; sys.path[:] = sys.argv[1:]; from loom_shell.replay.writer import main; main()"
"""It finds what this process finds, however that was started."""


class WriterProcess:
    """Runs from now on. OSError if it cannot, or if nothing can be written in the folder. For one thread."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self._pipe, theirs = socketpair()
        self._pipe.setsockopt(SOL_SOCKET, SO_SNDBUF, ROOM)
        with theirs:
            self._process = self._started(theirs)
        self.pid = self._process.pid
        self.sender = Sender(self._pipe)
        try:
            self._open(folder, bounds)
        except BaseException:
            self._process.kill()
            self.end()
            raise

    def _started(self, pipe: socket) -> subprocess.Popen[bytes]:
        """Of the Loom's descriptors it gets its end of the pipe, and nothing else."""
        try:
            return subprocess.Popen(  # noqa: S603 - this Python itself, without a shell
                [sys.executable, "-c", _RUN, *sys.path],
                stdin=pipe.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # A Ctrl-C is for a group. In a session of its own its nice might mean nothing (sched(7)).
                process_group=0,
            )
        except OSError as error:
            self._pipe.close()
            raise OSError(error.errno, f"{_NO_START}: {error.strerror}") from None

    def _open(self, folder: Path, bounds: Bounds) -> None:
        self._pipe.settimeout(START_SECONDS)
        try:
            write_frame(self._pipe, (folder, bounds))
            said = self._pipe.recv(len(OPENED))
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, _NO_START) from None
        except ConnectionError:
            said = b""
        if said != OPENED:
            reason = (said + self._rest()).decode("utf-8", "replace")
            raise OSError(errno.EIO, reason or _NO_START)
        self._pipe.settimeout(None)

    @property
    def is_going_on(self) -> bool:
        """It says nothing, and its pipe is open, as long as it does."""
        try:
            self._pipe.recv(1, MSG_PEEK | MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def end(self) -> str:
        """Wait until it has written what it was handed, and is gone; why it could not, or ""."""
        with suppress(OSError):
            self._pipe.shutdown(SHUT_WR)
        said = self._rest().decode("utf-8", "replace")
        self._pipe.close()
        try:
            status = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if said or not status:
            return said
        return _HUNG if status == -signal.SIGALRM else f"its writer ended with status {status}"

    def _rest(self) -> bytes:
        """All that it still says."""
        found = b""
        with suppress(OSError):
            while piece := self._pipe.recv(4_096):
                found += piece
        return found
