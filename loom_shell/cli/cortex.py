"""`loom cortex`: the embedded memory over HTTP, on its own."""

import asyncio
import signal
import socket
import sys
from typing import Annotated

import attrs
import typer
import uvloop
from hypercorn.asyncio import serve
from rich.console import Console

from loom_shell.config import Config, ConfigError, load
from loom_shell.cortex import Announcer, CortexKey, cortex_pages
from loom_shell.embedded import Embedded
from loom_shell.files import FileRefusedError
from loom_shell.log import Log, form_for
from loom_shell.memory import Cortex
from loom_shell.printable import printable
from loom_shell.server import CannotBind, hypercorn_config, listen

PORT = 7867
GRACE_SECONDS = 3.0


def cortex(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = PORT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    config: Annotated[str | None, typer.Option(metavar="FILE", help="The TOML file to read.")] = None,
    home: Annotated[str | None, typer.Option(metavar="FOLDER", help="Folder of the Loom's files.")] = None,
) -> None:
    """Serve the memory of this machine to those who have its key."""
    problems = Console(stderr=True, highlight=False)
    try:
        # The address of the proxy says nothing of where this listens.
        settings = attrs.evolve(load({"config": config, "home": home}), host=host, port=port)
        key = CortexKey(settings.home, settings.memory_key)
        key.get()
        sock = listen(settings)
    except (ConfigError, FileRefusedError, CannotBind) as error:
        problems.print(f"loom cortex: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    for warning in settings.warnings:
        problems.print(f"loom cortex: {warning}", markup=False, soft_wrap=True)
    log = Log(2, form_for(settings.log, 2))
    try:
        uvloop.run(_run(settings, key, sock, log))
    finally:
        log.close(1.0)


async def _run(settings: Config, key: CortexKey, sock: socket.socket, log: Log) -> None:
    memory = Cortex(settings.home)
    # An embedded store is not started for this: where it runs, somebody listens.
    place = settings.redis or Embedded(settings.home).place
    announcer = Announcer(place, lambda text: log.note("warning", text))
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)

    async def until_told() -> None:
        show(settings, key, memory, sock, Console(highlight=False))
        if trouble := await memory.health():
            log.note("warning", trouble)
        await told.wait()

    pages = cortex_pages(memory, key, announcer.stored)
    server = hypercorn_config(sock, log)
    server.graceful_timeout = GRACE_SECONDS
    try:
        await serve(pages, server, shutdown_trigger=until_told)  # type: ignore[arg-type]
    finally:
        await announcer.aclose()
        await memory.aclose()


def show(settings: Config, key: CortexKey, memory: Cortex, sock: socket.socket, console: Console) -> None:
    """The start screen: where it listens, which memory it serves, and how to point a Loom at it."""
    port = sock.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    file = printable(str(key.file))
    rows = [
        ("listening", f"http://{host}:{port}"),
        ("memory", printable(str(memory.path))),
        ("key", "the configured one" if key.is_given else file),
    ]
    console.print("[bold]The Cortex[/bold] remembers.\n")
    for name, value in rows:
        console.print(f"  {name:<11}{value}", markup=False, soft_wrap=True)
    secret = "KEY" if key.is_given else f'"$(cat {file})"'
    console.print(
        "\nPoint a Loom at it:\n\n"
        f"  LOOM_MEMORY_URL=http://{host}:{port} LOOM_MEMORY_KEY={secret} loom serve\n",
        markup=False,
        soft_wrap=True,
    )
    sys.stdout.flush()
