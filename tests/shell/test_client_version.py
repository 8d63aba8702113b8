from pathlib import Path

import pytest

from loom_shell import client_version as module
from loom_shell.client_version import client_version


@pytest.fixture
def claude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program = tmp_path / "claude"
    program.touch(0o755)
    return program


@pytest.mark.spec("install.events")
@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("echo '2.1.328 (Claude Code)'", (2, 1, 328)),
        ("echo 1.0.53", (1, 0, 53)),
        ("echo two", None),
        ("echo 2.1.9; exit 1", None),
        ("echo 2.1", None),
    ],
)
def test_the_client_says_its_version(claude: Path, script: str, version: object) -> None:
    claude.write_text(f"#!/bin/sh\n{script}\n")
    assert client_version() == version


def test_a_client_that_hangs_or_cannot_start_has_none(claude: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    claude.write_text("#!/bin/sh\nexec sleep 20\n")
    assert client_version() is None
    claude.write_text("#!/no/such/program\n")
    assert client_version() is None


def test_no_client_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert client_version() is None
