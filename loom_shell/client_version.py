"""Which Claude Code is installed here."""

import re
import shutil
import subprocess

from loom_shell.client_settings import Version

PROGRAM = "claude"
SECONDS = 10


def client_version() -> Version | None:
    """What `claude --version` says; None if there is none, or it does not say within `SECONDS`."""
    program = shutil.which(PROGRAM)
    if program is None:
        return None
    try:
        ran = subprocess.run(  # noqa: S603 - the client of this user, as they would call it
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(rb"\s*(\d{1,6})\.(\d{1,6})\.(\d{1,6})\b", ran.stdout)
    return (int(found[1]), int(found[2]), int(found[3])) if found and ran.returncode == 0 else None
