import json
import subprocess
import sys

import pytest

from loom_shell.turn_block import CANARY

PROGRAM = "import typer; from loom_shell.cli.hook import hook; typer.run(hook)"


@pytest.mark.spec("hook.command")
def test_by_way_of_the_command_line_it_answers_all_the_same() -> None:
    given = json.dumps({"hook_event_name": "UserPromptSubmit", "session_id": "s", "prompt": "hi"}).encode()
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=given, capture_output=True, timeout=30, check=True
    )
    assert CANARY.encode() in ran.stdout
    assert ran.stderr == b""


def test_its_help_says_what_it_is_for() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--help"], capture_output=True, timeout=30, check=True
    )
    assert b"Answer a hook of Claude Code" in ran.stdout
