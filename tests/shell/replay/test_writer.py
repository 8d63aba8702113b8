import json
from pathlib import Path

import pytest

from loom_core.events import RequestEnded, RequestReceived, UpstreamChunkReceived
from loom_core.values import ExchangeKey, TurnKey
from loom_shell.replay import process as module
from loom_shell.replay.handing import Batch
from loom_shell.replay.happened import What
from loom_shell.replay.holding import HELD_SECONDS
from loom_shell.replay.process import WriterProcess
from loom_shell.replay.reading import recorded
from loom_shell.replay.writer import Writer
from loom_shell.replay.writing import Bounds
from tests.support.journals import MEASURED, fills_the_disk, handed
from tests.support.samples import asked

X, Y = ExchangeKey("x"), ExchangeKey("y")
NAMED = asked(headers=((b"x-claude-code-session-id", b"s-1"),))


def lost(folder: Path) -> list[list[str]]:
    lines = [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    return [line["lost"] for line in lines if "lost" in line]


def test_what_waits_for_nothing_is_on_the_disk_once_it_is_taken(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "j", Bounds())
    writer.take(Batch(((X, NAMED),)), 1.0)
    assert writer.holds
    assert list(recorded(tmp_path / "j")) == []
    writer.take(Batch(((X, RequestEnded(2)),)), 1.0)
    assert not writer.holds
    assert [(type(it.event), it.session) for it in recorded(tmp_path / "j")] == [
        (RequestReceived, "s-1"),
        (RequestEnded, "s-1"),
    ]
    writer.close()


@pytest.mark.spec("journal.held")
def test_what_was_held_long_enough_is_written_though_nothing_more_comes(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "j", Bounds())
    writer.take(Batch(((X, UpstreamChunkReceived(1, b"x")),)), 1.0)
    writer.take(Batch(), 1.0 + HELD_SECONDS)
    assert len(list(recorded(tmp_path / "j"))) == 1
    writer.close()


@pytest.mark.spec("journal.never-waits")
def test_of_what_found_no_room_the_sessions_are_named_as_far_as_they_are_known(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "j", Bounds())
    writer.take(Batch(((X, NAMED), (X, RequestEnded(2))), (X, TurnKey("s-2", ""))), 1.0)
    writer.take(Batch((), (X, Y)), 1.0)
    writer.close()
    assert lost(tmp_path / "j") == [["s-1", "s-2"], ["", "s-1"]]


@pytest.mark.spec("journal.disk")
def test_a_disk_that_takes_nothing_ends_it_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MEASURED, raising=False)
    process = WriterProcess(tmp_path / "j", Bounds())
    fills_the_disk(process)
    handed(process, (X, NAMED), (X, RequestEnded(2)))
    assert process.end().endswith(".jsonl: file too large")


def test_a_fault_of_its_own_ends_it_with_a_reason(tmp_path: Path) -> None:
    process = WriterProcess(tmp_path / "j", Bounds())
    wrong: What = 3  # type: ignore[assignment]
    handed(process, (X, wrong))
    assert "'int'" in process.end()


def ended(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, count: int) -> str:
    """Why a writer ended that may hang for a second, and does something else first."""
    code = (
        f"import time; from loom_shell.replay import writer\nwriter.MOST_SECONDS = 1\n{code}\nwriter.main()"
    )
    monkeypatch.setattr(module, "_RUN", code)
    process = WriterProcess(folder, Bounds())
    handed(process, *[(X, RequestEnded(number)) for number in range(count)])
    return process.end()


@pytest.mark.spec("journal.apart")
def test_one_that_hangs_outlives_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "def hang(*_): time.sleep(60)\nwriter.Writer.take = hang"
    assert ended(tmp_path / "j", monkeypatch, code, 1) == "its writer hung, and ended itself"


@pytest.mark.spec("journal.killed")
@pytest.mark.parametrize("slow", ["add", "ready"])
def test_one_that_has_much_to_do_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    add = "add = writer.Holding.add\ndef slow(*it): time.sleep(0.5); add(*it)\nwriter.Holding.add = slow"
    ready = (
        "ready = writer.Holding.ready\ndef slow(*it):\n for one in ready(*it): time.sleep(0.5); yield one\n"
        "writer.Holding.ready = slow"
    )
    assert ended(tmp_path / "j", monkeypatch, {"add": add, "ready": ready}[slow], 4) == ""
    assert len(list(recorded(tmp_path / "j"))) == 4
