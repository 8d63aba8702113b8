import json
from pathlib import Path

import pytest

from loom_shell.cli.search import AROUND, search
from loom_shell.scribe import FILE_NAME, Database
from tests.support.scribe_shell import ScribeShell
from tests.support.scribed import told


class Shell(ScribeShell):
    def store(self, *texts: str, **more: str) -> None:
        database = Database(self.home / FILE_NAME)
        there = database.count() if (self.home / FILE_NAME).exists() else 0
        database.store([told(there + i, text, **more) for i, text in enumerate(texts)])
        database.close()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("TZ", "UTC")
    return Shell(tmp_path, search, monkeypatch)


@pytest.mark.spec("scribe.search")
def test_each_line_is_shown_with_what_is_around_the_words(shell: Shell) -> None:
    shell.store("They parsed it.", "x" * 1_000 + " so we parse " + "y" * 1_000)
    head, text, *rest = shell.told("parsing")
    assert head.startswith("2026-01-0")
    assert head.endswith("  user  s1")
    assert text.startswith("    …xxx")
    assert text.endswith("yyy…")
    assert " so we parse " in text
    assert len(text) < AROUND + 10
    assert rest[1] == "    They parsed it."


@pytest.mark.spec("scribe.search", "scribe.filters")
def test_what_is_asked_for_limits_what_is_found(shell: Shell) -> None:
    shell.store("loom one", "loom two")
    shell.store("loom three", session="t1", role="assistant")
    assert len(shell.told("loom")) == 6
    assert len(shell.told("loom", "--limit", "1")) == 2
    assert shell.told("loom", "--session", "t")[1] == "    loom three"
    assert shell.told("loom", "--role", "assistant")[1::2] == ["    loom three"]
    assert len(shell.told("loom", "--since", "2026-01-01T00:00:01Z")) == 4
    assert len(shell.told("loom", "--since", "1000w")) == 6
    assert len(shell.told('"loom two"')) == 2


@pytest.mark.spec("scribe.search")
def test_json_is_a_line_for_each(shell: Shell) -> None:
    shell.store("The loom\nweaves \x1b[31m \x7f.")
    (line,) = shell.told("loom", "--json")
    told_ = json.loads(line)
    assert told_["text"] == "The loom\nweaves \x1b[31m \x7f."
    assert (told_["session"], told_["role"], told_["at"]) == ("s1", "user", "2026-01-01T00:00:00.250Z")
    assert "raw" not in told_
    assert line.isprintable()


@pytest.mark.spec("scribe.search")
def test_finding_nothing_is_no_failure(shell: Shell) -> None:
    shell.store("loom")
    result = shell.run("warp")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "Nothing was found.\n")


@pytest.mark.spec("scribe.terminal")
def test_what_a_line_holds_is_shown_as_printable_text(shell: Shell) -> None:
    hostile = "loom \x1b]0;owned\x07 \x9b31m \u202egnp.exe \r\n [bold]x[/bold] :smile:"
    shell.store(hostile, session="s\x1b[31m", role="us\x1b[31mer")
    lines = shell.told("loom")
    assert all(one.isprintable() for one in lines)
    assert "[bold]x[/bold] :smile:" in lines[1]


@pytest.mark.spec("scribe.none")
def test_without_a_database_there_is_one_line(shell: Shell) -> None:
    line = shell.failed("loom")
    assert line.startswith("loom: the database of transcripts ")
    assert line.endswith("transcripts.sqlite is not there yet: `loom serve` or `loom scribe` makes it")
    assert not shell.home.exists()


@pytest.mark.spec("scribe.since", "scribe.syntax")
@pytest.mark.parametrize(
    ("words", "told_"),
    [
        (("...",), "there is no word to look for in '...'"),
        (("loom", "--since", "soon\n"), r"--since is 'soon\n': it must be a number with m, h, d or w"),
        (("loom", "--config", "nowhere.toml"), "cannot read nowhere.toml"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(shell: Shell, words: tuple[str, ...], told_: str) -> None:
    shell.store("loom")
    assert told_ in shell.failed(*words)
