from pathlib import Path

import pytest

from loom_shell import seeking as module
from loom_shell.seeking import Seeking
from loom_shell.transcript_roots import Roots

pytestmark = pytest.mark.anyio


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    (tmp_path / "projects").mkdir()
    return tmp_path / "projects"


@pytest.mark.spec("watcher.waits")
async def test_a_path_is_found_once_its_folder_is_there(projects: Path) -> None:
    notes: list[str] = []
    one = Seeking(Roots((projects,)), notes.append)
    path = projects / "-w" / "s.jsonl"
    assert one.pause == float("inf")
    assert await one.look() == []
    assert one.known(("s", str(path))) == ()
    assert one.known(("s", str(path))) == ()
    assert (len(one), one.pause) == (1, module.YOUNG_SECONDS)
    assert await one.look() == []
    path.parent.mkdir()
    assert await one.look() == [("s", path)]
    assert (len(one), one.pause) == (0, float("inf"))
    assert one.known(("s", str(path))) == (path,)
    assert notes == []


@pytest.mark.spec("watcher.trouble")
async def test_a_path_that_no_disk_can_hold_costs_itself_only(projects: Path) -> None:
    one = Seeking(Roots((projects,)), [].append)
    one.known(("s", str(projects / ("x" * 300) / "s.jsonl")))
    one.known(("t", str(projects / "t.jsonl")))
    assert await one.look() == [("t", projects / "t.jsonl")]
    assert len(one) == 1


@pytest.mark.spec("watcher.derived")
async def test_a_session_is_found_once_its_file_is_there(projects: Path) -> None:
    one = Seeking(Roots((projects,)), [].append)
    path = projects / "-w" / "s.jsonl"
    path.parent.mkdir()
    one.known(("s", ""))
    one.known(("other", ""))
    assert await one.look() == []
    path.write_bytes(b"")
    assert await one.look() == [("s", path)]
    assert one.known(("s", "")) == (path,)
    assert len(one) == 1


@pytest.mark.spec("watcher.derived")
async def test_where_a_path_was_told_the_session_is_known_without_one(projects: Path) -> None:
    notes: list[str] = []
    one = Seeking(Roots((projects,)), notes.append)
    path = projects / "other-name.jsonl"
    one.known(("s", ""))
    one.known(("s", str(path)))
    assert await one.look() == [("s", path)]
    assert one.known(("s", "")) == (path,)
    assert len(one) == 0
    assert notes == []


@pytest.mark.spec("watcher.refused")
async def test_a_refusal_is_told_once(projects: Path) -> None:
    notes: list[str] = []
    one = Seeking(Roots((projects,)), notes.append)
    for _ in range(3):
        assert one.known(("s", "/etc/passwd")) == ()
        assert await one.look() == []
    assert notes == ["the transcript /etc/passwd is not followed: its name does not end in .jsonl"]
    assert one.refused == 1


@pytest.mark.spec("watcher.elsewhere")
async def test_what_is_not_found_in_time_is_told_once_and_sessions_once_for_all(
    projects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    one = Seeking(Roots((projects,)), notes.append)
    path = projects / "-w" / "s.jsonl"
    names = [("s", str(path)), ("s", ""), ("t", ""), ("u", "")]
    for name in names:
        one.known(name)
    await one.look()
    assert len(one) == 4
    monkeypatch.setattr(module, "UNTOLD_SECONDS", 0.0)
    await one.look()
    assert len(one) == 1
    monkeypatch.setattr(module, "TOLD_SECONDS", 0.0)
    await one.look()
    end = ": it may be on another machine"
    assert notes == [
        f"no transcript of session s is at {projects}{end}",
        f"no transcript of session s is at {path}{end}",
    ]
    assert [one.known(name) for name in names] == [()] * 4
    assert (len(one), one.refused) == (0, 4)


@pytest.mark.spec("watcher.bounded")
async def test_what_is_sought_and_what_is_known_is_bounded(
    projects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_NAMES", 3)
    monkeypatch.setattr(module, "YOUTH", 0.0)
    notes: list[str] = []
    one = Seeking(Roots((projects,)), notes.append)
    for number in range(5):
        one.known(("s", f"/x/{number}.jsonl"))
    assert (len(one), one.pause) == (3, module.PAUSE_SECONDS)
    await one.look()
    for number in range(5):
        one.known(("s", f"/x/{number}.jsonl"))
    assert len(one) == 2
    await one.look()
    assert len(notes) == 5
    one.known(("s", "/x/0.jsonl"))
    assert len(one) == 1, "the first was forgotten"
