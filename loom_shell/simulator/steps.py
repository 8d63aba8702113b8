"""What a scenario tells the server to do, step by step. A script is an iterable of steps."""

import asyncio
import time
from collections.abc import Iterable

from attrs import frozen

from loom_shell.simulator.wire import ClientLeft, Wire


@frozen
class Send:
    """One write to the socket: exactly these bytes."""

    piece: bytes


@frozen
class Wait:
    """Let time pass (seconds); the client may leave meanwhile. Zero lets other tasks run."""

    seconds: float = 0.0


@frozen
class Paced:
    """`count` writes, `rate` a second; each is `before`, the time of sending, `after`.

    The time is `time.monotonic_ns()` in 20 digits, so that every frame has one length and a load
    generator on this machine can tell the delay.
    """

    before: bytes
    after: bytes
    count: int
    rate: float


@frozen
class Finish:
    """Close the connection cleanly (FIN), whatever the framing promised."""


@frozen
class Reset:
    """Break the connection (RST)."""


@frozen
class Spoil:
    """Keep the connection, and close it without an answer when the next request comes."""

    reset: bool = False


Step = Send | Wait | Paced | Finish | Reset | Spoil
Script = Iterable[Step]

PAUSE = 0.05
"""Seconds between the last bytes and a reset, so that what was sent has been read before."""


async def perform(script: Script, wire: Wire) -> Finish | Reset | Spoil | None:
    """Do the steps up to the one that ends the connection's use, and give that; None to go on.

    Raises ClientLeft when the client is gone before the script is over.
    """
    for step in script:
        match step:
            case Send(piece):
                await wire.send(piece)
            case Wait(seconds) if seconds > 0:
                await wire.stay(seconds)
            case Wait():
                await asyncio.sleep(0)
            case Paced():
                await _pace(step, wire)
            case Finish() | Reset() | Spoil():
                return step
    return None


async def _pace(step: Paced, wire: Wire) -> None:
    """On a fixed grid of times: a late frame does not delay those after it."""
    loop = asyncio.get_running_loop()
    start, gap, writer = loop.time(), 1.0 / step.rate, wire.writer
    for n in range(step.count):
        if (pause := start + n * gap - loop.time()) > 0:
            await asyncio.sleep(pause)
        if wire.left.is_set():
            raise ClientLeft
        writer.write(b"%b%020d%b" % (step.before, time.monotonic_ns(), step.after))
        if wire.transport.get_write_buffer_size():
            await wire.send(b"")
