"""`python -m benchmarks.receivers`: what a receiver of spans that is ill costs the client.

The same Loom five times: with no receiver, a well one, and one that is down, slow, or refuses. The
first byte of an answer may come no later for it: exit code 1 when the median round is beyond `TARGET`
times the Loom's with a well one.
"""

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from threading import Event, Thread

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import load, wire
from benchmarks.processes import Server, started
from benchmarks.rounds import ALL_ON, of_calls

ROUNDS = 6
SECONDS = 0.6
TARGET = 1.15
CASES = {"1 KB": wire.SMALL, "200 KB": wire.LARGE}
NONE, WELL = "none", "well"
KINDS = (NONE, WELL, "down", "slow", "refusing")


@contextmanager
def receiver(status: int, *, silent: bool) -> Iterator[str]:
    """The URL of a receiver that answers so; a silent one only when the block is left."""
    over = Event()

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            if silent:
                over.wait()
            try:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Receiving(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    server = Receiving(("127.0.0.1", 0), Answering)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def looms() -> Iterator[dict[str, Server]]:
    """A Loom for each kind of receiver, before one upstream."""
    with ExitStack() as stack:
        upstream = stack.enter_context(started("benchmarks.upstream"))
        origin = f"http://127.0.0.1:{upstream.port}"
        # Bound and not listening: every connection is refused, and nobody else can take the port.
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        urls = {
            NONE: "",
            WELL: stack.enter_context(receiver(200, silent=False)),
            "down": f"http://127.0.0.1:{closed.getsockname()[1]}",
            "slow": stack.enter_context(receiver(200, silent=True)),
            "refusing": stack.enter_context(receiver(403, silent=False)),
        }
        yield {
            kind: stack.enter_context(started("benchmarks.proxies", ALL_ON, origin, *filter(None, [url])))
            for kind, url in urls.items()
        }


async def measure(servers: dict[str, Server]) -> dict[tuple[str, str], list[float]]:
    """Milliseconds to the first byte, median of each round, by size and receiver."""
    found: dict[tuple[str, str], list[float]] = {(case, kind): [] for case in CASES for kind in KINDS}
    for number in range(ROUNDS):
        for case, size in CASES.items():
            for kind in KINDS[:: -1 if number % 2 else 1]:
                done = await load.calls(servers[kind], wire.callers(size, 1, told=True), SECONDS)
                found[case, kind].append(of_calls(done)["first_byte_p50_ms"])
    return found


def main() -> int:
    with looms() as servers:
        found = asyncio.run(measure(servers))
    table = Table("first byte p50, ms: receiver", *CASES, box=box.SIMPLE_HEAD, pad_edge=False)
    missed: list[str] = []
    for kind in KINDS:
        row: list[str] = []
        for case in CASES:
            ratios = [ill / well for ill, well in zip(found[case, kind], found[case, WELL], strict=True)]
            times = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            row.append(f"{median(found[case, kind]):.2f}   {times} × {WELL}")
            if kind != NONE and median(ratios) > TARGET:
                missed.append(f"{case}, {kind}: {median(ratios):.2f} times; the target is {TARGET}")
        table.add_row(kind, *row)
    console = Console(width=110, highlight=False)
    console.print(table)
    for line in missed:
        console.print(f"missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
