import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loom_shell.cli.main import COMMANDS, command_line, main
from tests.support.child import environment


@pytest.mark.spec("server.commands")
def test_the_help_names_every_command() -> None:
    result = CliRunner().invoke(command_line(["--help"]), ["--help"])
    assert result.exit_code == 0
    for name in COMMANDS:
        assert name in result.stdout


@pytest.mark.spec("server.commands")
def test_without_a_command_the_help_comes() -> None:
    result = CliRunner().invoke(command_line([]), [])
    assert all(name in result.output for name in COMMANDS)


@pytest.mark.spec("server.commands")
def test_the_version_is_the_packages_own() -> None:
    result = CliRunner().invoke(command_line(["--version"]), ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"loom {version('loom')}\n")


@pytest.mark.spec("server.commands")
def test_an_unknown_command_is_refused_with_exit_code_2() -> None:
    result = CliRunner().invoke(command_line(["serv"]), ["serv"])
    assert result.exit_code == 2
    assert "serv" in result.output


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.spec("server.commands")
def test_every_command_has_help_of_its_own(name: str) -> None:
    result = CliRunner().invoke(command_line([name, "--help"]), [name, "--help"])
    assert result.exit_code == 0
    assert f"{name} [OPTIONS]" in result.stdout


@pytest.mark.spec("server.commands")
def test_main_takes_the_command_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["loom", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("loom ")


@pytest.mark.spec("server.commands")
def test_only_the_command_that_was_called_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys; from loom_shell.cli.main import command_line; command_line(['token', 'x']);"
        "print([n for n in sys.modules if n.startswith('loom_shell.cli.')], 'hypercorn' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ended.stdout == "['loom_shell.cli.main', 'loom_shell.cli.token'] False\n"
