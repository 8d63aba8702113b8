import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_core.values import ExchangeKey
from loom_shell.replay.reading import JournalError, files, recorded, size
from tests.support.recordings import FOLDER

LOOP = FOLDER / "tool-loop.jsonl"


def copied(folder: Path, lines: bytes, blobs: bytes | None = None) -> Path:
    path = folder / "a.jsonl"
    path.write_bytes(lines)
    path.with_suffix(".blobs").write_bytes(
        LOOP.with_suffix(".blobs").read_bytes() if blobs is None else blobs
    )
    return path


def test_a_folder_is_read_file_by_file_and_events_are_counted() -> None:
    records = list(recorded(FOLDER))
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    assert [*dict.fromkeys(record.run for record in records)] == [path.stem for path in files(FOLDER)]
    assert size(FOLDER) == len(records)


def test_a_record_knows_its_session_what_was_told_then_and_the_digests() -> None:
    records = list(recorded(LOOP))
    assert {record.session for record in records} == {"5e551011-0000-4000-8000-000000000001"}
    told = [record for record in records if record.then]
    assert told
    assert all(isinstance(key, ExchangeKey) for record in told for key in record.then)
    assert all(len(record.digests) == 1 + len(record.then) for record in records)


@pytest.mark.spec("journal.torn")
@given(st.data())
def test_a_file_that_breaks_off_anywhere_reads_as_far_as_it_goes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = LOOP.read_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    records = list(recorded(copied(tmp_path_factory.mktemp("cut"), cut)))
    assert len(records) == sum(b'"e":' in line for line in cut.split(b"\n")[:-1])


@pytest.mark.spec("journal.torn")
def test_a_last_line_whose_blobs_are_not_there_is_not_read(tmp_path: Path) -> None:
    lines = LOOP.read_bytes().splitlines(keepends=True)
    last = next(number for number, line in enumerate(lines) if b'"blob"' in line)
    assert list(recorded(copied(tmp_path, b"".join(lines[: last + 1]), b""))) == []


@pytest.mark.spec("journal.damage", "replay.errors")
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (b"{}\n", "line 3 of .*a.jsonl is no line of a journal: take it out of the folder"),
        (b"\xff\n", "line 3 of .*a.jsonl cannot be read .no JSON.: take it out"),
        (b'{"k":["exchange","x"],"e":["Unheard",{}]}\n', "'Unheard', of which this version knows nothing"),
        (b'{"k":["exchange","x"],"e":["FileChanged",{}]}\n', "FileChanged: Missing required argument 'at'"),
        (b'{"k":["wrong"],"e":["FileChanged",{"at":1}]}\n', "no key"),
        (b"[]\n", "no line of a journal"),
    ],
)
def test_damage_in_the_middle_is_told_with_its_place(tmp_path: Path, damage: bytes, says: str) -> None:
    lines = LOOP.read_bytes().splitlines(keepends=True)
    path = copied(tmp_path, b"".join([*lines[:2], damage, *lines[2:]]))
    with pytest.raises(JournalError, match=says):
        list(recorded(path))


@pytest.mark.spec("journal.damage")
def test_a_pack_that_lost_a_content_is_told(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"line 2 of .*a.blobs does not hold [0-9a-f]{12} whole"):
        list(recorded(copied(tmp_path, LOOP.read_bytes(), b"")))


@pytest.mark.spec("journal.damage", "replay.errors")
def test_what_is_no_journal_is_told(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="holds no journal: give the folder"):
        list(recorded(tmp_path))
    with pytest.raises(JournalError, match=r"there is no journal .*nowhere: give the folder"):
        list(recorded(tmp_path / "nowhere"))
    with pytest.raises(JournalError, match="is no journal"):
        list(recorded(copied(tmp_path, b"\xff\n")))


@pytest.mark.spec("journal.damage")
def test_a_form_of_another_version_is_told(tmp_path: Path) -> None:
    path = copied(tmp_path, b'{"loom":"journal","version":2}\n')
    with pytest.raises(JournalError, match=r"has form 2 .*reads form 1: replay it with the Loom"):
        list(recorded(path))


def test_from_a_loss_on_a_session_is_not_whole(tmp_path: Path) -> None:
    lines = LOOP.read_bytes().splitlines(keepends=True)
    session = json.loads(lines[1])["s"]

    def wholes(*lost: str) -> set[bool]:
        line = json.dumps({"lost": lost, "why": "w"}).encode() + b"\n"
        path = copied(tmp_path, b"".join([lines[0], line, *lines[1:]]))
        return {record.whole for record in recorded(path)}

    assert wholes("another") == {True}
    assert wholes(session) == {False}
    assert wholes("another", "") == {False}
