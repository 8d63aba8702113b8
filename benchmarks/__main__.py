"""`python -m benchmarks`: one run, one table; exit code 1 when a target is missed."""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import report
from benchmarks.load import WrongAnswer
from benchmarks.processes import NotStarted
from benchmarks.rounds import FULL, QUICK, run

_WIDTH = 160
"""Columns the table wants; a narrower terminal would break its cells."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="just bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="some 20 seconds: rough figures")
    parser.add_argument("--no-targets", action="store_true", help="only print; a missed target is no failure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round there")
    asked = parser.parse_args()
    out, progress = Console(width=_WIDTH, highlight=False), Console(stderr=True, highlight=False)
    if sys.platform != "linux":
        progress.print("just bench reads the CPU clocks of other processes, and knows how on Linux only.")
        return 2
    try:
        result, seconds = run(QUICK if asked.quick else FULL, progress.print)
    except (NotStarted, WrongAnswer) as error:
        progress.print(f"just bench: {error}", markup=False)
        return 2
    report.show(result, seconds, out)
    if asked.json:
        asked.json.write_text(json.dumps(report.raw(result), indent=2) + "\n", encoding="utf-8")
    missed = [] if asked.no_targets else report.missed(result)
    for line in missed:
        out.print(f"missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
