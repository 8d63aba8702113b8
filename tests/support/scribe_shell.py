"""A user at a prompt who asks what the Scribe has stored."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner, Result


class ScribeShell:
    """With one command, and a home of their own; nothing of the environment is known."""

    def __init__(self, folder: Path, command: Callable[..., None], patch: pytest.MonkeyPatch) -> None:
        self.home = folder / "home"
        self.app = Typer()
        self.app.command()(command)
        for name in ("LOOM_HOME", "LOOM_CONFIG", "XDG_CONFIG_HOME"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(folder))

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(self.app, [*words, "--home", str(self.home)])

    def told(self, *words: str) -> list[str]:
        result = self.run(*words)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout.splitlines()

    def failed(self, *words: str) -> str:
        result = self.run(*words)
        assert (result.exit_code, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        return line
