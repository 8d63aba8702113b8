"""A Cortex that runs here, under Hypercorn as `loom cortex` sets it up, in the test's own loop."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from attrs import frozen
from hypercorn.asyncio import serve

from loom_shell.cortex import CortexKey, cortex_pages
from loom_shell.log import Log
from loom_shell.memory import Cortex
from loom_shell.secret import Secret
from loom_shell.server import hypercorn_config

KEY = "cortex-key-1234567890"


@frozen
class RunningCortex:
    """`said` are the pairs of session and id that were announced."""

    port: int
    memory: Cortex
    said: list[tuple[str, str]]
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def cortex(
    home: Path,
    announce: Callable[[str, str], None] | None = None,
    clock: Callable[[], int] | None = None,
    key: CortexKey | None = None,
) -> AsyncIterator[RunningCortex]:
    """With `KEY`, unless another is given; `client` brings it."""
    memory = Cortex(home)
    said: list[tuple[str, str]] = []
    key = key or CortexKey(home, Secret(KEY))
    more = {} if clock is None else {"clock": clock}
    pages = cortex_pages(memory, key, announce or (lambda *pair: said.append(pair)), **more)
    sink = os.open(os.devnull, os.O_WRONLY)
    log = Log(sink)
    os.close(sink)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        settings, port = hypercorn_config(sock, log), sock.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(pages, settings, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    headers = {"x-api-key": key.get().expose()}
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
            yield RunningCortex(port, memory, said, client)
    finally:
        stop.set()
        await asyncio.wait_for(serving, 10.0)
        log.close(2.0)
        await memory.aclose()
