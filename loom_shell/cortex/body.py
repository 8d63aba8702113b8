"""The body of a request, whole and within bounds of bytes and time.

A server ends the connection of a request that it has not read to its end, and its answer may be lost with
that. So what is refused is read as well, and not kept, as far as that is bearable.
"""

import asyncio

from starlette.requests import ClientDisconnect, Request

MOST = 524_288
"""Bytes of a body: a memory's text in escapes, six bytes for each of its own, and room for the rest."""
MOST_DROPPED = 16 * MOST
SECONDS = 10.0


class BodyRefusedError(Exception):
    """A body that is too long, too slow, or broken off: the status of the answer, and its sentence."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


async def whole(request: Request) -> bytes:
    """The body. BodyRefusedError; 400 is for one of which the client has left, and hears nothing."""
    kept, seen = bytearray(), 0
    try:
        async with asyncio.timeout(SECONDS):
            async for piece in request.stream():
                seen += len(piece)
                if seen <= MOST:
                    kept += piece
                elif seen > MOST_DROPPED:
                    break
    except TimeoutError:
        raise BodyRefusedError(408, f"The body did not come within {SECONDS:g} seconds.") from None
    except ClientDisconnect:
        raise BodyRefusedError(400, "The body broke off.") from None
    if seen > MOST:
        raise BodyRefusedError(413, f"The body may have at most {MOST} bytes.")
    return bytes(kept)
