"""The parts of a URL, for those who cannot pay for urllib: `loom_shell/hook.py` and what it imports."""

REDIS_PORT = 6379


def parts(url: str, scheme: str, port: int) -> tuple[str, str, str, int, str] | None:
    """User, password, host (no brackets), port and path of a `scheme://…` URL; None if it is none.

    `port` counts where the URL names none. User and password are percent-decoded.
    """
    start, rest = url[: len(scheme) + 3], url[len(scheme) + 3 :]
    if start.lower() != f"{scheme}://" or not url.isascii() or not url.isprintable() or " " in url:
        return None
    authority, slash, path = rest.partition("/")
    login, _at, place = authority.rpartition("@")
    if place.startswith("["):
        host, bracket, told = place[1:].partition("]")
        if not bracket or ":" not in host or (told and not told.startswith(":")):
            return None
        told = told[1:]
    else:
        host, _colon, told = place.partition(":")
    if not host or set(host) & set("[]?#%\\") or (told and not told.isdigit()) or len(told) > 5:
        return None
    if told:
        port = int(told)
    user, _colon, password = login.partition(":")
    if not 1 <= port <= 65535:
        return None
    try:
        return _decoded(user), _decoded(password), host.lower(), port, slash + path
    except ValueError:
        return None


def redis_place(url: str) -> tuple[str, str, str, int, int] | None:
    """User, password, host, port and database of `redis://[[user]:password@]host[:port][/db]`, or None."""
    found = parts(url, "redis", REDIS_PORT)
    if found is None:
        return None
    user, password, host, port, path = found
    number = path[1:] or "0"
    # A database beyond what any server has is a slip, not a number.
    if not number.isdigit() or len(number) > 4 or (user and not password):
        return None
    return user, password, host, port, int(number)


def _decoded(text: str) -> str:
    """RFC 3986 section 2.1. ValueError for a percent sign that is none."""
    first, *coded = text.split("%")
    octets = first.encode()
    for piece in coded:
        if len(piece) < 2 or set(piece[:2]) - set("0123456789abcdefABCDEF"):
            raise ValueError
        octets += bytes([int(piece[:2], 16)]) + piece[2:].encode()
    return octets.decode()


def is_loopback(host: str) -> bool:
    """Whether only this machine is meant: 127.0.0.0/8, ::1, and of names `localhost` alone."""
    if host in {"localhost", "::1"}:
        return True
    numbers = host.split(".")
    return len(numbers) == 4 and numbers[0] == "127" and all(it.isdigit() and int(it) < 256 for it in numbers)
