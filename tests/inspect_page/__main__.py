"""`python -m tests.inspect_page [--shots FOLDER]`: exit code 0 when every check holds."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.inspect_page.browser import BrowserFailedError, browser
from tests.inspect_page.checks import CHECKS, Stage, Wrong


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="just inspect-page", description="loom inspect's page in a Chromium."
    )
    parser.add_argument("--shots", type=Path, metavar="FOLDER", help="where pictures of the page go")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        shots: Path = given.shots or folder / "shots"
        shots.mkdir(parents=True, exist_ok=True)
        try:
            with browser(folder / "profile") as page:
                return _run(Stage(page, folder, shots))
        except BrowserFailedError as failed:
            sys.stderr.write(f"inspect-page: {failed}\n")
            return 1


def _run(stage: Stage) -> int:
    failed = 0
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            check(stage)
        except Wrong as wrong:
            failed += 1
            sys.stdout.write(f"FAILED {name}: {wrong}\n")
        else:
            sys.stdout.write(f"ok     {name}\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
