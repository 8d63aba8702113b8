"""A Redis behind a deadline and a breaker: an operation ends in time, and its trouble is words.

Nothing raises but cancellation. A connection of which an answer is still owed is closed, never used
again: redis-py does so whenever a reading of it is cut short.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen
from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ResponseError

from loom_shell.breaker import Breaker
from loom_shell.printable import printable
from loom_shell.redis_url import Redis
from loom_shell.secret import Secret
from loom_shell.trouble import told, words

Record = Callable[[str, float, tuple[tuple[str, str], ...]], None]
Command = tuple[str, ...]

DEADLINE = 0.050
CONNECTIONS = 16
CLOSING_SECONDS = 1.0


@frozen
class Health:
    """How the store does: `unused`, `well`, `in trouble` or `left alone`. `trouble`: its last one, or ""."""

    place: str
    state: str
    trouble: str


class Guarded:
    """One per process and event loop; it connects when it is first used.

    `place` is a URL's or a unix socket; `deadline` seconds for a whole operation; `clock` gives seconds
    that only grow; `record` takes the counter `loom.store.operations` with `operation` and `outcome`.
    """

    def __init__(
        self,
        place: Redis | Path,
        *,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.monotonic,
        record: Record | None = None,
    ) -> None:
        self._shown = place.shown if isinstance(place, Redis) else printable(str(place))
        # As Any: redis-py leaves the method that takes any command without types.
        self._client: Any = client(place)
        self._deadline = deadline
        self._record = record or (lambda *_: None)
        # Who finds no connection waits within its deadline; redis-py's own bound would refuse at once.
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._breaker = Breaker(clock)
        self._state, self._trouble = "unused", ""

    async def attempt(self, operation: str, work: Callable[[], Awaitable[Sequence[str]]]) -> str:
        """Do the work; its own troubles, or that of the store, in one line, or ""."""
        if not self._breaker.allows():
            self._count(operation, "open")
            return f"the store is left alone for a while: {self._trouble}"
        try:
            async with asyncio.timeout(self._deadline), self._room:
                trouble = told(await work())
        except TimeoutError:
            return self._failed(operation, "timeout", f"no answer within {self._deadline * 1000:g} ms")
        except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on
            return self._failed(operation, "error", words(error))
        # A refusal is an answer too: a store that is full or read-only still serves readings.
        self._breaker.succeeded()
        self._count(operation, "error" if trouble else "ok")
        self._state, self._trouble = ("in trouble", trouble) if trouble else ("well", self._trouble)
        return f"the store: {trouble}" if trouble else ""

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, refusals among them as ResponseError values. Only within `attempt`."""
        if len(commands) == 1:
            # Without a pipeline it costs less.
            try:
                return [await self._client.execute_command(*commands[0])]
            except ResponseError as error:
                return [error]
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies

    def health(self) -> Health:
        """How the last operations went; it asks nobody."""
        is_closed = self._breaker.standing == "closed"
        return Health(self._shown, self._state if is_closed else "left alone", self._trouble)

    async def aclose(self) -> None:
        """Close the connections; it raises nothing, and may be called again."""
        with suppress(Exception):
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._client.aclose()

    def _failed(self, operation: str, outcome: str, trouble: str) -> str:
        self._breaker.failed()
        self._count(operation, outcome)
        self._state, self._trouble = "in trouble", trouble
        return f"the store: {trouble}"

    def _count(self, operation: str, outcome: str) -> None:
        self._record("loom.store.operations", 1, (("operation", operation), ("outcome", outcome)))


class _Credentials(CredentialProvider):
    """Gives redis-py the password when it connects: it would keep, and some of its reprs show, the text."""

    def __init__(self, user: str, password: Secret) -> None:
        self._user, self._password = user, password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._password.expose()
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def client(place: Redis | Path) -> Client:
    """What connects there: no second try, no deadline but a connection's; whoever uses it has its own."""
    settings: dict[str, Any] = {"unix_socket_path": str(place)}
    if isinstance(place, Redis):
        settings = {"host": place.host, "port": place.port, "db": place.database}
        if place.password:
            settings["credential_provider"] = _Credentials(place.user, place.password)
    return Client(
        **settings,
        protocol=2,
        decode_responses=True,
        encoding_errors="replace",
        # The deadline is around the whole operation, so neither a time of its own nor a second try.
        socket_timeout=None,
        socket_connect_timeout=CLOSING_SECONDS,
        retry=Retry(NoBackoff(), 0),
        # Room for connections on their way back after a cancelled operation.
        max_connections=2 * CONNECTIONS,
    )
