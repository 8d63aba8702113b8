import subprocess
import sys

import pytest


def loom(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "loom_shell", *arguments]
    return subprocess.run(command, input=given, capture_output=True, timeout=30, check=False)


@pytest.mark.spec("hook.command")
def test_a_hook_is_answered_before_the_command_line_is_imported() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "loom_shell", "hook", "Stop"]
    ran = subprocess.run(command, input=b"{}", capture_output=True, timeout=30, check=True)
    imported = {line.rpartition(b"|")[2].strip() for line in ran.stderr.splitlines()}
    assert ran.stdout == b"{}\n"
    assert b"loom_shell.hook" in imported
    assert not imported & {b"typer", b"rich", b"attrs", b"click", b"loom_shell.cli"}


def test_asked_for_help_the_command_line_answers() -> None:
    ran = loom("hook", "--help")
    assert ran.returncode == 0
    assert b"Answer a hook of Claude Code" in ran.stdout


def test_any_other_command_is_the_command_lines() -> None:
    ran = loom("token", "--help")
    assert ran.returncode == 0
    assert b"Make a token for a client of this Loom" in ran.stdout
