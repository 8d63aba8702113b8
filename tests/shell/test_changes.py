import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from loom_shell import changes as module
from loom_shell.changes import POLL_SECONDS, QUIET_SECONDS, YOUNG_SECONDS, Changes
from tests.support.writer import holds

pytestmark = pytest.mark.anyio


class Heard:
    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.notes: list[str] = []


@asynccontextmanager
async def listening(changes: Changes) -> AsyncIterator[None]:
    """It listens; nobody looks."""
    run = asyncio.ensure_future(changes.listen())
    await changes.look()
    try:
        yield
    finally:
        changes.close()
        await asyncio.wait_for(run, 5)


async def silent(*_: Path, stop_event: anyio.Event, **__: object) -> AsyncIterator[set[tuple[int, str]]]:
    """A system that tells nothing."""
    await stop_event.wait()
    for nothing in ():
        yield nothing


async def refuses(*_: Path, **__: object) -> AsyncIterator[set[tuple[int, str]]]:
    raise OSError("OS file watch limit reached.")
    yield set()


@pytest.mark.spec("watcher.changes")
async def test_what_the_system_tells_is_told_without_a_look(tmp_path: Path) -> None:
    heard = Heard()
    one, other, unseen = tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "c.jsonl"
    other.write_bytes(b"1")
    changes = Changes(heard.paths.append, heard.notes.append)
    for path in (one, other):
        changes.add(path)
    async with listening(changes):
        assert heard.paths == [one, other], "each new one is worth a look"
        assert changes.waiting([one, other, unseen]) == 1
        # Whether it listens already is not told: something is changed until it is heard.
        while one not in heard.paths[2:]:
            one.write_bytes(str(time.time_ns()).encode())
            unseen.write_bytes(b"x")
            await asyncio.sleep(0.01)
        assert not changes.waiting([one])
        heard.paths.clear()
        began = time.monotonic()
        with other.open("ab") as file:
            file.write(b"2")
        await holds(lambda: other in heard.paths)
        assert time.monotonic() - began < 1.0
        heard.paths.clear()
        other.unlink()
        await holds(lambda: other in heard.paths)
        changes.remove(one)
        one.unlink()
        other.write_bytes(b"3")
        await holds(lambda: other in heard.paths[1:])
        assert one not in heard.paths
    assert heard.notes == []


@pytest.mark.spec("watcher.changes")
async def test_a_folder_that_appears_is_listened_to(tmp_path: Path) -> None:
    heard = Heard()
    folder = tmp_path / "s" / "subagents"
    (tmp_path / "s.jsonl").write_bytes(b"")
    changes = Changes(heard.paths.append, heard.notes.append)
    changes.add(tmp_path / "s.jsonl")
    changes.add(folder)
    async with listening(changes):
        heard.paths.clear()
        folder.mkdir(parents=True)
        await changes.look()
        assert heard.paths == [folder]
        for number in range(1_000):
            if folder in heard.paths[1:]:
                break
            (folder / f"agent-{number}.jsonl").write_bytes(b"")
            await asyncio.sleep(0.01)
        assert folder in heard.paths[1:]


@pytest.mark.spec("watcher.polls")
async def test_a_folder_of_which_nothing_is_told_is_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "awatch", silent)
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    heard = Heard()
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"")
    changes = Changes(heard.paths.append, heard.notes.append)
    changes.add(path)
    async with listening(changes):
        await holds(lambda: changes._listens_to == (tmp_path,))
        for number in range(5):
            path.write_bytes(b"x" * (number + 1))
            await changes.look()
        assert heard.paths == [path] * 6
        changes._young_until = 0.0
        assert changes.pause == POLL_SECONDS
    assert heard.notes == [f"nothing tells of changes in {tmp_path}, so it is polled"]


@pytest.mark.spec("watcher.polls")
async def test_a_folder_that_spoke_once_is_not_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    heard = Heard()
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"")
    changes = Changes(heard.paths.append, heard.notes.append)
    changes.add(path)
    async with listening(changes):
        while tmp_path not in changes._speaking:
            path.write_bytes(str(time.time_ns()).encode())
            await asyncio.sleep(0.01)
        for number in range(5):
            path.write_bytes(b"x" * (number + 1))
            await changes.look()
        changes._young_until = 0.0
        assert changes.pause == QUIET_SECONDS
    assert heard.notes == []


@pytest.mark.spec("watcher.polls")
async def test_where_the_system_refuses_to_tell_everything_is_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "awatch", refuses)
    heard = Heard()
    changes = Changes(heard.paths.append, heard.notes.append)
    assert changes.pause == float("inf")
    changes.add(tmp_path / "a.jsonl")
    assert changes.pause == YOUNG_SECONDS
    async with listening(changes):
        await holds(lambda: heard.notes)
    changes._young_until = 0.0
    assert changes.pause == POLL_SECONDS
    why = "OS file watch limit reached."
    assert heard.notes == [f"nothing tells of changes in transcripts, so they are polled: {why}"]


@pytest.mark.spec("watcher.polls")
async def test_it_may_be_told_to_poll(tmp_path: Path) -> None:
    heard = Heard()
    changes = Changes(heard.paths.append, heard.notes.append, polls=True)
    path = tmp_path / "a.jsonl"
    changes.add(path)
    await asyncio.wait_for(changes.listen(), 5)
    await changes.look()
    path.write_bytes(b"1")
    await changes.look()
    await changes.look()
    assert heard.paths == [path, path]
    assert changes.pause == POLL_SECONDS
