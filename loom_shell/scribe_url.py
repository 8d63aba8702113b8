"""Where transcripts are kept, as a user writes it: `postgresql://[user[:password]@][host[:port]]/database[?…]`."""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import frozen

from loom_shell.secret import Secret

OPTIONS = frozenset({"host", "sslmode", "sslrootcert", "sslcert", "sslkey", "application_name"})
"""Parameters of libpq (PostgreSQL, "Parameter Key Words") that may stand behind the `?`: none is secret.

`host` names the folder of a unix socket, which the part before the path cannot hold.
"""
PORT = 5432
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,2000}")
_WORD = re.compile(r"[^\x00-\x1f\x7f]{1,200}")


@frozen
class Postgres:
    """A database of a PostgreSQL server. `user` and `host` are "" where libpq's own choice stands."""

    host: str
    port: int
    database: str
    user: str
    password: Secret | None
    options: tuple[tuple[str, str], ...] = ()

    @property
    def shown(self) -> str:
        """Where it is, without what opens it."""
        host = dict(self.options).get("host") or self.host or "localhost"
        return f"{f'[{host}]' if ':' in host else host}:{self.port}/{self.database}"


def postgres(value: object) -> Postgres:
    """ValueError for what is no such URL; never with the value in it, for that may hold a password."""
    if not isinstance(value, str) or not _PRINTABLE.fullmatch(value):
        raise ValueError
    place = urlsplit(value)
    options = tuple(parse_qsl(place.query, keep_blank_values=True, strict_parsing=bool(place.query)))
    words = (place.hostname or "", unquote(place.path[1:]), unquote(place.username or ""))
    password = unquote(place.password or "")
    is_known = {name for name, _ in options} <= OPTIONS and len({name for name, _ in options}) == len(options)
    every = [*words, password, *(text for _, text in options)]
    if (
        place.scheme not in {"postgresql", "postgres"}
        or place.fragment
        or place.port == 0
        or not words[1]
        or not is_known
        or not all(_WORD.fullmatch(word) for word in every if word)
    ):
        raise ValueError
    host, database, user = words
    return Postgres(host, place.port or PORT, database, user, Secret(password) if password else None, options)
