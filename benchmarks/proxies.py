"""The proxies compared: `python -m benchmarks.proxies NAME ORIGIN [RECEIVER]` serves one, prints its port.

`bare` is the least a pass-through on this stack can be: the Loom's Hypercorn settings and its
transport, the body read whole, hop-by-hop lines dropped by a constant set, chunks handed on.
`stock` is the same over `httpx-aiohttp`, so that one sees what the transport is worth. `loom` is
the relay alone, turn following off; `all on` is the Loom as `loom serve` runs it, with a profile to weave in,
its spans going to the receiver, if there is one.
Both log in JSON.
"""

import asyncio
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import aiohttp
import httpx
import uvloop
from httpx_aiohttp import AiohttpTransport
from hypercorn.asyncio import serve

from benchmarks import wire
from loom_shell.config import load
from loom_shell.log import Log
from loom_shell.memory import Cortex, NewMemory
from loom_shell.relay import Receive, Scope, Send
from loom_shell.server import hypercorn_config, listen, run
from loom_shell.target import target_of
from loom_shell.transport import Transport

_DROPPED = frozenset(
    {
        b"connection",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
NOTES = 500
_PROFILE = """
[memories]
session_budget = 40_000

[[pieces]]
name = "identity"
file = "identity.md"
life = "identity"
"""
_TIMEOUT: dict[str, float | None] = {"connect": 10.0, "read": None}
_Lines = list[tuple[bytes, bytes]]
_Build = Callable[[str, bytes, _Lines, bytes], httpx.Request]


class PassThrough:
    """A minimal ASGI pass-through over any httpx transport."""

    def __init__(self, origin: httpx.URL, transport: httpx.AsyncBaseTransport, build: _Build) -> None:
        self._host = (b"Host", origin.netloc)
        self._transport = transport
        self._build = build

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        parts: list[bytes] = []
        more = True
        while more:
            message = await receive()
            parts.append(message["body"])
            more = message["more_body"]
        lines = [self._host, *_kept(scope["headers"])]
        request = self._build(scope["method"], target_of(scope)[1], lines, b"".join(parts))
        response = await self._transport.handle_async_request(request)
        headers = _kept(response.headers.raw)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        stream = cast(httpx.AsyncByteStream, response.stream)
        try:
            async for chunk in stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            await stream.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _kept(lines: Iterable[tuple[bytes, bytes]]) -> _Lines:
    return [line for line in lines if line[0].lower() not in _DROPPED]


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def bare(origin: httpx.URL) -> PassThrough:
    """Over the Loom's transport, asked the way the Loom asks it."""

    def build(method: str, target: bytes, lines: _Lines, body: bytes) -> httpx.Request:
        extensions = {"target": target, "timeout": _TIMEOUT}
        return httpx.Request(
            method, origin, headers=lines, stream=httpx.ByteStream(body), extensions=extensions
        )

    return PassThrough(origin, Transport(), build)


def stock(origin: httpx.URL) -> PassThrough:
    """Over `httpx-aiohttp`, which never decompresses, set up to add nothing of its own."""

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    def build(method: str, target: bytes, lines: _Lines, body: bytes) -> httpx.Request:
        url = origin.copy_with(raw_path=target)
        return httpx.Request(method, url, headers=lines, content=body, extensions={"timeout": _TIMEOUT})

    return PassThrough(origin, AiohttpTransport(client=session), build)


def _serve_pass_through(app: PassThrough) -> None:
    sock = socket.create_server(("127.0.0.1", 0), backlog=2048)

    async def until_killed() -> None:
        _tell(sock)
        await asyncio.Event().wait()

    async def main() -> None:
        settings = hypercorn_config(sock, Log(2, "json"))
        await serve(app, settings, shutdown_trigger=until_killed)  # type: ignore[arg-type]

    uvloop.run(main())


def _serve_loom(origin: str, environ: dict[str, str], *, weaves: bool = False) -> None:
    with tempfile.TemporaryDirectory() as home:
        if weaves:
            _furnish(Path(home))
        flags = {"host": "127.0.0.1", "port": "0", "upstream": origin, "home": home, "log": "json"}
        config = load(flags, environ)
        sock = listen(config)
        run(config, sock, lambda: _tell(sock))


def _furnish(home: Path) -> None:
    """A profile, and a memory of notes that its prompts find."""
    folder = home / "profiles" / wire.PROFILE
    folder.mkdir(parents=True)
    (folder / "identity.md").write_text("You are the one whose requests are measured. " * 40)
    (folder / "profile.toml").write_text(_PROFILE)
    asyncio.run(_noted(Cortex(home)))


async def _noted(memory: Cortex) -> None:
    for number in range(NOTES):
        await memory.put(
            NewMemory(f"Note {number}: the fox was quick that day, and the dog slept on.", number + 1)
        )
    await memory.aclose()


def _tell(sock: socket.socket) -> None:
    sys.stdout.write(f"{sock.getsockname()[1]}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    name, origin, receiver = (*sys.argv[1:], "")[:3]
    match name:
        case "bare":
            _serve_pass_through(bare(httpx.URL(origin)))
        case "stock":
            _serve_pass_through(stock(httpx.URL(origin)))
        case "loom":
            _serve_loom(origin, {"LOOM_TRACE_TURNS": "false"})
        case "all on":
            _serve_loom(origin, {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver}, weaves=True)
