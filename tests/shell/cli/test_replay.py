import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from loom_core import exchange
from loom_core.actions import Note
from loom_shell.cli import replay as module
from loom_shell.cli.main import command_line
from tests.support.recordings import FOLDER

LOOP = FOLDER / "tool-loop.jsonl"


def loom(*arguments: object) -> Result:
    return CliRunner().invoke(command_line(["replay"]), ["replay", *map(str, arguments)])


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build in which an answer's end is noted."""
    whole = exchange._end

    def noted(key: object, ended: object, *actions: object) -> object:
        state, done = whole(key, ended, *actions)  # type: ignore[arg-type]
        return state, (*done, Note("changed"))

    monkeypatch.setattr(exchange, "_end", noted)


@pytest.mark.spec("replay.check")
def test_what_is_the_same_is_told_so() -> None:
    found = loom(LOOP, "--check")
    assert found.exit_code == 0
    assert "events of 4 exchanges; all that followed is the same" in found.stderr


@pytest.mark.spec("replay.check")
def test_the_first_difference_ends_it_and_is_shown_as_a_dialogue(changed: None) -> None:
    found = loom(LOOP, "--check")
    assert found.exit_code == 1
    lines = found.stdout.splitlines()
    assert "for the first time at event" in lines[0]
    assert any(line.startswith("! ") and ">> UpstreamEnded(" in line for line in lines)
    assert "!     << Note(text='changed')" in lines
    assert lines[-1].startswith("digest then ")
    assert sum(line.startswith("! ") and ">>" in line for line in lines) == 1


@pytest.mark.spec("replay.against")
def test_actions_that_are_the_same_as_saved_ones_are_told_so(tmp_path: Path) -> None:
    assert loom(LOOP, "--save", tmp_path / "saved").exit_code == 0
    found = loom(LOOP, "--against", tmp_path / "saved")
    assert (found.exit_code, "is the same" in found.stderr) == (0, True)


@pytest.mark.spec("replay.against")
def test_the_first_action_that_differs_from_a_saved_one_is_shown_with_it(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    loom(LOOP, "--save", tmp_path / "saved")
    request.getfixturevalue("changed")
    found = loom(LOOP, "--against", tmp_path / "saved")
    assert found.exit_code == 1
    assert found.stdout.splitlines()[-2:] == [
        "    << nothing",
        '  now << exchange:x-2 Note {"text":"changed"}',
    ]


@pytest.mark.spec("replay.against")
def test_a_saved_file_that_is_shorter_or_longer_differs(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    loom(LOOP, "--save", saved)
    whole = saved.read_bytes()
    saved.write_bytes(whole + b"{}\n")
    assert "goes on where this recording ends" in loom(LOOP, "--against", saved).stdout
    saved.write_bytes(b"".join(whole.splitlines(keepends=True)[:5]))
    found = loom(LOOP, "--against", saved)
    assert (found.exit_code, "the file ends here" in found.stdout) == (1, True)
    saved.write_bytes(b"".join(whole.splitlines(keepends=True)[:5]) + b"x\n")
    assert "a line that cannot be read" in loom(LOOP, "--against", saved).stdout


@pytest.mark.spec("replay.print")
def test_events_actions_dialogues_and_spans_can_be_printed() -> None:
    events = loom(LOOP, "--print", "events").stdout.splitlines()
    actions = loom(LOOP, "--print", "actions").stdout.splitlines()
    both = loom(LOOP, "--print", "dialogue").stdout.splitlines()
    spans = [json.loads(line) for line in loom(LOOP, "--print", "spans").stdout.splitlines()]
    assert events[0].startswith("1 exchange x-1 >> RequestReceived(at=")
    assert [line for line in both if ">>" in line and not line.startswith(" ")] == events
    assert sum(line.startswith("    << ") for line in both) == len(actions)
    assert sum("-> turn" in line for line in both) > 0
    assert len(spans) == sum("ExportSpan" in line for line in actions)
    assert "execute_tool Read" in {span["name"] for span in spans}


@pytest.mark.spec("replay.print")
def test_of_one_session_only_its_events_are_printed() -> None:
    layouts = FOLDER / "layouts.jsonl"
    found = loom(layouts, "--print", "events", "--session", "layout-1").stdout.splitlines()
    everything = loom(layouts, "--print", "events").stdout.splitlines()
    assert 0 < len(found) < len(everything)
    assert set(found) < set(everything)


@pytest.mark.spec("replay.lost")
def test_a_session_that_is_not_whole_is_named(tmp_path: Path) -> None:
    lines = LOOP.read_bytes().splitlines(keepends=True)
    session = json.loads(lines[1])["s"]
    lost = json.dumps({"lost": [session], "why": "the queue was full"}).encode() + b"\n"
    (tmp_path / "a.jsonl").write_bytes(b"".join([lines[0], lost, *lines[1:]]))
    shutil.copy(LOOP.with_suffix(".blobs"), tmp_path / "a.blobs")
    found = loom(tmp_path)
    assert f"loom: of {session} not all was written" in found.stderr


@pytest.mark.spec("replay.errors")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "loom: there is no journal nowhere: give the folder of `loom serve --journal`"),
        ((FOLDER.parent,), "holds no journal"),
        (
            (LOOP, "--against", "nowhere"),
            "cannot read nowhere (no such file or directory): make it with --save",
        ),
        ((LOOP, "--against", LOOP), "holds no actions: make it with --save"),
        ((LOOP, "--save", "nowhere/x"), "nowhere/x: no such file or directory"),
        ((LOOP, "--to-test", "--session", "none"), "has no event of that session"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(arguments: tuple[object, ...], says: str) -> None:
    found = loom(*arguments)
    assert found.exit_code == 2
    assert says in found.stderr
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.spec("replay.check")
def test_a_journal_without_digests_is_not_called_the_same(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in LOOP.read_bytes().splitlines()]
    bare = [json.dumps({name: it for name, it in line.items() if name != "d"}) + "\n" for line in lines]
    (tmp_path / "a.jsonl").write_text("".join(bare))
    shutil.copy(LOOP.with_suffix(".blobs"), tmp_path / "a.blobs")
    found = loom(tmp_path, "--check")
    assert (found.exit_code, "no digests" in found.stderr) == (2, True)


@pytest.mark.spec("replay.to-test")
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_session_becomes_a_test_that_passes_and_says_nothing(path: Path) -> None:
    source = loom(path, "--to-test").stdout
    for word in ("Which files", "Look around", "Tea?", "kettle", "Ann asked", "Three files"):
        assert word not in source
    named: dict[str, object] = {}
    exec(compile(source, "retold", "exec"), named)  # noqa: S102 - the test that was made
    test = named["test_the_session_goes_as_it_went"]
    assert callable(test)
    test()


def test_whoever_reads_may_have_seen_enough() -> None:
    command = f"{sys.executable} -m loom_shell replay {FOLDER} --print dialogue | head -1"
    found = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert found.stdout.count("\n") == 1
    assert "Traceback" not in found.stderr
    assert "loom:" not in found.stderr


def test_a_long_recording_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONG", 10)
    monkeypatch.setattr(module, "Console", lambda **_: Console(file=io.StringIO(), force_terminal=True))
    assert loom(LOOP, "--check").exit_code == 0
