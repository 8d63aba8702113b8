"""A plain HTTP server with fixed answers, for checks that ask over a network."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answers = dict[str, tuple[int, bytes]]


@contextmanager
def answering(answers: Answers) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A server with these answers by path, 404 else: its URL, and what it was asked."""
    asked: list[tuple[str, dict[str, str], bytes]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked.append((self.path, {name.lower(): told for name, told in self.headers.items()}, body))
            status, said = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join(5)
