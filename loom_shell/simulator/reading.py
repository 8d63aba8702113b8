"""Reading one HTTP/1.x request from a wire, and keeping every byte of its head."""

from loom_shell.simulator.received import Received
from loom_shell.simulator.wire import ClientLeft, Wire

PIECE = 1 << 16


async def read_head(wire: Wire) -> Received:
    """The next request's head. Raises ClientLeft when no further request comes."""
    request_line = await wire.line()
    while not request_line:  # RFC 9112 section 2.2: empty lines before a request line are ignored
        request_line = await wire.line()
    lines: list[bytes] = []
    while line := await wire.line():
        lines.append(line)
    parts = request_line.split(b" ")
    if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
        raise ClientLeft
    method, target, version = parts
    return Received(wire.number, method.decode("latin-1"), target, version, tuple(lines))


async def read_body(wire: Wire, request: Received) -> None:
    """The request's body by its own framing (RFC 9112 section 6.3), into `request.content`.

    Raises ClientLeft, also when the framing makes no sense.
    """
    codings = b",".join(request.values(b"transfer-encoding")).lower()
    lengths = request.values(b"content-length")
    framed = bool(codings) or any(length != b"0" for length in lengths)
    if framed and any(value.lower() == b"100-continue" for value in request.values(b"expect")):
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    if codings:
        await _read_chunks(wire, request)
    elif lengths:
        await _read_exactly(wire, request, _number(lengths[0], 10))
    request.complete = True


async def _read_chunks(wire: Wire, request: Received) -> None:
    while size := _number((await wire.line()).partition(b";")[0].strip(), 16):
        await _read_exactly(wire, request, size)
        if await wire.line():
            raise ClientLeft
    trailers: list[bytes] = []
    while line := await wire.line():
        trailers.append(line)
    request.trailers = tuple(trailers)


async def _read_exactly(wire: Wire, request: Received, size: int) -> None:
    while size:
        piece = await wire.some(min(size, PIECE))
        request.content += piece
        size -= len(piece)


def _number(digits: bytes, base: int) -> int:
    try:
        return int(digits, base)
    except ValueError as odd:
        raise ClientLeft from odd


def keeps_alive(request: Received) -> bool:
    """True when the connection may carry another request (RFC 9112 section 9.3)."""
    options = b",".join(request.values(b"connection")).lower()
    if b"close" in options:
        return False
    return request.version != b"HTTP/1.0" or b"keep-alive" in options
