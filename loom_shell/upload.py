"""A streamed request body on its way up: chunks in from the client, out to upstream, bounded."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import httpx

HIGH_WATER = 262_144
"""Bytes that may wait for upstream before reading from the client pauses."""


class Upload(httpx.AsyncByteStream):
    """The chunks of one body. It can be sent again as long as nothing was taken from it."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._ended = False
        self._closed = False
        self.taken = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def feed(self, data: bytes) -> None:
        if self._closed or not data:
            return
        self._chunks.append(data)
        self._waiting += len(data)
        if self._waiting > HIGH_WATER:
            self._room.clear()
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    def close(self) -> None:
        """Nobody wants the rest: drop it, and whatever still comes."""
        self._closed = True
        self._chunks.clear()
        self._room.set()

    async def room(self) -> None:
        """Wait until more may be fed (back-pressure on the client)."""
        await self._room.wait()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        self.taken = True
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._waiting = 0
        self._room.set()
        return data
