"""A store that is asked, and never answers; and the smallest profile there is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

TOML = '[[pieces]]\nname = "who"\nfile = "who.md"\nlife = "identity"\n'


class Deaf:
    """`url` is where it listens; `asked` is set once it was sent anything."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = asyncio.Event()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            self.asked.set()
        writer.close()


@asynccontextmanager
async def deaf() -> AsyncIterator[Deaf]:
    one = Deaf()
    async with await asyncio.start_server(one.listen, "127.0.0.1", 0) as server:
        one.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield one


def write_profile(home: Path, text: str, name: str = "ann") -> None:
    folder = home / "profiles" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "who.md").write_text(text, encoding="utf-8")
    (folder / "profile.toml").write_text(TOML, encoding="utf-8")
