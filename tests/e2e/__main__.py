"""`python -m tests.e2e [--client VERSION]`: exit code 0 when every run passed."""

import argparse
import asyncio
import errno
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.e2e.client import PACKAGE, Installed, NotInstalled, install, installed
from tests.e2e.runs import runs_for
from tests.e2e.stage import Wrong

ALL_SECONDS = 240
ISOLATE = (("unshare", "--net"), ("unshare", "--map-root-user", "--net"))
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1


def main(arguments: Sequence[str]) -> int:
    given = _parser().parse_args(arguments)
    try:
        complaint = "" if given.isolated else install(given.client)
        client = installed(given.client)
    except NotInstalled as missing:
        print(f"e2e: {missing}", file=sys.stderr)
        return 1
    if client is None:
        print(f"e2e: npm could not install {PACKAGE}@{given.client}: {complaint}", file=sys.stderr)
        return 1
    if complaint:
        print(f"the client is the one installed earlier: {complaint}", flush=True)
    if not given.isolated and (prefix := _isolation()):
        # This process goes on as that one: nothing is left behind that would have to be ended.
        os.execvp(prefix[0], [*prefix, sys.executable, "-m", "tests.e2e", "--isolated", *arguments])  # noqa: S606
    if given.isolated:
        _raise_loopback()
    print(f"Claude Code {client.version} through the Loom to the simulator")
    print(f"network: {_network()}", flush=True)
    return asyncio.run(_all(client))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="just e2e", description="The real Claude Code through the Loom.")
    parser.add_argument("--client", default="latest", metavar="VERSION", help="version or tag [latest]")
    parser.add_argument("--isolated", action="store_true", help=argparse.SUPPRESS)
    return parser


def _isolation() -> tuple[str, ...]:
    """The command that gives a network namespace here, or nothing where none may be had."""
    if shutil.which("unshare") is None:
        return ()
    for prefix in ISOLATE:
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
            return prefix
    return ()


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))


def _network() -> str:
    """Which network there is, by asking for a way out (192.0.2.0/24 is for examples, RFC 5737)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if sock.connect_ex(("192.0.2.1", 9)) == errno.ENETUNREACH:
            return "loopback only, so the client can reach nothing but the Loom and the simulator"
    return "this machine's; that the client stays on loopback is by its settings alone (no unshare here)"


async def _all(client: Installed) -> int:
    start, failed, count = time.monotonic(), 0, 0
    _end_in_order()
    try:
        async with asyncio.timeout(ALL_SECONDS):
            for run in runs_for(client):
                count += 1
                print(f"\n{run.name}", flush=True)
                try:
                    await run.run(client, lambda line: print(f"  ok    {line}", flush=True))
                except (Wrong, TimeoutError) as error:
                    failed += 1
                    print(f"  WRONG {str(error) or 'it took too long'}", flush=True)
    except TimeoutError:
        print(f"\ne2e: not done after {ALL_SECONDS} seconds", file=sys.stderr)
        return 1
    seconds = time.monotonic() - start
    print(f"\n{count - failed} of {count} runs passed in {seconds:.0f} s")
    return 1 if failed else 0


def _end_in_order() -> None:
    """Told to go, end what was started before going."""
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
