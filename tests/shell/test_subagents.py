from pathlib import Path

import pytest

from loom_shell import subagents as module
from loom_shell.subagents import Subagents
from loom_shell.transcript_roots import Roots

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.jsonl"


def agent(path: Path, name: str, text: bytes = b"{}\n") -> Path:
    file = path.with_suffix("") / "subagents" / f"agent-{name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text)
    return file


@pytest.mark.spec("watcher.subagents")
async def test_files_are_told_of_when_they_are_new_or_have_changed(path: Path) -> None:
    one = Subagents(Roots((path.parent,)))
    assert await one.look() == []
    first = agent(path, "a")
    one.changed(first.parent)
    assert await one.look() == [], "nobody named the session"
    assert one.named("s", path) == first.parent
    assert await one.look() == [("s", first)]
    assert await one.look() == []
    second = agent(path, "b")
    one.changed(first.parent)
    assert await one.look() == [("s", second)]
    agent(path, "a", b"{}\n{}\n")
    one.named("s", path)
    assert await one.look() == [("s", first)]
    one.forget(second)
    one.named("s", path)
    assert await one.look() == [("s", second)]


@pytest.mark.spec("watcher.subagents")
async def test_of_a_session_that_was_left_nothing_is_told(path: Path) -> None:
    one = Subagents(Roots((path.parent,)))
    folder = one.named("s", path)
    agent(path, "a")
    assert one.left(path) == folder
    one.changed(folder)
    assert await one.look() == []


@pytest.mark.spec("watcher.bounded")
async def test_what_was_told_is_remembered_within_bounds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    one = Subagents(Roots((path.parent,)))
    for name in "abc":
        agent(path, name)
    one.named("s", path)
    assert len(await one.look()) == 3
    assert len(one._told) == 2
