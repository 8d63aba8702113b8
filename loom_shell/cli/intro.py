"""`loom intro`: notice what is worth remembering in the sessions of the one Redis, on its own."""

import asyncio
import signal
import socket
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from loom_shell import config as configuration
from loom_shell.config import Config, ConfigError, load
from loom_shell.embedded import Embedded, EmbeddedError
from loom_shell.intro import intro as intro_of
from loom_shell.log import Log, form_for
from loom_shell.printable import printable

OFF = "Intro is off: set LOOM_INTRO_URL and LOOM_INTRO_MODEL (intro.url and intro.model in loom.toml)"


def intro(
    config: Annotated[str | None, typer.Option(metavar="FILE", help="The TOML file to read.")] = None,
    home: Annotated[str | None, typer.Option(metavar="FOLDER", help="Folder of the Loom's files.")] = None,
) -> None:
    """Ask a small model what is worth remembering of what is said, until Ctrl-C."""
    problems = Console(stderr=True, highlight=False)
    try:
        settings = load({"config": config, "home": home})
        for warning in settings.warnings:
            problems.print(f"loom intro: {warning}", markup=False, soft_wrap=True)
        uvloop.run(_run(settings, _model(settings)))
    except (ConfigError, EmbeddedError) as error:
        problems.print(f"loom intro: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None


def _model(settings: Config) -> configuration.Intro:
    if settings.intro is None:
        raise ConfigError(OFF)
    return settings.intro


async def _run(settings: Config, model: configuration.Intro) -> None:
    embedded = Embedded(settings.home)
    place = settings.redis or await embedded.start()
    log = Log(2, form_for(settings.log, 2))

    def note(text: str) -> None:
        log.note("warning", text)

    reader = intro_of(model, place, f"intro-{socket.gethostname()}", note)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    running = asyncio.create_task(reader.run())
    show(model, Console(highlight=False))
    await told.wait()
    running.cancel()
    await asyncio.wait((running,))
    await reader.aclose()
    if trouble := await embedded.aclose():
        note(trouble)
    log.close(1.0)


def show(model: configuration.Intro, console: Console) -> None:
    """The start screen: which model is asked, and where."""
    console.print("[bold]Intro[/bold] reads along.\n")
    for name, value in (("model", printable(model.model)), ("at", model.url), ("interface", model.kind)):
        console.print(f"  {name:<11}{value}", markup=False, soft_wrap=True)
    console.file.flush()
