"""Chunks wait for the rest of their body, so that no secret is cut in two before it is found.

All that comes behind them waits too: the order of a journal is that of the events. Nothing waits for ever:
what waits too long, or beside too much else, is looked through as far as it came.
"""

from collections import deque
from collections.abc import Iterator

from attrs import define, field

from loom_core.events import (
    ClientGone,
    FileRead,
    PositionFound,
    PositionLoaded,
    RequestChunkReceived,
    RequestEnded,
    RequestReceived,
    ShutdownRequested,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamHeadReceived,
)
from loom_core.values import Headers, Key
from loom_shell.replay.happened import CHUNKS, Happened
from loom_shell.replay.recoding import recoded
from loom_shell.replay.scrubbing import CARRIED, CARRIED_OF_STREAM, Opened, Scrubber

HELD_SECONDS = 10.0
HELD_BYTES = 64 * 1024 * 1024
"""What may wait: for so long, and so much."""
_MOST_STREAMS, _MOST_FILES = 4_096, 256
"""Exchanges whose ends are remembered; of those before them no chunk comes any more. Files likewise."""


@define(eq=False)
class _Stream:
    """A body on its way. `codings`: those it is in. `carried`: its bytes that were looked through last."""

    codings: tuple[str, ...] = ()
    waiting: list[Happened] = field(factory=list)
    carried: bytes = b""
    opened: Opened = field(factory=dict)
    is_changed: bool = False


@define(eq=False)
class _File:
    """What was read of a transcript last, up to `end`: as it is, and as it was written."""

    name: str
    end: int = 0
    carried: bytes = b""
    clean: bytes = b""
    opened: Opened = field(factory=dict)

    def again(self, read: FileRead) -> int | None:
        """How much of that stands before what a read brings; None if that is of something else."""
        before = len(self.carried) - (self.end - read.offset)
        goes_on = read.file == self.name and 0 <= before <= len(self.carried)
        return before if goes_on and read.data.startswith(self.carried[before:]) else None


class Holding:
    """In order: what is added comes out of `ready`, with its bytes clean."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._all: deque[Happened] = deque()
        self._up: dict[Key, _Stream] = {}
        self._down: dict[Key, _Stream] = {}
        self._positions: dict[Key, Happened] = {}
        self._files: dict[Key, _File] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._all)

    def add(self, one: Happened) -> None:
        match one.what:
            case RequestReceived(request=request):
                self._up[one.key] = _Stream(_codings(request.headers))
                self._scrubber.headers(request.headers)
                self._scrubber.target(request.target)
                self._waits(self._up, one)
            case UpstreamHeadReceived(headers=headers):
                self._over(self._down, one.key)
                self._down[one.key] = _Stream(_codings(headers))
                self._scrubber.headers(headers)
            case RequestChunkReceived():
                self._waits(self._up, one)
            case UpstreamChunkReceived():
                self._waits(self._down, one)
            case FileRead() as read:
                one.clean = self._read(one.key, read)
                if (position := self._positions.pop(one.key, None)) is not None:
                    position.following, position.is_held = one, False
            case PositionLoaded(position=position) | PositionFound(position=position) if position.witness:
                self._positions[one.key] = one
                one.is_held = True
            case RequestEnded():
                self._over(self._up, one.key)
            case UpstreamEnded() | UpstreamFailed():
                self._over(self._down, one.key)
            case ClientGone() | ShutdownRequested():
                self._over(self._up, one.key)
                self._over(self._down, one.key)
            case _:
                pass
        self._all.append(one)
        self._size += one.size

    def ready(self, now: float) -> Iterator[Happened]:
        """All that waits for nothing any more; `now` is what `put_at` is compared with."""
        while self._all:
            first = self._all[0]
            if first.is_held:
                if now < first.put_at + HELD_SECONDS and self._size <= HELD_BYTES:
                    return
                self._lets_go(first)
            self._all.popleft()
            self._size -= first.size
            yield first

    def _lets_go(self, one: Happened) -> None:
        """Look through what it waits with, as far as that came."""
        for streams in (self._up, self._down):
            if one.key in streams and one in streams[one.key].waiting:
                self._looked_through(streams, one.key, is_whole=False)
        self._positions.pop(one.key, None)
        one.is_held = False

    def _waits(self, streams: dict[Key, _Stream], one: Happened) -> None:
        if one.key not in streams:
            if len(streams) >= _MOST_STREAMS:
                self._over(streams, next(iter(streams)))
            streams[one.key] = _Stream()
        streams[one.key].waiting.append(one)
        one.is_held = True

    def _over(self, streams: dict[Key, _Stream], key: Key) -> None:
        if key in streams:
            self._looked_through(streams, key, is_whole=True)
            del streams[key]

    def _looked_through(self, streams: dict[Key, _Stream], key: Key, *, is_whole: bool) -> None:
        stream = streams[key]
        chunks = [it for it in stream.waiting if isinstance(it.what, CHUNKS)]
        body = b"".join(_data(it) for it in chunks)
        clean = self._clean(stream, body, is_whole=is_whole)
        stream.is_changed = stream.is_changed or clean != body
        at = 0
        for one in chunks:
            # One in codings may be longer or shorter than it was: each event has its share.
            first, at = at, at + one.size
            one.clean = clean[_share(clean, first, body) : _share(clean, at, body)]
        for one in stream.waiting:
            if isinstance(one.what, RequestReceived):
                one.clean = clean
            one.is_held, one.is_changed = False, stream.is_changed
        stream.waiting.clear()
        stream.carried = (stream.carried + body)[-CARRIED_OF_STREAM:]

    def _clean(self, stream: _Stream, body: bytes, *, is_whole: bool) -> bytes:
        if not stream.codings or not body:
            return self._scrubber.body(body, stream.carried, is_whole=is_whole, opened=stream.opened)
        # No byte of a compressed body can be replaced, and none be read without those before it.
        is_all = is_whole and not stream.carried
        clean = recoded(stream.codings, body, self._scrubber) if is_all else None
        return b"\0" * len(body) if clean is None else clean

    def _read(self, key: Key, read: FileRead) -> bytes:
        """What a read brings, without secrets; what it brings once more is as it was written before."""
        known = self._files.pop(key, None) or _File(read.file)
        again = known.again(read)
        if again is None:
            known, again = _File(read.file), 0
        carried, written = known.carried[:again], known.clean[again:]
        opened = {name: (since - len(written), key) for name, (since, key) in known.opened.items()}
        is_whole = read.data.endswith(b"\n")
        clean = self._scrubber.body(read.data, carried, is_whole=is_whole, opened=opened)
        clean = written + clean[len(written) :]
        if len(self._files) >= _MOST_FILES:
            self._files.pop(next(iter(self._files)))
        last = (carried + read.data)[-CARRIED:]
        end = read.offset + len(read.data)
        self._files[key] = _File(read.file, end, last, (known.clean[:again] + clean)[-CARRIED:], opened)
        return clean


def _share(clean: bytes, at: int, body: bytes) -> int:
    return len(clean) * at // max(len(body), 1)


def _data(one: Happened) -> bytes:
    return one.what.data if isinstance(one.what, CHUNKS) else b""


def _codings(headers: Headers) -> tuple[str, ...]:
    told = b",".join(value for name, value in headers if name.lower() == b"content-encoding")
    named = (it.strip().lower().decode("latin-1") for it in told.split(b","))
    return tuple(it for it in named if it and it != "identity")
