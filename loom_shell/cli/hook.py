"""`loom hook` for those who ask what it is; called as a hook, it never comes this far."""

from typing import Annotated

import typer

from loom_shell.hook import main


def hook(
    event: Annotated[
        str | None,
        typer.Argument(help="The event, for a client that does not name it.", show_default=False),
    ] = None,
) -> None:
    """Answer a hook of Claude Code: its JSON on standard input, ours on standard output, always exit code 0.

    `loom install` writes a faster form of this command into the client's settings.
    """
    del event  # `main` reads the command line itself.
    main()
