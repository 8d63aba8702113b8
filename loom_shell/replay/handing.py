"""What a journal hands to its writer: frames on a pipe, each a pickled batch of what happened, in order.

The pipe is a socket pair without a name: the process that serves holds one end, the writer was born with the
other, and nobody else has either. So what comes out is what went in, and pickle may read it.
"""

import pickle
import select
from collections import deque
from collections.abc import Iterator
from socket import socket
from typing import Any

from attrs import frozen
from msgspec.structs import replace as evolve

from loom_core.events import RequestReceived
from loom_core.rules import Rules
from loom_core.values import Key
from loom_shell.replay.happened import CHUNKS, What

MOST, MOST_BYTES = 64, 256 * 1024
"""Of events, and bytes of chunks in one frame: while it is made nobody else has the interpreter."""
OPENED = b"\n"
"""What the writer says once it can write; all else that it says is why it cannot any more."""
_LENGTH = 4
_WITHOUT = Rules()
"""Stands for an event's rules, the same value for very many: they go once, before the first of them."""


def write_frame(pipe: socket, value: object) -> None:
    """OSError as it comes."""
    frame = pickle.dumps(value, protocol=5)
    pipe.sendall(len(frame).to_bytes(_LENGTH, "big"))
    pipe.sendall(frame)


def read_frame(pipe: socket) -> Any:  # noqa: ANN401 - what was written
    """EOFError once the other end is gone; a frame in which that happened is none."""
    try:
        size = int.from_bytes(_exactly(pipe, _LENGTH), "big")
        return pickle.loads(_exactly(pipe, size))  # noqa: S301 - the pipe is ours alone
    except ConnectionError:
        raise EOFError from None


def _exactly(pipe: socket, size: int) -> bytearray:
    found = bytearray(size)
    rest = memoryview(found)
    while rest:
        count = pipe.recv_into(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return found


class Sender:
    """The end of the process that serves."""

    def __init__(self, pipe: socket) -> None:
        self._pipe = pipe
        self._rules: Rules | None = None
        self._items: list[Rules | tuple[Key, What]] = []

    def take(self, queue: deque[tuple[Key, What]]) -> tuple[int, int]:
        """Of the queue what goes into one frame: how many events, and how many bytes of chunks."""
        items, count, size = self._items, 0, 0
        while queue and count < MOST and size < MOST_BYTES:
            key, what = queue.popleft()
            count += 1
            if isinstance(what, CHUNKS):
                size += len(what.data)
            elif isinstance(what, RequestReceived):
                if what.rules is not self._rules:
                    self._rules = what.rules
                    items.append(what.rules)
                what = evolve(what, rules=_WITHOUT)
            items.append((key, what))
        return count, size

    def send(self, lost: tuple[Key, ...] = ()) -> None:
        """What was taken, and whose events found no room. OSError as it comes."""
        write_frame(self._pipe, (self._items, lost))
        self._items.clear()


@frozen
class Batch:
    """`lost`: whose events found no room in the queue, while these did."""

    events: tuple[tuple[Key, What], ...] = ()
    lost: tuple[Key, ...] = ()


class Receiver:
    """The end of the writer."""

    def __init__(self, pipe: socket) -> None:
        self._pipe = pipe
        self._rules = _WITHOUT
        self._waiting = select.poll()
        self._waiting.register(pipe, select.POLLIN)

    def receive(self, seconds: float | None = None) -> Batch:
        """The next, or an empty one if none comes within so long. EOFError as with `read_frame`."""
        if not self._waiting.poll(None if seconds is None else seconds * 1_000):
            return Batch()
        items, lost = read_frame(self._pipe)
        return Batch(tuple(self._events(items)), lost)

    def _events(self, items: list[Rules | tuple[Key, What]]) -> Iterator[tuple[Key, What]]:
        for item in items:
            match item:
                case Rules():
                    self._rules = item
                case (key, RequestReceived() as asked):
                    yield key, evolve(asked, rules=self._rules)
                case _:
                    yield item
