"""`python -m benchmarks.hook`: what a hook costs, beside a Python that does nothing.

The least of many runs, taken in turn so that a busy moment meets all alike. Exit code 1 when the
installed command takes 60 ms or more.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from loom_shell import hook
from loom_shell.client_settings import hook_command

RUNS = 30
LIMIT_MS = 60.0
INPUT = json.dumps(
    {
        "session_id": "benchmark",
        "transcript_path": "/transcripts/benchmark.jsonl",
        "cwd": "/",
        "hook_event_name": "UserPromptSubmit",
        "prompt_id": "benchmark-1",
        "prompt": "Say hi. " * 50,
    }
).encode()


def commands() -> dict[str, list[str]]:
    """What is measured; the first one is what the others are compared with."""
    script = str(Path(hook.__file__).resolve())
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "the hook alone": [sys.executable, "-I", "-S", script],
        "as installed (with a shell)": ["/bin/sh", "-c", hook_command(sys.executable, script)],
        "loom hook": [sys.executable, "-m", "loom_shell", "hook"],
    }


def milliseconds(command: list[str]) -> float:
    """Wall time of one run, with the start of the process."""
    began = time.perf_counter()
    subprocess.run(command, input=INPUT, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - our own
    return (time.perf_counter() - began) * 1000


def measure(runs: int) -> dict[str, float]:
    """The least milliseconds of each command."""
    least = dict.fromkeys(commands(), float("inf"))
    for _ in range(runs):
        for name, command in commands().items():
            least[name] = min(least[name], milliseconds(command))
    return least


def main() -> int:
    least = measure(RUNS)
    base = next(iter(least.values()))
    print(f"{'':<28}{'ms':>7}{'ratio':>8}   (least of {RUNS})")  # noqa: T201
    for name, took in least.items():
        print(f"{name:<28}{took:>7.1f}{took / base:>8.2f}")  # noqa: T201
    return 0 if least["as installed (with a shell)"] < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
