"""`loom memory`: store, search, look through and forget what the embedded memory holds."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, NoReturn, TypeVar

import msgspec
import typer

from loom_core.lookup import Memory, Provenance, Question
from loom_shell.config import ConfigError, load
from loom_shell.driver import Driver
from loom_shell.memory import Cortex, MemoryPort, MemoryTroubleError, NewMemory, TextRefusedError
from loom_shell.memory.verbatim import MAX_TEXT
from loom_shell.printable import printable, shown

T = TypeVar("T")

BUDGET = 1_000_000
"""Tokens that a search shows at most: none of what was found is left out."""
DEADLINE = 5_000_000_000
"""Nanoseconds of a search."""
HOUR = 3_600_000_000_000

memory = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Store, search, look through and forget memories."
)

Config = Annotated[str | None, typer.Option(metavar="FILE", help="The TOML file to read.")]
Home = Annotated[str | None, typer.Option(metavar="FOLDER", help="Folder of the Loom's files.")]
Scope = Annotated[str, typer.Option(help="Whose memories: a profile's name.", show_default="everybody's")]
Limit = Annotated[int, typer.Option(min=1, max=100, help="How many at most.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object for each memory and line.")]


@memory.command()
def add(
    text: Annotated[str, typer.Argument(help="What to remember; - reads it from standard input.")],
    *,
    provenance: Annotated[Provenance, typer.Option("--from", help="Who said it.")] = Provenance.USER,
    scope: Scope = "",
    config: Config = None,
    home: Home = None,
) -> None:
    """Store a text. Secrets in it are taken out first."""
    if text == "-":
        # A byte more than is allowed, so that what is too long is refused and not cut.
        text = sys.stdin.buffer.read(MAX_TEXT + 1).decode("utf-8", "replace")
    new = NewMemory(text, Driver.now(), provenance, scope)
    stored = _done(config, home, lambda cortex: cortex.put(new))
    typer.echo(f"Memory #{stored.id} is stored.")
    if stored.text.count("[redacted: ") > text.count("[redacted: "):
        typer.echo("What looks like a secret in it was taken out.", err=True)


@memory.command()
def search(
    words: Annotated[str, typer.Argument(help="What to look for: a question, or some words.")],
    *,
    limit: Limit = 5,
    scope: Scope = "",
    as_json: AsJson = False,
    config: Config = None,
    home: Home = None,
) -> None:
    """Show what is nearest to some words, best first, whoever said it."""
    question = Question(words, scope, limit, BUDGET, provenance=frozenset(Provenance), deadline=DEADLINE)
    recalled = _done(config, home, lambda cortex: cortex.search(question))
    if recalled.trouble:
        _fail(recalled.trouble)
    _show(recalled.memories, as_json=as_json)


@memory.command()
def recent(
    *,
    limit: Limit = 10,
    hours: Annotated[int, typer.Option(min=0, max=1_000_000, help="Only so old at most; 0: any.")] = 0,
    as_json: AsJson = False,
    config: Config = None,
    home: Home = None,
) -> None:
    """Show the newest memories, newest first."""
    since = Driver.now() - hours * HOUR if hours else 0
    _show(_done(config, home, lambda cortex: cortex.recent(limit, since)), as_json=as_json)


@memory.command()
def forget(
    memory_id: Annotated[str, typer.Argument(metavar="ID", help="The number of the memory, as shown.")],
    *,
    config: Config = None,
    home: Home = None,
) -> None:
    """Never find a memory again."""
    own = memory_id.removeprefix("#")
    if not _done(config, home, lambda cortex: cortex.forget(own)):
        _fail(f"there is no memory {shown(memory_id)}: `loom memory recent` shows their numbers")
    typer.echo(f"Memory #{own} is forgotten.")


def _done(config: str | None, home: str | None, ask: Callable[[MemoryPort], Awaitable[T]]) -> T:
    """Ask the memory in the Loom's folder; what goes wrong ends the command with one line."""

    async def asked() -> T:
        cortex = Cortex(load({"config": config, "home": home}).home)
        try:
            return await ask(cortex)
        finally:
            await cortex.aclose()

    try:
        return asyncio.run(asked())
    except (ConfigError, TextRefusedError) as error:
        _fail(f"{error}", code=2)
    except MemoryTroubleError as error:
        _fail(f"{error}")


def _show(found: tuple[Memory, ...], *, as_json: bool) -> None:
    for one in found:
        if as_json:
            typer.echo(msgspec.json.encode(one))
            continue
        day = datetime.fromtimestamp(one.at // 1_000_000_000, UTC)
        typer.echo(f"#{one.id}  {day:%Y-%m-%d}  {one.provenance.value}")
        for line in one.text.splitlines():
            typer.echo(f"    {printable(line, MAX_TEXT)}")
    if not found:
        typer.echo("No memory was found.", err=True)


def _fail(why: str, code: int = 1) -> NoReturn:
    typer.echo(f"loom memory: {' '.join(why.split())}", err=True)
    raise typer.Exit(code)
