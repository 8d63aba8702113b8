"""A simulated model on loopback: it answers as Ollama and as a Messages API do, or as badly as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field

from loom_shell.config import Intro
from loom_shell.secret import Secret


@define
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def question(self) -> str:
        return str(self.body["messages"][-1]["content"])


def envelope(*texts: str) -> str:
    inside = "".join(f"<memorable>{text}</memorable>\n" for text in texts)
    return f"<memorables>\n{inside}</memorables>"


@define
class SimulatedModel:
    """`says` gives the words of an answer; `status` and `raw` replace what goes around them.

    While `is_silent` nothing is answered. `changed` is set after each question.
    """

    port: int = 0
    says: Callable[[Asked], str] = lambda _: envelope()
    status: int = 200
    raw: bytes | None = None
    lines: dict[str, str] = field(factory=dict)
    is_silent: bool = False
    asked: list[Asked] = field(factory=list)
    changed: asyncio.Event = field(factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, kind: str = "ollama", key: str = "") -> Intro:
        return Intro(kind, self.url, "small", Secret(key) if key else None)

    async def until(self, count: int) -> None:
        """Wait until it was asked so often."""
        async with asyncio.timeout(15):
            while len(self.asked) < count:
                self.changed.clear()
                await self.changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *rest = head.decode().split("\r\n")[:-2]
                pairs = (line.partition(":") for line in rest)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                sent = await reader.readexactly(int(headers.get("content-length", "0")))
                asked = Asked(first.split(" ")[1], headers, json.loads(sent))
                self.asked.append(asked)
                self.changed.set()
                if self.is_silent:
                    await reader.read()
                    return
                writer.write(self._answer(asked))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, asked: Asked) -> bytes:
        content = self.raw
        if content is None:
            said = self.says(asked)
            told: dict[str, Any] = {"message": {"role": "assistant", "content": said}, "done": True}
            if asked.path.endswith("/v1/messages"):
                told = {"type": "message", "content": [{"type": "thinking"}, {"type": "text", "text": said}]}
            content = json.dumps(told).encode()
        lines = {"content-length": str(len(content)), **self.lines}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"HTTP/1.1 {self.status} X\r\n{head}\r\n".encode() + content


@asynccontextmanager
async def simulated_model(port: int = 0) -> AsyncIterator[SimulatedModel]:
    model = SimulatedModel()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(model.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    model.port = server.sockets[0].getsockname()[1]
    try:
        yield model
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
