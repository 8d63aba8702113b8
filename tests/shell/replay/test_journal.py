import json
import os
import signal
import stat
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core.actions import LogExchange, Note, SendChunk, SendUpstream
from loom_core.encoding import decoded
from loom_core.events import (
    FileRead,
    PositionLoaded,
    RequestChunkReceived,
    TranscriptNamed,
    UpstreamChunkReceived,
)
from loom_core.position import Position, digest
from loom_core.values import ExchangeKey
from loom_shell.config import ConfigError, load
from loom_shell.log import Log
from loom_shell.replay import journal as module
from loom_shell.replay.checking import Check, parts
from loom_shell.replay.happened import CHUNKS
from loom_shell.replay.journal import Journal, journal_of
from loom_shell.replay.reading import recorded
from loom_shell.replay.recoding import done, undone
from loom_shell.replay.running import stepped
from tests.support import planted
from tests.support.conversations import answer, prompt
from tests.support.journalled import Live
from tests.support.journals import MEASURED, fills_the_disk, journal, ordered, writing, written
from tests.support.recordings import STORIES, asked, tool_loop
from tests.support.weaving import MAIN, WHOSE

API_KEY = "sk-ant-api03-AAAAbbbbCCCCddddEEEE"
OWN = "a-credential-of-no-known-form"
TOKEN = "ghp_abcdefghijklmnop1234"
SECRETS = (API_KEY, OWN, TOKEN)


def secretive(live: Live) -> None:
    """Secrets everywhere: headers, body, metadata, an answer in odd pieces, a refusal."""
    lines = (*WHOSE, MAIN, (b"Authorization", b"Bearer " + OWN.encode()), (b"x-api-key", API_KEY.encode()))
    messages = [prompt(f"My key is {API_KEY}, and {TOKEN}.", BLOCK % TOKEN)]
    for _ in range(2):
        key = live.asks(asked(*messages), lines, cut=13)
        frames = b"".join(live.frames(key)).replace(b"warp", TOKEN.encode())
        stream = frames + b": %b %b\n\n" % (API_KEY.encode(), OWN.encode())
        live.heads(key, headers=((b"content-type", b"text/event-stream"), (b"set-cookie", OWN.encode())))
        live.says(key, *(stream[at : at + 11] for at in range(0, len(stream), 11)))
        live.ends(key)
        messages += [answer(f"It is {TOKEN}."), prompt("And now?")]
    live.stops()


CANARY = "LOOM_METADATA_UlVCQkVSRFVDSw"
BLOCK = f'UserPromptSubmit hook additional context: {CANARY} {{"canary":"{CANARY}","prompt":"%s"}} {CANARY}'


@pytest.mark.spec("journal.secrets", "journal.names")
def test_no_secret_is_found_in_a_journal_and_it_replays(tmp_path: Path) -> None:
    with journal(tmp_path / "j") as book:
        live = Live(book)
        secretive(live)
    # Neither in one place nor put together again.
    events = [record.event for record in recorded(tmp_path / "j")]
    bodies = [b"".join(it.data for it in events if isinstance(it, kind)) for kind in CHUNKS]
    found = b"".join((written(tmp_path / "j"), *bodies))
    assert b"My key is [redacted" in found
    for secret in SECRETS:
        for size in range(12, len(secret) + 1):
            assert secret[-size:].encode() not in found
    check = Check()
    assert [it for part in parts(recorded(tmp_path / "j")) if (it := check.differs(part))] == []
    kinds = {key: [type(it) for it in did] for key, did in live.did.items() if isinstance(key, ExchangeKey)}
    replayed = ordered(stepped(recorded(tmp_path / "j")))
    assert {key: [type(it) for it in replayed[key]] for key in kinds} == kinds


@pytest.mark.spec("replay.same", "journal.lossless")
def test_all_stories_replay_as_they_came_through_the_pipe(tmp_path: Path) -> None:
    with journal(tmp_path / "j") as book:
        for name, story in STORIES.items():
            story(Live(book, process=name))
    check = Check()
    assert [it for part in parts(recorded(tmp_path / "j")) if (it := check.differs(part))] == []
    assert check.compared > 500


@pytest.mark.spec("journal.names")
def test_what_was_decided_is_woven_again_though_its_names_had_a_secret_in_them(tmp_path: Path) -> None:
    with journal(tmp_path / "j") as book:
        live = Live(book)
        secretive(live)
    did = ordered(stepped(recorded(tmp_path / "j")))
    ups = [it.body for it in did[ExchangeKey("x-2")] if isinstance(it, SendUpstream)]
    lives = [it.body for it in live.did[ExchangeKey("x-2")] if isinstance(it, SendUpstream)]
    assert [len(it or b"") for it in ups] == [len(it or b"") for it in lives]
    assert b"I am Ann." in (ups[0] or b"")


@pytest.mark.spec("journal.encoded")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_compressed_answer_with_a_secret_is_read_by_a_replay_as_it_was_by_the_live_run(
    tmp_path: Path, coding: str
) -> None:
    head = ((b"content-type", b"text/event-stream"), (b"content-encoding", coding.encode()))
    with journal(tmp_path / "j") as book:
        live = Live(book)
        for secret in ("warp", TOKEN):
            key = live.asks(asked(prompt("Tea?")), (*WHOSE, MAIN))
            stream = done((coding,), b"".join(live.frames(key)).replace(b"warp", secret.encode()))
            live.heads(key, headers=head)
            live.says(key, stream[:20], stream[20:])
            live.ends(key)
    did = ordered(stepped(recorded(tmp_path / "j")))
    for key in (ExchangeKey("x-1"), ExchangeKey("x-2")):
        (then,), (now,) = (
            [it for it in found[key] if isinstance(it, LogExchange)] for found in (live.did, did)
        )
        assert now == evolve(then, relayed=now.relayed)
        assert then.seen
        assert then.seen.output_tokens
        assert [type(it) for it in did[key]] == [type(it) for it in live.did[key]]
        told = decoded((coding,), b"".join(it.data for it in did[key] if isinstance(it, SendChunk)))
        assert TOKEN.encode() not in (told or TOKEN.encode())
    assert did[ExchangeKey("x-1")] == live.did[ExchangeKey("x-1")]


@pytest.mark.spec("journal.encoded")
def test_what_is_no_coding_is_left_out_and_its_length_kept(tmp_path: Path) -> None:
    with journal(tmp_path / "j") as book:
        live = Live(book)
        key = live.asks(asked(prompt("Tea?")), (*WHOSE, MAIN))
        live.heads(key, headers=((b"content-encoding", b"lzw"),))
        live.says(key, b"tea" * 9)
        live.ends(key)
    did = ordered(stepped(recorded(tmp_path / "j")))
    assert [it.data for it in did[key] if isinstance(it, SendChunk)] == [bytes(27)]


@pytest.mark.hypothesis
@pytest.mark.spec("journal.secrets", "journal.encoded")
@given(
    st.data(),
    planted.said(),
    st.integers(0, 2),
    st.sampled_from([(), ("gzip",), ("deflate", "br"), ("zstd",)]),
)
def test_a_journal_holds_no_secret_however_it_came(
    how: st.DataObject, said: tuple[str, str], depth: int, codings: tuple[str, ...]
) -> None:
    secret, text = said
    draw, named = how.draw, ((b"content-encoding", ", ".join(codings).encode()),)
    lines = {key: draw(planted.nested(text, depth + 1)) for key in "ab"}
    said_then = done(codings, draw(planted.streamed(draw(planted.nested(text, depth)))))
    with TemporaryDirectory() as folder:
        with writing(Path(folder, "j")) as book:
            live = Live(book)
            up = done(codings, lines["a"].encode("utf-8", "surrogatepass"))
            key = live.asks(up, (*WHOSE, MAIN, *named), cut=draw(st.integers(7, 90)))
            live.heads(key, headers=named)
            live.says(key, *draw(planted.pieces(said_then)))
            live.ends(key)
            file, data = live.follows("/t/x.jsonl"), lines["b"].encode("utf-8", "surrogatepass") + b"\n"
            live.dispatch(file, TranscriptNamed(live.at(), "s"))
            live.dispatch(file, FileRead(live.at(), "1", 0, data, len(data), is_current=True))
        events = [record.event for record in recorded(Path(folder, "j"))]
        found = {kind: b"".join(it.data for it in events if isinstance(it, kind)) for kind in CHUNKS}
        shown = written(Path(folder, "j"))
    for kind, read in {
        RequestChunkReceived: lambda it: planted.read(it, depth + 1),
        UpstreamChunkReceived: lambda it: planted.read(planted.heard(it.encode()), depth),
        FileRead: lambda it: planted.read(it, depth + 1),
    }.items():
        told = undone(() if kind is FileRead else codings, found[kind])
        assert told is not None
        assert not planted.shows(secret, read(told[0].decode()))
    assert not planted.shows(secret, shown.decode("utf-8", "replace"))


@pytest.mark.spec("journal.secrets")
def test_a_transcript_goes_on_where_it_was_though_there_was_a_secret_before(tmp_path: Path) -> None:
    lines = b'{"uuid":"u-1","message":"%b"}\n{"uuid":"u-2"}\n' % API_KEY.encode()
    first = lines.index(b"\n") + 1
    position = Position(first, "1", digest(lines[:first]), first)
    with journal(tmp_path / "j") as book:
        live = Live(book)
        key = live.follows("/t/x.jsonl")
        live.dispatch(key, TranscriptNamed(live.at(), "s"))
        live.dispatch(key, PositionLoaded(live.at(), position))
        live.dispatch(key, FileRead(live.at(), "1", 0, lines, len(lines), is_current=True))
    assert API_KEY.encode() not in written(tmp_path / "j")
    did = ordered(stepped(recorded(tmp_path / "j")))[key]
    assert [type(it) for it in did] == [type(it) for it in live.did[key]]
    assert [line.line_id for line in did[-1].lines] == ["u-2"]  # type: ignore[union-attr]


@pytest.mark.spec("journal.private")
def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    with journal(tmp_path / "new" / "j") as book:
        tool_loop(Live(book))
    assert stat.S_IMODE((tmp_path / "new" / "j").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new" / "j").iterdir()} == {0o600}


@pytest.mark.spec("journal.private")
def test_a_folder_that_others_may_look_into_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    config = load({"journal": str(tmp_path)}, {"HOME": str(tmp_path)})
    with pytest.raises(ConfigError, match="chmod 700 it, or give --journal a folder that is not there yet"):
        journal_of(config, Log(2))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = load({"journal": str(tmp_path / "file" / "j")}, {"HOME": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"not a directory.*give --journal another folder"):
        journal_of(config, Log(2))


def test_without_the_setting_there_is_no_journal(tmp_path: Path) -> None:
    assert journal_of(load({}, {"HOME": str(tmp_path)}), Log(2)) is None


@pytest.mark.spec("journal.never-waits", "replay.lost")
def test_what_finds_no_room_is_lost_and_a_line_says_of_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.3)
    monkeypatch.setattr(module, "MOST", 8)
    notes: list[str] = []
    book = Journal(tmp_path / "j", notes.append)
    live = Live(book)
    for _ in range(20):
        live.asks(asked(prompt("Tea?")), (*WHOSE, MAIN))
    book.close(30)
    (note,) = notes
    assert "the journal lost events of 8 exchanges" in note
    lines = [
        json.loads(line)
        for path in (tmp_path / "j").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert "" in next(line["lost"] for line in lines if "lost" in line)
    assert list(recorded(tmp_path / "j"))


@pytest.mark.spec("journal.never-waits")
def test_chunks_beyond_the_room_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.3)
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    notes: list[str] = []
    book = Journal(tmp_path / "j", notes.append)
    for _ in range(5):
        book(ExchangeKey("x-1"), UpstreamChunkReceived(1, b"x" * 60))
    book.close(30)
    assert len(notes) == 1
    assert len(list(recorded(tmp_path / "j"))) == 1


@pytest.mark.spec("journal.disk")
def test_a_disk_that_takes_nothing_ends_the_journal_with_one_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MEASURED, raising=False)
    notes: list[str] = []
    book = Journal(tmp_path / "j", notes.append)
    fills_the_disk(book._writer)
    tool_loop(Live(book))
    book.close(30)
    (note,) = notes
    assert "no space left on device" in note
    assert "nothing more is recorded until the Loom is restarted" in note


@pytest.mark.spec("journal.writer")
def test_a_writer_that_dies_ends_the_journal_with_one_note_and_nothing_else(tmp_path: Path) -> None:
    notes: list[str] = []
    noted = threading.Event()
    book = Journal(tmp_path / "j", lambda text: (notes.append(text), noted.set()))
    live = Live(book)
    live.answered(live.asks(asked(prompt("Tea?")), (*WHOSE, MAIN)))
    os.kill(book._writer.pid, signal.SIGKILL)
    # Nothing has to happen for it to be seen.
    assert noted.wait(30)
    tool_loop(live)
    book.close(30)
    (note,) = notes
    assert "the journal has stopped (its writer ended with status -9)" in note
    assert not any(isinstance(it, Note) for did in live.did.values() for it in did)


@pytest.mark.spec("journal.writer")
def test_what_comes_once_a_writer_is_dead_is_kept_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    notes: list[str] = []
    noted = threading.Event()
    book = Journal(tmp_path / "j", lambda text: (notes.append(text), noted.set()))
    os.kill(book._writer.pid, signal.SIGKILL)
    assert noted.wait(30)
    until = time.monotonic() + 30
    for _ in range(5):
        book(ExchangeKey("x-1"), UpstreamChunkReceived(1, b"x" * 60))
        while book._queue:
            assert time.monotonic() < until
            time.sleep(0.002)
    book.close(30)
    assert len(notes) == 1


@pytest.mark.spec("journal.never-waits", "journal.killed")
def test_a_writer_that_stands_still_keeps_nobody_and_is_not_waited_for_long(tmp_path: Path) -> None:
    notes: list[str] = []
    book = Journal(tmp_path / "j", notes.append)
    os.kill(book._writer.pid, signal.SIGSTOP)
    for _ in range(40):
        book(ExchangeKey("x-1"), UpstreamChunkReceived(1, b"x" * 10_000))
    book.close(0.1)
    assert notes == ["the journal was not written to its end within 0.1 seconds: its end may be lost"]
    os.kill(book._writer.pid, signal.SIGCONT)
    book.close(30)
    assert len(notes) == 1
    assert len(list(recorded(tmp_path / "j"))) == 40


def test_what_cannot_be_handed_over_ends_the_journal_and_nothing_else(tmp_path: Path) -> None:
    notes: list[str] = []
    book = Journal(tmp_path / "j", notes.append)
    book(ExchangeKey("x-1"), UpstreamChunkReceived(1, b"x"))
    book(ExchangeKey("x-1"), lambda: None)  # type: ignore[arg-type]
    book.close(30)
    (note,) = notes
    assert "lambda" in note
    assert "nothing more is recorded until the Loom is restarted" in note
