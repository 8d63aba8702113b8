"""Where the store is, as a user writes it: `redis://[[user]:password@]host[:port][/db]`."""

from attrs import frozen

from loom_shell.address import redis_place
from loom_shell.secret import Secret


@frozen
class Redis:
    """The one Redis. `user` is "" where there is none; `host` is without brackets."""

    host: str
    port: int
    database: int
    user: str
    password: Secret | None

    @property
    def place(self) -> tuple[str, str, str, int, int]:
        """What `redis_line.ask` takes; the password is exposed in it."""
        password = self.password.expose() if self.password else ""
        return self.user, password, self.host, self.port, self.database

    @property
    def shown(self) -> str:
        """Where it is, without what opens it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"


def redis(value: object) -> Redis:
    """ValueError for what is no such URL; never with the value in it, for that may hold a password."""
    found = redis_place(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError
    user, password, host, port, database = found
    return Redis(host, port, database, user, Secret(password) if password else None)
