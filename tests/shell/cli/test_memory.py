import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from loom_shell.cli.memory import memory
from loom_shell.memory.schema import FILE_NAME
from loom_shell.memory.verbatim import MAX_TEXT


class Shell:
    """A user at a prompt, with a home folder of their own."""

    def __init__(self, home: Path) -> None:
        self.file = home / ".local/share/loom" / FILE_NAME

    def run(self, *words: str, given: bytes = b"") -> Result:
        return CliRunner().invoke(memory, words, input=given)

    def told(self, *words: str, given: bytes = b"") -> str:
        result = self.run(*words, given=given)
        assert result.exit_code == 0, result.output
        return result.stdout

    def failed(self, code: int, *words: str, given: bytes = b"") -> str:
        result = self.run(*words, given=given)
        assert (result.exit_code, result.stdout) == (code, "")
        (line,) = result.stderr.splitlines()
        return line


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "LOOM_HOME", "LOOM_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Shell(tmp_path)


@pytest.mark.spec("memory.command")
def test_a_memory_is_added_found_shown_and_forgotten(shell: Shell) -> None:
    assert shell.told("add", "The parser was deployed on Friday.") == "Memory #1 is stored.\n"
    assert shell.told("add", "Cats sleep.", "--from", "web") == "Memory #2 is stored.\n"
    (head, text) = shell.told("search", "deploying").splitlines()
    assert head.startswith("#1  2")
    assert head.endswith("  user")
    assert text == "    The parser was deployed on Friday."
    newest = shell.told("recent", "--hours", "1").splitlines()
    assert [line.strip() for line in newest[1::2]] == ["Cats sleep.", "The parser was deployed on Friday."]
    assert shell.told("forget", "#1") == shell.told("forget", "1") == "Memory #1 is forgotten.\n"
    assert len(shell.told("recent").splitlines()) == 2


@pytest.mark.spec("memory.command")
def test_finding_nothing_is_no_failure(shell: Shell) -> None:
    for words in (("search", "loom"), ("recent",)):
        result = shell.run(*words)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No memory was found.\n")


@pytest.mark.spec("memory.command")
def test_json_is_a_line_for_each_memory(shell: Shell) -> None:
    shell.told("add", "The loom\nweaves.")
    (line,) = shell.told("search", "loom", "--json").splitlines()
    told = json.loads(line)
    assert (told["id"], told["text"], told["provenance"]) == ("1", "The loom\nweaves.", "user")
    assert told["score"] > 0
    assert [line] != shell.told("recent", "--json").splitlines()


@pytest.mark.spec("memory.command")
def test_a_scope_finds_its_own_and_everybodys(shell: Shell) -> None:
    shell.told("add", "The loom.", "--scope", "alpha")
    assert shell.told("search", "loom", "--scope", "alpha")
    assert shell.run("search", "loom", "--scope", "beta").stdout == ""


@pytest.mark.spec("memory.command", "memory.redacted")
def test_a_secret_is_taken_out_and_that_is_said(shell: Shell) -> None:
    result = shell.run("add", "the key is sk-ant-abcdef123456")
    assert result.stderr == "What looks like a secret in it was taken out.\n"
    assert "sk-ant" not in shell.told("recent")
    assert b"sk-ant-abcdef" not in shell.file.read_bytes()


@pytest.mark.spec("memory.terminal")
def test_what_a_memory_holds_is_shown_as_printable_lines(shell: Shell) -> None:
    shell.told("add", "-", given=b"red\x1b[31m\xff\r\n\xe2\x80\xaebidi\tand tab")
    told = shell.told("search", "red")
    assert told.splitlines()[1:] == ["    red[31m\ufffd", r"    \u202ebidi\tand tab"]
    assert "\x1b" not in told


@pytest.mark.spec("memory.command")
@pytest.mark.parametrize(
    ("words", "given", "told"),
    [
        (("add", ""), b"", "loom memory: the memory is not stored: its text is empty"),
        (("add", "-"), b"x" * (MAX_TEXT + 1), "its text is longer than 65536 bytes"),
        (("recent", "--config", "nowhere.toml"), b"", "cannot read nowhere.toml"),
    ],
)
def test_what_was_asked_wrongly_is_one_line_and_exit_code_2(
    shell: Shell, words: tuple[str, ...], given: bytes, told: str
) -> None:
    assert told in shell.failed(2, *words, given=given)


@pytest.mark.spec("memory.command")
def test_a_failure_is_one_line_and_exit_code_1(shell: Shell) -> None:
    shell.told("recent")
    assert shell.failed(1, "forget", "9\n") == (
        r"loom memory: there is no memory '9\n': `loom memory recent` shows their numbers"
    )
    shell.file.write_bytes(b"no database " * 1000)
    assert "is damaged: move it away" in shell.failed(1, "search", "loom")
    assert "is damaged: move it away" in shell.failed(1, "recent")


@pytest.mark.spec("memory.command", "memory.file")
def test_the_folder_can_be_named(shell: Shell, tmp_path: Path) -> None:
    shell.told("add", "The loom.", "--home", str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / FILE_NAME).exists()
    assert not shell.file.exists()


@pytest.mark.spec("memory.command")
def test_without_a_command_the_help_comes(shell: Shell) -> None:
    told = shell.run().output
    assert all(name in told for name in ("add", "search", "recent", "forget"))
