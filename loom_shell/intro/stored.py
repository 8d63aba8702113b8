"""Hears on the one Redis in which sessions something was stored (contracts section 5).

Pub/sub keeps nothing: what is said while nobody listens is not heard, and a memorable stays for its day.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from redis.exceptions import RedisError

from loom_shell.guarded import client
from loom_shell.intro.said import MOST_SESSION
from loom_shell.redis_url import Redis
from loom_shell.trouble import words

PATTERN = "cortex:stored:*"
QUIET_SECONDS = 15.0
"""After so long without a message the store is asked whether it is there, and has as long to answer."""


class StoredTroubleError(Exception):
    """Why nothing can be heard now, in one sentence."""


class Stored:
    """One per process and event loop; it connects when it is listened to."""

    def __init__(self, place: Redis | Path) -> None:
        self._client = client(place)

    async def sessions(self) -> AsyncIterator[str]:
        """First "", once it listens; then the sessions as they are said. StoredTroubleError ends it."""
        listening = self._client.pubsub()
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                await listening.psubscribe(PATTERN)
            is_asked = False
            while True:
                message = await listening.get_message(timeout=QUIET_SECONDS)
                if message is None and is_asked:
                    raise StoredTroubleError("the store does not answer")
                is_asked = message is None
                if message is None:
                    async with asyncio.timeout(QUIET_SECONDS):
                        await listening.ping()
                elif message["type"] == "psubscribe":
                    yield ""
                elif message["type"] == "pmessage" and (session := _session(message["channel"])):
                    yield session
        except TimeoutError:
            raise StoredTroubleError("the store does not answer") from None
        except (RedisError, OSError, ValueError) as error:
            raise StoredTroubleError(f"the store: {words(error)}") from None
        finally:
            with suppress(Exception):
                await listening.aclose()  # type: ignore[no-untyped-call] # redis-py's own

    async def aclose(self) -> None:
        with suppress(Exception):
            await self._client.aclose()


def _session(channel: object) -> str:
    name = channel.removeprefix(PATTERN[:-1]) if isinstance(channel, str) else ""
    return name if len(name) <= MOST_SESSION else ""
