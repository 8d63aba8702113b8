"""The processes under measurement: started, asked for their CPU time and memory, and ended."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO

from attrs import frozen

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
END_SECONDS = 10.0


class NotStarted(Exception):  # noqa: N818 - it says what happened
    """A process ended, or stayed silent, before it listened; `str()` has what it said."""


@frozen
class Server:
    """A process that listens on a loopback port. It must start no processes of its own."""

    pid: int
    port: int

    @property
    def cpu(self) -> int:
        """Nanoseconds of CPU time so far, user and system, of all threads.

        The clock of another process: clock_getcpuclockid(3) makes its id so on Linux. It is exact
        where the ticks of /proc are hundredths of a second.
        """
        return time.clock_gettime_ns((~self.pid << 3) | 2)

    @property
    def memory(self) -> int:
        """Resident bytes now (VmRSS, proc(5))."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0


@contextmanager
def started(module: str, *args: str, environ: Mapping[str, str] = MappingProxyType({})) -> Iterator[Server]:
    """Run `python -m module args`, which prints its port once it listens, until the block ends.

    `environ`: variables that it has beside those of this process.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - this project's own modules
            [sys.executable, "-m", module, *args],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=said,
        )
        try:
            yield Server(process.pid, _port(process, said, f"{module} {' '.join(args)}"))
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None  # noqa: S101 - it was asked for
            process.stdout.close()


def _port(process: "subprocess.Popen[bytes]", said: IO[bytes], name: str) -> int:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    line = process.stdout.readline()
    if not line.strip().isdigit():
        said.seek(0)
        raise NotStarted(f"{name} did not start: {said.read().decode(errors='replace')[-2000:]}")
    return int(line)
