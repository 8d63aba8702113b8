"""`loom token`: make, list and take back the tokens of the Loom's own clients."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from loom_shell.config import ConfigError, tokens_file
from loom_shell.files import FileRefusedError, is_missing, named, sole_writer
from loom_shell.gateway import NAME, ClientToken, new_token, read_tokens, write_tokens
from loom_shell.printable import shown


def token(
    name: Annotated[
        str | None, typer.Argument(help="Make a token under this name.", show_default=False)
    ] = None,
    *,
    list_names: Annotated[bool, typer.Option("--list", help="List the names of all tokens.")] = False,
    revoke: Annotated[str | None, typer.Option(metavar="NAME", help="Take a token back.")] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="The TOML file to read.")] = None,
    home: Annotated[str | None, typer.Option(metavar="FOLDER", help="Folder of the Loom's files.")] = None,
    client_tokens_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="The file of tokens, if not in the Loom's folder.")
    ] = None,
) -> None:
    """Make a token for a client of this Loom, or list or take back those there are.

    The token is printed once, on standard output; only its hash is stored.
    """
    if sum((name is not None, list_names, revoke is not None)) != 1:
        _refuse("give one of NAME, --list or --revoke NAME")
    try:
        flags = {"config": config, "home": home, "client_tokens_file": client_tokens_file}
        path = tokens_file(flags)
        if name is not None:
            _make(path, name)
        elif revoke is not None:
            _revoke(path, revoke)
        else:
            _list(path)
    except (ConfigError, FileRefusedError) as error:
        _refuse(str(error))


def _make(path: Path, name: str) -> None:
    if not NAME.fullmatch(name):
        _refuse(f"{shown(name)} is no name: 1 to 64 letters, digits and ._@-, first a letter or digit")
    fresh, digest = new_token()
    with sole_writer(path):
        tokens = _stored(path)
        if any(one.name == name for one in tokens):
            _refuse(f"there is a token named {name} already: choose another name, or --revoke {name} first")
        write_tokens(path, (*tokens, ClientToken(name, digest)))
    typer.echo(f"Token {name} is made. It is shown only now; {named(path)} keeps its hash.", err=True)
    typer.echo("Start the client with this in its environment:", err=True)
    typer.echo(f"ANTHROPIC_AUTH_TOKEN={fresh.expose()}")
    typer.echo(
        "It counts from the next start of `loom serve`, which needs a key of its own for upstream "
        "(LOOM_UPSTREAM_API_KEY or LOOM_UPSTREAM_API_KEY_FILE).",
        err=True,
    )


def _revoke(path: Path, name: str) -> None:
    with sole_writer(path):
        tokens = _stored(path)
        left = tuple(one for one in tokens if one.name != name)
        if len(left) == len(tokens):
            _refuse(f"there is no token named {shown(name)} in {named(path)}")
        write_tokens(path, left)
    typer.echo(f"Token {name} is taken back, from the next start of `loom serve`.", err=True)


def _list(path: Path) -> None:
    tokens = _stored(path)
    for one in tokens:
        typer.echo(one.name)
    if not tokens:
        typer.echo(f"There are no tokens in {named(path)}.", err=True)


def _stored(path: Path) -> tuple[ClientToken, ...]:
    return () if is_missing(path) else read_tokens(path)


def _refuse(reason: str) -> NoReturn:
    typer.echo(f"loom token: {reason}", err=True)
    raise typer.Exit(2)
