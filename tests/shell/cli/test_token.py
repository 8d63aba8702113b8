import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from loom_core.values import Admission
from loom_shell.cli.token import token
from loom_shell.files import sole_writer
from loom_shell.gateway import Gateway, admit, read_tokens
from loom_shell.secret import Secret


class Shell:
    """A user at a prompt, with a home folder of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.file = home / ".local/share/loom/client-tokens"
        self._app = typer.Typer()
        self._app.command()(token)

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(self._app, words)

    def make(self, name: str) -> str:
        result = self.run(name)
        assert result.exit_code == 0, result.stderr
        return result.stdout.removeprefix("ANTHROPIC_AUTH_TOKEN=").removesuffix("\n")

    def refused(self, *words: str) -> str:
        result = self.run(*words)
        assert result.exit_code == 2
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        return line


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "LOOM_HOME", "LOOM_CONFIG", "LOOM_CLIENT_TOKENS_FILE"):
        monkeypatch.delenv(name, raising=False)
    return Shell(tmp_path)


@pytest.mark.spec("gateway.once", "gateway.hashed")
def test_a_token_is_shown_once_and_its_hash_is_kept(shell: Shell) -> None:
    result = shell.run("laptop")
    assert result.exit_code == 0
    match = re.fullmatch(r"ANTHROPIC_AUTH_TOKEN=(loom_[A-Za-z0-9_-]{43})\n", result.stdout)
    assert match
    assert match[1] not in result.stderr
    assert match[1] not in shell.file.read_text()
    assert str(shell.file) in result.stderr
    tokens = read_tokens(shell.file)
    assert [one.name for one in tokens] == ["laptop"]
    headers = ((b"authorization", b"Bearer " + match[1].encode()),)
    assert admit(headers, Gateway(Secret("k"), tokens)) is Admission.TOKEN


@pytest.mark.spec("gateway.once")
def test_a_name_that_is_taken_is_refused_and_changes_nothing(shell: Shell) -> None:
    shell.make("laptop")
    before = shell.file.read_text()
    assert "there is a token named laptop already" in shell.refused("laptop")
    assert shell.file.read_text() == before


@pytest.mark.spec("gateway.revoke")
def test_a_token_taken_back_is_gone_and_the_others_stay(shell: Shell) -> None:
    one, two = shell.make("one"), shell.make("two")
    assert shell.run("--list").stdout == "one\ntwo\n"
    assert shell.run("--revoke", "one").exit_code == 0
    assert shell.run("--list").stdout == "two\n"
    guarded = Gateway(Secret("k"), read_tokens(shell.file))
    assert admit(((b"x-api-key", one.encode()),), guarded) is Admission.REFUSED
    assert admit(((b"x-api-key", two.encode()),), guarded) is Admission.TOKEN
    assert "there is no token named 'one'" in shell.refused("--revoke", "one")


def test_without_any_token_the_list_is_empty(shell: Shell) -> None:
    result = shell.run("--list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "There are no tokens" in result.stderr
    assert not shell.file.exists()


@pytest.mark.parametrize("words", [(), ("a", "--list"), ("--list", "--revoke", "a"), ("a", "--revoke", "b")])
def test_one_thing_is_asked_at_a_time(shell: Shell, words: tuple[str, ...]) -> None:
    assert shell.refused(*words) == "loom token: give one of NAME, --list or --revoke NAME"


@pytest.mark.parametrize("name", ["", "two words", "a\nsha256:x", ".hidden", "x" * 65, "é"])
def test_a_name_that_would_not_fit_the_file_is_refused(shell: Shell, name: str) -> None:
    assert "is no name" in shell.refused(name)
    assert not shell.file.exists()


def test_the_file_is_where_the_settings_say(shell: Shell) -> None:
    shell.run("a", "--home", str(shell.home / "h"))
    shell.run("b", "--client-tokens-file", str(shell.home / "t"))
    (shell.home / "x.toml").write_text("home = 'from-file'")
    shell.run("c", "--config", str(shell.home / "x.toml"))
    assert [one.name for one in read_tokens(shell.home / "h" / "client-tokens")] == ["a"]
    assert [one.name for one in read_tokens(shell.home / "t")] == ["b"]
    assert [one.name for one in read_tokens(shell.home / "from-file" / "client-tokens")] == ["c"]


def test_what_cannot_be_read_or_written_is_one_line(shell: Shell) -> None:
    assert shell.refused("a", "--config", "/nowhere").startswith("loom token: --config: cannot read /nowhere")
    (shell.home / "f").write_text("nonsense\n")
    assert "line 1 of" in shell.refused("a", "--client-tokens-file", str(shell.home / "f"))
    assert "cannot write" in shell.refused("a", "--client-tokens-file", str(shell.home / "f" / "x"))


@pytest.mark.spec("gateway.writers")
def test_two_commands_do_not_lose_each_others_token(shell: Shell) -> None:
    with sole_writer(shell.file):
        assert "another command is changing it" in shell.refused("a")
    shell.make("a")
