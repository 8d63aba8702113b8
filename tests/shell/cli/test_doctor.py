import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from loom_shell.cli.doctor import doctor

NAMES = ["client", "settings", "hook", "proxy", "compaction", "profiles", "store", "memory", "exporter"]
PROGRAM = """
import sys, typer
from loom_shell.cli.doctor import doctor
from loom_shell.cli.install import install
app = typer.Typer()
app.command()(doctor)
app.command()(install)
app()
"""


class Case:
    def __init__(self, home: Path) -> None:
        program = home / "claude"
        program.write_text("#!/bin/sh\necho '2.1.328 (Claude Code)'\n")
        program.chmod(0o755)
        self.environ = {"HOME": str(home), "PATH": f"{home}:/usr/bin:/bin", "PYTHONIOENCODING": "utf-8"}

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            env={**self.environ, **environ},
            capture_output=True,
            encoding="utf-8",
            timeout=40,
            check=False,
        )

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The real proxy, on a free port."""
        command = [sys.executable, "-m", "loom_shell", "serve", "--port", "0"]
        with subprocess.Popen(
            command, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as loom:
            try:
                assert loom.stdout
                for line in loom.stdout:
                    if found := re.search(r"ANTHROPIC_BASE_URL=(http://\S+)", line):
                        yield found[1]
                        break
                else:
                    pytest.fail("`loom serve` did not start")
            finally:
                loom.kill()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.mark.spec("doctor.chain", "doctor.hook", "doctor.json", "doctor.starts-nothing")
def test_a_chain_that_is_whole_is_well(case: Case, tmp_path: Path) -> None:
    with case.serving() as url:
        assert case.run("install", "--url", url).returncode == 0
        ran = case.run("doctor")
        told = case.run("doctor", "--json")
    assert ran.returncode == 0, ran.stdout
    assert not (tmp_path / ".local/share/loom").exists()
    lines = ran.stdout.splitlines()
    assert [line[0] for line in lines] == ["✓"] * 5 + ["–"] * 4
    assert [line.split()[1] for line in lines] == NAMES
    checks = json.loads(told.stdout)
    assert (told.returncode, checks["ok"]) == (0, True)
    assert [(it["name"], it["state"]) for it in checks["checks"]] == list(
        zip(NAMES, ["ok"] * 5 + ["absent"] * 4, strict=True)
    )


@pytest.mark.spec("doctor.chain", "doctor.json")
def test_a_chain_that_is_broken_is_told_with_what_to_do(case: Case) -> None:
    ran = case.run(
        "doctor", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", LOOM_REDIS_URL="redis://127.0.0.1:1"
    )
    assert ran.returncode == 1
    assert [line[0] for line in ran.stdout.splitlines()] == ["✓", "✗", "–", "✗", "–", "–", "✗", "–", "✗"]
    assert "run `loom install`" in ran.stdout
    told = json.loads(case.run("doctor", "--json").stdout)
    assert told["ok"] is False
    assert told["checks"][1]["todo"] == "run `loom install`"


def test_the_command_runs_in_this_process_as_well(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", case.environ["PATH"])
    monkeypatch.setenv("LOOM_TELEMETRY_EXPORTERS", "http://127.0.0.1:1")
    app = typer.Typer()
    app.command()(doctor)
    ran = CliRunner().invoke(app, ["--claude-dir", str(tmp_path)])
    assert ran.exit_code == 1
    assert [line.split()[1] for line in ran.stdout.splitlines()] == NAMES
    assert (
        json.loads(CliRunner().invoke(app, ["--claude-dir", str(tmp_path), "--json"]).stdout)["ok"] is False
    )
    monkeypatch.setenv("LOOM_PORT", "many")
    assert "✗ config" in CliRunner().invoke(app, ["--claude-dir", str(tmp_path)]).stdout


@pytest.mark.spec("doctor.chain", "doctor.secrets")
def test_a_wrong_setting_of_the_loom_is_a_finding(case: Case) -> None:
    ran = case.run("doctor", LOOM_REDIS_URL="redis://:dummy-password@h/x")
    assert ran.returncode == 1
    assert "✗ config" in ran.stdout
    assert "dummy" not in ran.stdout + ran.stderr
