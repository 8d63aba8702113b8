"""One command to Redis over a plain socket (RESP2), within a deadline.

Standard library only, and little of it: it is imported by `loom_shell/hook.py`.
"""

import socket
import time

Place = tuple[str, str, str, int, int]
"""User, password, host, port and database, as `address.redis_place` gives them."""

ANSWER_LIMIT = 65_536


def ask(place: Place, seconds: float, command: tuple[str, ...]) -> bytes:
    """The first line of the answer (`+OK`, `$5`, `:1`), also to a command refused before (`-NOAUTH …`).

    OSError when it cannot be reached or takes longer than `seconds`. The look-up of a name is not
    bounded by them.
    """
    user, password, host, port, database = place
    commands = [("AUTH", user, password) if user else ("AUTH", password)] if password else []
    commands += [("SELECT", str(database))] if database else []
    until = time.monotonic() + seconds
    line = b""
    with socket.create_connection((host, port), timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # One after the other: after a refused SELECT the command would reach another database.
        for each in (*commands, command):
            connection.settimeout(_left(until))
            connection.sendall(written(each))
            line = _line(connection, until)
            if line.startswith(b"-"):
                break
    return line


def written(command: tuple[str, ...]) -> bytes:
    """A command as an array of bulk strings."""
    words = [word.encode("utf-8", "surrogatepass") for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _line(connection: socket.socket, until: float) -> bytes:
    heard = b""
    while b"\r\n" not in heard:
        connection.settimeout(_left(until))
        piece = connection.recv(4096)
        if not piece or len(heard) > ANSWER_LIMIT:
            raise ConnectionError
        heard += piece
    return heard.partition(b"\r\n")[0]


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
