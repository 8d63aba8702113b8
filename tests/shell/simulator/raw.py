"""A client of raw sockets: what is sent and what comes back, to the byte."""

import asyncio
from collections.abc import Mapping

import msgspec
from attrs import frozen

from loom_core.meter import Figures
from loom_shell.simulator.replies import Asked
from loom_shell.simulator.steps import Script, Send

PROMPT = {"model": "claude-sonnet-5", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**PROMPT, "stream": True}
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"at": {}}, "required": ["at"]}}


def request(
    method: str = "POST",
    target: str = "/v1/messages",
    body: object = b"",
    lines: tuple[str, ...] = (),
    *,
    version: str = "1.1",
    last: bool = True,
) -> bytes:
    """A request with a length; `last` asks for the connection to be closed behind the answer."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    closing = ("connection: close",) if last else ()
    head = [
        f"{method} {target} HTTP/{version}",
        "Host: sim",
        *lines,
        *closing,
        f"content-length: {len(content)}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


@frozen
class Heard:
    """All bytes up to the end of the connection, and whether it ended by a reset."""

    raw: bytes
    reset: bool

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def status(self) -> int:
        return int(self.head.split(b" ")[1])

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        split = (line.partition(b": ") for line in self.head.split(b"\r\n")[1:])
        return {name.lower(): value for name, _, value in split}

    @property
    def rest(self) -> bytes:
        """What follows the head, as it came."""
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def chunks(self) -> list[bytes]:
        """The chunks of a chunked body, the last (empty) one too if it came."""
        rest, found = self.rest, []
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            found.append(rest[:length])
            if not length:
                return found
            rest = rest[length + 2 :]
        return found

    @property
    def body(self) -> bytes:
        chunked = self.headers.get(b"transfer-encoding") == b"chunked"
        return b"".join(self.chunks) if chunked else self.rest

    @property
    def whole(self) -> bool:
        """Complete by its own framing (RFC 9112 section 6.3)."""
        if self.headers.get(b"transfer-encoding") == b"chunked":
            return b"\r\n0\r\n" in self.rest[-64:] and self.rest.endswith(b"\r\n\r\n")
        if self.status in {204, 304}:
            return not self.rest
        if (length := self.headers.get(b"content-length")) is not None:
            return len(self.rest) == int(length)
        return not self.reset

    def json(self) -> object:
        return msgspec.json.decode(self.body)


def heard(script: Script) -> Heard:
    """What a client would read of a script's writes."""
    return Heard(b"".join(step.piece for step in script if isinstance(step, Send)), reset=False)


async def talk(port: int, sent: bytes, within: float = 10.0) -> Heard:
    """Send, then read to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    raw, reset = bytearray(), False
    try:
        async with asyncio.timeout(within):
            writer.write(sent)
            while piece := await reader.read(1 << 16):
                raw += piece
    except OSError:
        reset = True
    finally:
        writer.close()
    return Heard(bytes(raw), reset)


def payloads(stream: bytes) -> list[dict[str, object]]:
    """The JSON payloads of a stream's frames, in order."""
    lines = stream.decode().replace("\r\n", "\n").split("\n")
    return [msgspec.json.decode(line.removeprefix("data:")) for line in lines if line.startswith("data:")]


def asked(
    body: object = None, method: str = "POST", *, http10: bool = False, number: int = 1, **options: str
) -> Asked:
    """A request as a scenario sees it, metered as nothing."""
    parsed = PROMPT if body is None else body
    return Asked(
        number=number,
        method=method,
        path="/v1/messages",
        options=options,
        http10=http10,
        body=msgspec.json.encode(parsed),
        parsed=parsed,
        measure=lambda _: Figures(input_tokens=7),
    )
