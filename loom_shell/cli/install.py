"""`loom install`: the Loom's hooks and environment in Claude Code's settings.json, and out of it again."""

import difflib
import os
import re
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from loom_shell import hook
from loom_shell.client_settings import Wanted, events, hook_command, shown
from loom_shell.client_version import client_version
from loom_shell.config import ConfigError, load
from loom_shell.files import FileRefusedError, named
from loom_shell.printable import printable
from loom_shell.settings import origin
from loom_shell.settings_file import Change, Stands, commit, installing, read, uninstalling

SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def install(
    claude_dir: Annotated[
        str,
        typer.Option(
            envvar="CLAUDE_CONFIG_DIR", metavar="DIR", help="Claude Code's folder.", show_envvar=True
        ),
    ] = "~/.claude",
    url: Annotated[
        str | None,
        typer.Option(
            help="Where this Loom is reached. [what `loom serve` would listen on]", show_default=False
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name a profile, in the header x-loom-source.", show_default=False),
    ] = None,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Take out what was put in.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the change and make none.")] = False,
) -> None:
    """Make Claude Code run the Loom's hooks and talk to the Loom, or take that back.

    Everything else in its settings.json stays as it is, and a backup is kept beside it.
    """
    try:
        stands = read(Path(os.path.expanduser(claude_dir)))  # noqa: PTH111 - it raises nothing
        change = uninstalling(stands) if uninstall else installing(stands, _wanted(stands, url, source))
        if dry_run:
            typer.echo(difference(change) or f"{named(stands.path)} stays as it is.\n", nl=False)
        else:
            _commit(change, uninstall=uninstall)
    except (ConfigError, FileRefusedError) as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(printable(str(error)))


def _wanted(stands: Stands, url: str | None, source: str | None) -> Wanted:
    """What to write: what is not told now is as it was told the last time."""
    if source is not None and not SOURCE.fullmatch(source):
        _refuse("--source must be 1 to 64 letters, digits and ._@-, first a letter or digit")
    version = client_version()
    script = str(Path(hook.__file__).resolve())
    return Wanted(
        hook_command(sys.executable, script),
        events(version),
        _checked(url) if url is not None else (stands.record and stands.record.url) or _own_url(),
        source or "",
    )


def _checked(url: str) -> str:
    try:
        return origin(url).url
    except ValueError:
        _refuse("--url must be scheme://host[:port] with http or https")


def _own_url() -> str:
    config = load({})
    host = "127.0.0.1" if config.host in {"0.0.0.0", "::"} else config.host  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{config.port or 8080}"


def difference(change: Change) -> str:
    """A unified diff of the settings, "" for none; keys, tokens and passwords are hidden in it."""
    before = shown((change.stands.content or b"").decode()).splitlines(keepends=True)
    after = shown((change.content or b"").decode()).splitlines(keepends=True)
    path = str(change.stands.path)
    lines = difflib.unified_diff(before, after, f"{path} (now)", f"{path} (then)")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _commit(change: Change, *, uninstall: bool) -> None:
    path = named(change.stands.path)
    if change.is_none:
        typer.echo(
            f"{path} stays as it is: " + ("nothing of ours is in it." if uninstall else "all is there.")
        )
    else:
        backup = commit(change)
        changed = change.content != change.stands.content
        done = "taken out of" if uninstall else "written into"
        typer.echo(
            f"The Loom's hooks and environment are {done} {path}." if changed else f"{path} stays as it is."
        )
        if backup is not None:
            typer.echo(f"What was there before is kept in {named(backup)}.")
    for note in change.notes:
        typer.echo(f"Left: {note}.")
    if not uninstall:
        typer.echo("It counts from the next start of Claude Code; `loom doctor` checks the whole chain.")


def _refuse(reason: str) -> NoReturn:
    typer.echo(f"loom install: {reason}", err=True)
    raise typer.Exit(2)
