import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from loom_shell import hook
from loom_shell.cli.install import install
from loom_shell.client_settings import BASE_URL, FEW, HEADERS, HINTS, SINCE
from loom_shell.turn_block import CANARY

TEXT = '{\n    "model": "opus",\n    "env": {"ANTHROPIC_AUTH_TOKEN": "dummy-token"}\n}\n'


class Case:
    """A user with a home folder, and a client of some version."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.folder = home / ".claude"
        self.folder.mkdir()
        self.file = self.folder / "settings.json"
        self.file.write_text(TEXT)
        self.program = home / "claude"
        self.client("2.1.328 (Claude Code)")
        monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
        monkeypatch.setenv("HOME", str(home))
        for name in ("CLAUDE_CONFIG_DIR", "LOOM_PORT", "LOOM_HOST", "LOOM_CONFIG", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(name, raising=False)

    def client(self, version: str) -> None:
        self.program.write_text(f"#!/bin/sh\necho '{version}'\n")
        self.program.chmod(0o755)

    def install(self, *options: str, code: int = 0) -> str:
        app = typer.Typer()
        app.command()(install)
        ran = CliRunner().invoke(app, list(options))
        assert ran.exit_code == code, ran.output
        return ran.stdout if code == 0 else ran.stderr

    @property
    def settings(self) -> dict[str, dict[str, object]]:
        told = json.loads(self.file.read_text())
        assert isinstance(told, dict)
        return told


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(tmp_path, monkeypatch)


@pytest.mark.spec("install.idempotent", "install.uninstall", "install.backup")
def test_in_again_and_out(case: Case) -> None:
    said = case.install("--source", "me")
    assert "are written into" in said
    assert "settings.json.loom-backup" in said
    assert case.settings["env"][BASE_URL] == "http://127.0.0.1:8080"
    assert case.settings["env"][HINTS] == "1"
    assert case.settings["env"][HEADERS] == "x-loom-source: me"
    assert list(case.settings["hooks"]) == list(SINCE)
    once = case.file.read_bytes()
    assert "stays as it is: all is there" in case.install()
    assert case.file.read_bytes() == once
    assert "are taken out of" in case.install("--uninstall")
    assert case.file.read_text() == TEXT
    assert [path.name for path in case.folder.iterdir()] == ["settings.json"]
    assert "nothing of ours is in it" in case.install("--uninstall")


def test_the_installed_command_answers(case: Case) -> None:
    case.install()
    command = case.settings["hooks"]["UserPromptSubmit"][0]["hooks"][0]["command"]  # type: ignore[index]
    assert command.startswith(sys.executable)
    assert str(Path(hook.__file__).resolve()) in command
    given = json.dumps({"hook_event_name": "UserPromptSubmit", "session_id": "s", "prompt": "hi"}).encode()
    ran = subprocess.run(["sh", "-c", command], input=given, capture_output=True, timeout=20, check=True)
    assert CANARY.encode() in ran.stdout


@pytest.mark.spec("install.events")
@pytest.mark.parametrize("version", ["1.0.128", "2.0.76 (Claude Code)", "unknown"])
def test_an_older_or_unknown_client_gets_few_events(case: Case, version: str) -> None:
    case.client(version)
    case.install()
    assert set(case.settings["hooks"]) == FEW


@pytest.mark.spec("install.dry-run")
def test_a_dry_run_shows_a_diff_and_writes_nothing(case: Case) -> None:
    said = case.install("--dry-run", "--url", "http://[::1]:9")
    assert said.startswith(f"--- {case.file} (now)\n+++ {case.file} (then)\n@@ -1,4 +1,")
    assert f'+    "env": {{"ANTHROPIC_AUTH_TOKEN": "(hidden)", "{BASE_URL}": "http://[::1]:9", ' in said
    assert "dummy-token" not in said
    assert case.file.read_text() == TEXT
    assert len(list(case.folder.iterdir())) == 1
    case.install()
    assert "stays as it is" in case.install("--dry-run")
    assert '-    "hooks": {' in case.install("--dry-run", "--uninstall")
    assert case.settings["hooks"]


def test_where_the_loom_is(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_PORT", "9001")
    case.install()
    assert case.settings["env"][BASE_URL] == "http://127.0.0.1:9001"
    case.install("--url", "https://loom.example.org/")
    assert case.settings["env"][BASE_URL] == "https://loom.example.org"
    case.install("--source", "me")
    assert case.settings["env"][BASE_URL] == "https://loom.example.org"
    case.install("--uninstall")
    assert case.file.read_text() == TEXT


def test_the_folder_is_told_by_flag_or_variable(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(case.home / "other"))
    case.install()
    assert (case.home / "other" / "settings.json").is_file()
    case.install("--claude-dir", "~/third")
    assert (case.home / "third" / "settings.json").is_file()
    assert case.file.read_text() == TEXT


@pytest.mark.spec("install.refuses")
@pytest.mark.parametrize(
    ("options", "text", "told"),
    [
        (["--url", "nonsense"], TEXT, "--url must be"),
        (["--url", "http://user:dummy@h"], TEXT, "--url must be"),
        (["--source", "two words"], TEXT, "--source must be"),
        (["--source", "a\nx: y"], TEXT, "--source must be"),
        ([], '{\n  "a": 1,\n}', "line 2: a comma after the last entry"),
        ([], "{ // why\n}", "line 1: a comment"),
        (["--uninstall"], "{ // why\n}", "line 1: a comment"),
        ([], '{"hooks": []}', "hooks must be an object"),
    ],
)
def test_what_is_refused_is_refused_in_one_line(case: Case, options: list[str], text: str, told: str) -> None:
    case.file.write_text(text)
    said = case.install(*options, code=2)
    assert said.startswith("loom install: ")
    assert told in said
    assert said.count("\n") == 1
    assert "dummy" not in said
    assert case.file.read_text() == text


def test_a_wrong_setting_of_the_loom_stops_it(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_PORT", "many")
    assert "LOOM_PORT is 'many'" in case.install(code=2)


def test_what_the_user_changed_is_told(case: Case) -> None:
    case.install()
    case.file.write_text(case.file.read_text().replace("http://127.0.0.1:8080", "http://theirs"))
    assert f"Left: env.{BASE_URL} was changed since" in case.install("--uninstall")
