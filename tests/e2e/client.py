"""The real client: installed from the npm registry, and run with nothing but what it is given."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from attrs import frozen

PACKAGE = "@anthropic-ai/claude-code"
INSTALL_SECONDS = 120
RUN_SECONDS = 60
QUIET = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}


class NotInstalled(Exception):  # noqa: N818 - it says what is missing
    """There is no client to run; `str()` is one sentence."""


@frozen
class Installed:
    program: Path
    version: str


@frozen
class Ran:
    """A finished run: exit code (negative: the signal), what it printed, and seconds."""

    code: int
    out: str
    err: str
    seconds: float


def install(spec: str) -> str:
    """Install a version or tag into a folder under the system's temporary one, kept for the next time.

    Why npm could not, or nothing; `NotInstalled` without npm.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NotInstalled(
            "npm is missing: install Node.js (https://nodejs.org), which brings it, and try again"
        )
    folder = _own_folder() / spec
    command = [npm, "install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund"]
    try:
        npm_run = subprocess.run(
            [*command, "--prefix", str(folder), f"{PACKAGE}@{spec}"],
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
            # A terminal's background process that touches it is stopped: npm gets none to touch.
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return f"npm took longer than {INSTALL_SECONDS} seconds"
    return "" if npm_run.returncode == 0 else _complaint(npm_run.stderr)


def installed(spec: str) -> Installed | None:
    """What `install` has put there, now or earlier."""
    modules = _own_folder() / spec / "node_modules"
    try:
        version = json.loads((modules / PACKAGE / "package.json").read_text(encoding="utf-8"))["version"]
    except FileNotFoundError:
        return None
    return Installed(modules / ".bin" / "claude", str(version))


def _own_folder() -> Path:
    """A folder of this user's alone: what is kept here will be run."""
    folder = Path(tempfile.gettempdir()) / f"loom-e2e-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise NotInstalled(f"{folder} is not this user's alone: remove it and try again")
    return folder


def _complaint(text: str) -> str:
    lines = [
        line for line in text.splitlines() if line.startswith("npm error") and "log of this run" not in line
    ]
    return lines[0].removeprefix("npm error").strip() if lines else "no reason given"


class Client:
    """One running client. Its environment is PATH, HOME, TERM and what it needs to call `port`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._started = time.monotonic()

    def signal(self, number: int) -> float:
        """Send a signal; `time.monotonic()` of it."""
        self._process.send_signal(number)
        return time.monotonic()

    async def finished(self) -> Ran:
        out, err = await asyncio.wait_for(self._process.communicate(), RUN_SECONDS)
        code = self._process.returncode
        seconds = time.monotonic() - self._started
        return Ran(-1 if code is None else code, out.decode(), err.decode(), seconds)


@asynccontextmanager
async def running(program: Path, prompt: str, port: int, home: Path, *further: str) -> AsyncIterator[Client]:
    """`claude -p PROMPT` that may use its Bash tool, in `home`'s folder `work`; ended with the block."""
    work = home / "work"
    work.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        program,
        "-p",
        prompt,
        "--allowedTools",
        "Bash",
        *further,
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "TERM": "dumb",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
            "ANTHROPIC_API_KEY": "dummy-key-of-the-end-to-end-run",
            **QUIET,
        },
        cwd=work,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield Client(process)
    finally:
        # The session is the client's own: with it go the shells of its tools.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
