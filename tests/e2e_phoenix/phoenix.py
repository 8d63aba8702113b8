"""Phoenix itself: installed into an environment of its own, run on loopback, read over its REST API."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from attrs import frozen

from tests.e2e_phoenix.program import running

PACKAGE = "arize-phoenix"
INSTALL_SECONDS = 420
PAGE = 200
REASON = 300
"""Characters of what uv says of a failure."""


class NotInstalled(Exception):  # noqa: N818 - it says what is missing
    """There is no Phoenix to run; `str()` is one sentence."""


def install() -> Path:
    """The `phoenix` program, in an environment under the system's temporary folder, kept for next time."""
    uv = shutil.which("uv")
    if uv is None:
        raise NotInstalled("uv is missing: install it (https://docs.astral.sh/uv) and try again")
    folder = _own_folder() / "venv"
    program = folder / "bin" / "phoenix"
    whole = folder / "installed"
    if whole.exists() and program.exists():
        return program
    python = folder / "bin" / "python"
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
    _run([uv, "pip", "install", "--quiet", "--python", str(python), PACKAGE])
    if not program.exists():
        raise NotInstalled(f"{PACKAGE} was installed, but brought no program `phoenix`")
    whole.touch()
    return program


def _run(command: list[str]) -> None:
    try:
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"uv took longer than {INSTALL_SECONDS} seconds") from None
    if ran.returncode != 0:
        reason = " ".join(ran.stderr.split())[:REASON] or "no reason given"
        raise NotInstalled(f"uv could not install {PACKAGE}: {reason}")


def _own_folder() -> Path:
    """A folder of this user's alone: what is kept here will be run."""
    folder = Path(tempfile.gettempdir()) / f"loom-e2e-phoenix-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise NotInstalled(f"{folder} is not this user's alone: remove it and try again")
    return folder


@frozen
class Phoenix:
    """A running Phoenix, asked in its own words. `url` is also where it takes OTLP over HTTP."""

    url: str
    client: httpx2.AsyncClient

    async def spans(self, project: str) -> list[dict[str, Any]]:
        """All spans of a project; none while there is no such project."""
        return await self._listed(f"/v1/projects/{project}/spans")

    async def sessions(self, project: str) -> list[dict[str, Any]]:
        return await self._listed(f"/v1/projects/{project}/sessions")

    async def _listed(self, path: str) -> list[dict[str, Any]]:
        answer = await self.client.get(self.url + path, params={"limit": PAGE})
        if answer.status_code == httpx2.codes.NOT_FOUND:
            return []
        answer.raise_for_status()
        return list(answer.json()["data"])


@asynccontextmanager
async def phoenix(program: Path, home: Path, client: httpx2.AsyncClient) -> AsyncIterator[Phoenix]:
    port, grpc_port = _free_ports(2)
    variables = {
        "PHOENIX_WORKING_DIR": str(home),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    }
    async with running("Phoenix", str(program), "serve", home=home, **variables) as process:
        await process.said(r"Uvicorn running on http://127\.0\.0\.1:\d+")
        yield Phoenix(f"http://127.0.0.1:{port}", client)


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on now: Phoenix cannot be told to take any."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports
