import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import evolve
from typer import Typer
from typer.testing import CliRunner, Result

from loom_shell.cli.inspect import inspect
from loom_shell.inspect.page import page
from loom_shell.replay.reading import recorded
from loom_shell.replay.record import Recorded
from loom_shell.replay.writing import Bounds, Files
from tests.shell.inspect.test_page import stored
from tests.support.conversations import prompt, text
from tests.support.inspected import Story, told

APP = Typer()
APP.command()(inspect)


def write(folder: Path, records: Sequence[Recorded]) -> Path:
    """A journal of these."""
    files = Files(folder, Bounds(), "boot")
    for record in records:
        files.event(evolve(record, digests=("",)))
        for teller in record.then:
            files.told(teller.id, "")
    files.close()
    return folder


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("journal"), told().records)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def complaint(result: Result) -> str:
    assert (result.exit_code, result.stdout) == (1, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("loom: ")
    return line


@pytest.mark.spec("inspect.command")
def test_a_journal_becomes_a_file_of_its_owner(journal: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen.html"
    result = run(journal, "--out", out)
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "seen.html: 11 exchanges, 4 turns," in result.stderr
    expected = told().recording()
    expected.source = journal.name
    assert out.read_bytes() == page(expected)


@pytest.mark.spec("inspect.command")
def test_without_a_name_it_is_written_here(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(journal).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["loom-session.html"]


@pytest.mark.spec("inspect.command")
def test_it_goes_to_standard_output(journal: Path) -> None:
    result = run(journal, "--out", "-")
    assert (result.exit_code, result.stderr) == (0, "")
    assert stored(result.stdout_bytes)["source"] == journal.name


@pytest.mark.spec("inspect.session")
def test_one_session_is_shown(journal: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen.html"
    assert run(journal, "--session", "5e55", "--out", out).exit_code == 0
    assert len(stored(out.read_bytes())["exchanges"]) == 11
    told = complaint(run(journal, "--session", "\x1b[2J", "--out", out))
    assert "no session in" in told
    assert "\x1b" not in told


@pytest.mark.spec("inspect.failure")
def test_what_cannot_be_read_or_written_is_a_sentence(journal: Path, tmp_path: Path) -> None:
    assert "there is no journal" in complaint(run(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "holds no journal" in complaint(run(tmp_path / "empty"))
    assert "has no events yet" in complaint(run(write(tmp_path / "new", [])))
    assert "name another file with --out" in complaint(run(journal, "--out", tmp_path / "none" / "x.html"))
    assert "it is no regular file" in complaint(run(journal, "--out", tmp_path))
    assert "it is no regular file" in complaint(run(journal, "--out", "/dev/null"))


def test_a_torn_end_is_shown_up_to_there(tmp_path: Path) -> None:
    folder = write(tmp_path / "journal", Story().calls("x-1", [prompt("Tea?")], text("Yes.")).records)
    [file] = folder.glob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-900])
    assert sum(1 for _ in recorded(folder)) > 5
    out = tmp_path / "seen.html"
    assert run(folder, "--out", out).exit_code == 0
    assert len(stored(out.read_bytes())["exchanges"]) == 1
