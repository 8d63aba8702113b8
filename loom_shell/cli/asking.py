"""How a command asks a running Loom for one of its pages."""

import http.client
import io
import sys
from typing import NoReturn, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
import typer
from rich.console import Console

from loom_shell.config import load
from loom_shell.printable import printable

T = TypeVar("T")

SECONDS = 5.0
"""What one request gets."""
MAX_ANSWER = 64_000_000
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked at, not bound


class NoAnswerError(Exception):
    """Why there is nothing to show; the text is a sentence for the user."""


def configured() -> str:
    """Where `loom serve` listens with the configuration found here. ConfigError as from `load`."""
    config = load({})
    host = EVERYWHERE.get(config.host, config.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{config.port}"


def ask(url: str, page: str, query: dict[str, str | int], form: type[T], what: str) -> T:
    """Ask a Loom for a page under `/loom/`. NoAnswerError if there is none of this form.

    `what` the page shows, as a sentence says it: "turns".
    """
    place = printable(url, 200)
    try:
        status, body = _get(url, f"/loom/{page}?{urlencode(query)}")
    except (OSError, http.client.HTTPException, ValueError):
        todo = "start it with `loom serve`, or name it with --url"
        raise NoAnswerError(f"no Loom answers at {place}: {todo}") from None
    if status == 403:
        raise NoAnswerError(f"the Loom at {place} shows its {what} on its own machine only")
    try:
        if status == 200:
            return msgspec.json.decode(body, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    raise NoAnswerError(f"what answers at {place} is no Loom that shows {what} (status {status})")


def _get(url: str, target: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise NoAnswerError(f"{printable(url, 200)} is no http or https URL")
    is_secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=SECONDS)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}{target}")
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_ANSWER)
    finally:
        connection.close()


def forgive_output() -> None:
    """What a terminal cannot show must not end the command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def fail(why: str) -> NoReturn:
    """End the command with one line that says why."""
    line = " ".join(f"loom: {why}".split())
    Console(stderr=True, highlight=False).print(line, markup=False, soft_wrap=True)
    raise typer.Exit(1) from None
