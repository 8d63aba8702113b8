"""`loom simulate`: the simulated upstream on its own."""

import asyncio
import base64
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer
import uvloop
from rich.console import Console

from loom_shell.simulator import SCENARIOS, Received, Simulator

PORT = 8090


def simulate(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any free one", min=0, max=65535)] = PORT,
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    scenario: Annotated[str, typer.Option(help="What requests get that ask for no other")] = "ok",
    log: Annotated[Path | None, typer.Option(help="File to append each request to, as JSON lines")] = None,
) -> None:
    """Simulate Anthropic's API on this machine: no key, no network, every fault on demand."""
    problems = Console(stderr=True, highlight=False)
    if scenario not in SCENARIOS:
        known = ", ".join(SCENARIOS)
        problems.print(f"loom: --scenario {scenario}: unknown; one of {known}", markup=False, soft_wrap=True)
        raise typer.Exit(2)
    try:
        uvloop.run(_run(host, port, scenario, log))
    except OSError as error:
        problems.print(f"loom: {error}", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None


async def _run(host: str, port: int, scenario: str, log: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    file = log.open("ab") if log else None
    try:
        async with Simulator(scenario, host=host, port=port, on_done=_writer(file)) as simulator:
            # Nobody asks a running simulator what it received: the log has it, memory need not.
            simulator.keep = False
            simulator.gate.set()
            show(simulator.origin, scenario, log, Console(highlight=False))
            await stop.wait()
    finally:
        if file:
            file.close()


def _writer(file: BinaryIO | None) -> Callable[[Received], None]:
    def write(request: Received) -> None:
        if file is not None:
            file.write(log_line(request))
            file.flush()

    return write


def log_line(request: Received) -> bytes:
    """One request to the byte, as a line of JSON: text where it is UTF-8, else `{"base64": …}`."""
    fields = {
        "connection": request.connection,
        "scenario": request.scenario,
        "method": request.method,
        "target": _readable(request.target),
        "version": _readable(request.version),
        "headers": [_readable(line) for line in request.lines],
        "body": _readable(request.body),
        "trailers": [_readable(line) for line in request.trailers],
        "complete": request.complete,
        "aborted": request.aborted_at is not None,
    }
    return msgspec.json.encode(fields) + b"\n"


def _readable(piece: bytes) -> object:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(piece).decode()}


def show(origin: str, scenario: str, log: Path | None, console: Console) -> None:
    """The start screen: address, what is answered, all scenarios, how to point a client at it."""
    rows = [
        ("listening", origin),
        ("answering", f"{scenario}: {SCENARIOS[scenario].says}"),
        ("log", str(log) if log else "none (--log FILE)"),
        ("choose", "header x-simulate: NAME, or query ?simulate=NAME, or --scenario NAME"),
    ]
    console.print("[bold]The simulator[/bold] answers as Anthropic's API would.\n")
    for name, value in rows:
        console.print(f"  {name:<11}{value}", markup=False, soft_wrap=True)
    console.print("\nScenarios:\n")
    for name, one in SCENARIOS.items():
        console.print(f"  {name:<21}{one.says}", markup=False, soft_wrap=True)
    console.print(
        f"\nPoint a client at it, or the Loom:\n\n  ANTHROPIC_BASE_URL={origin} claude\n"
        f"  loom serve --upstream {origin}\n",
        markup=False,
        soft_wrap=True,
    )
