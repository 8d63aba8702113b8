"""What happened in the client, told to the Loom: one small POST, whose answer is only waited for in passing.

Standard library only, and little of it: it is imported by `loom_shell/hook.py`.
"""

import json
import socket
import time

from loom_shell.address import is_loopback, parts

PATH = "/loom/hooks"
FIELDS = (
    "session_id",
    "prompt_id",
    "agent_id",
    "agent_type",
    "tool_name",
    "tool_use_id",
    "trigger",
    "reason",
)
"""What is told of a hook's input. No prompt, no message, no tool's input or output."""
FIELD_LIMIT = 256


def place(loom_url: str, base_url: str) -> tuple[str, int] | None:
    """Host and port of the Loom: `LOOM_URL`, else the client's base URL if that is of this machine."""
    named = parts(loom_url, "http", 80)
    if loom_url:
        return (named[2], named[3]) if named else None
    found = parts(base_url, "http", 80)
    return (found[2], found[3]) if found and is_loopback(found[2]) else None


def request(place: tuple[str, int], token: str, event: str, told: dict[str, str], at: int) -> bytes:
    """The whole HTTP request. `at` is in nanoseconds since the epoch; empty fields are left out."""
    fields = {name: told[name][:FIELD_LIMIT] for name in FIELDS if told.get(name)}
    body = json.dumps({"hook": event, **fields, "at": at}, separators=(",", ":")).encode("ascii")
    host, port = place
    head = [
        f"POST {PATH} HTTP/1.1",
        f"host: {f'[{host}]' if ':' in host else host}:{port}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    # What is no token, or would break the head, is not sent (RFC 6750 section 2.1).
    if token and token.isascii() and token.isprintable() and " " not in token:
        head.append(f"authorization: Bearer {token}")
    return "\r\n".join([*head, "", ""]).encode("ascii") + body


def send(place: tuple[str, int], sent: bytes, seconds: float) -> None:
    """Send it. The first bytes of an answer are waited for: hung up on at once, a server may drop it.

    OSError when it cannot be done within `seconds`.
    """
    until = time.monotonic() + seconds
    with socket.create_connection(place, timeout=seconds) as connection:
        connection.sendall(sent)
        connection.settimeout(max(until - time.monotonic(), 0.001))
        connection.recv(4096)
