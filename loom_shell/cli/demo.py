"""`loom demo`: the main job, shown offline."""

import asyncio
import io
import signal
import sys
import time
from collections.abc import Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

SECONDS = 13.0
"""From the first line to the last, ending what was started included."""
PACE = 0.03
"""Seconds between two frames for a person who watches; nobody watches a file."""
NEEDED = ("anthropic", "httpx2")
NO_SDK = (
    "the demo needs the anthropic SDK: run `uv run --extra demo loom demo` in a checkout, "
    "or `pip install 'loom[demo]'` first"
)


def demo(
    journal: Annotated[Path | None, typer.Option(help="Record it in this folder, for `loom replay`.")] = None,
) -> None:
    """Show a small conversation through the Loom: no key, no network, done in seconds."""
    began = time.monotonic()
    if not all(map(find_spec, NEEDED)):
        _fail(NO_SDK)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a terminal cannot show must not end the demonstration.
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    console.print("[bold]The Loom relays a small conversation[/bold]")
    # Here and not above: the SDK takes a second to load, and is not everywhere.
    from loom_shell.demo.screen import Screen  # noqa: PLC0415
    from loom_shell.demo.show import show  # noqa: PLC0415
    from loom_shell.demo.stage import DemoFailed  # noqa: PLC0415

    pace = PACE if console.is_terminal else 0.0
    try:
        left = SECONDS - (time.monotonic() - began)
        asyncio.run(_until_told(show(Screen(console), pace, left, journal and journal.absolute())))
    except DemoFailed as failed:
        _fail(f"{failed}")
    except (asyncio.CancelledError, KeyboardInterrupt):
        _fail("the demo was interrupted")
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        _fail(f"the demo broke off: {type(error).__name__}: {error}")


def _fail(why: str) -> NoReturn:
    line = " ".join(f"loom: {why}".split())
    Console(stderr=True, highlight=False).print(line, markup=False, soft_wrap=True)
    raise typer.Exit(1) from None


async def _until_told(showing: Coroutine[None, None, None]) -> None:
    """Run it; SIGTERM and SIGHUP end it as Ctrl-C does, with everything it has started."""
    task = asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, lambda: task and task.cancel())
    await showing
