"""The `loom` command. Only the subcommand that was called is imported, so that none pays for another."""

import importlib
import sys
from importlib.metadata import version

import typer

COMMANDS = (
    "serve",
    "hook",
    "install",
    "doctor",
    "status",
    "turns",
    "search",
    "show",
    "demo",
    "replay",
    "simulate",
    "token",
    "profile",
    "memory",
    "cortex",
    "scribe",
    "intro",
    "weave",
    "inspect",
)


def main() -> None:
    command_line(sys.argv[1:])(prog_name="loom")


def command_line(arguments: list[str]) -> typer.Typer:
    """The command line for these arguments: one subcommand if they name one, else all (for the help)."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(loom)
    named = [name for name in COMMANDS if name in arguments[:1]]
    for name in named or COMMANDS:
        command = getattr(importlib.import_module(f"loom_shell.cli.{name}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"loom {version('loom')}")
        raise typer.Exit


def loom(
    *,
    show_version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """The Loom: a byte-faithful reverse proxy between a Messages-API client and Anthropic's API."""
    del show_version
