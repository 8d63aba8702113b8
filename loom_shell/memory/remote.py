"""A memory over HTTP (contracts section 6): each request has a deadline, each answer is bounded.

No sentence about a trouble holds the key, or words of the other side.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NoReturn
from urllib.parse import quote

import httpx
import msgspec
from attrs import frozen

from loom_core.lookup import Memory, Question, Recalled
from loom_shell.memory import answered
from loom_shell.memory.answered import NonsenseError
from loom_shell.memory.port import TIMED_OUT, MemoryTroubleError, NewMemory
from loom_shell.memory.verbatim import MAX_TEXT, storable, valid, within
from loom_shell.parsing import key_text
from loom_shell.printable import printable
from loom_shell.secret import Secret

SECOND = 1_000_000_000
SECONDS = 5.0
"""What everything but a search may take."""
LONGEST = 60.0
"""No search takes longer, whatever its question allows."""
MAX_ANSWER = 1_000_000
"""Bytes of an answer."""
MOST_FOUND = 100
"""Memories of one answer, whatever is asked for."""
SPARE = 20
"""Asked for beyond the limit, for those that are not wanted or do not fit into the budget."""
CONNECTIONS = 8


@frozen
class _Answer:
    status: int
    body: bytes


class RemoteMemory:
    """The memory at `url`: scheme, host and perhaps a port and a path. MemoryTroubleError for a wrong one.

    `clock` gives nanoseconds since the epoch, for the contract counts the past in hours.
    """

    def __init__(self, url: str, key: Secret, clock: Callable[[], int]) -> None:
        self._url = _checked(url)
        self._place = printable(self._url, 200)
        try:
            self._key = Secret(key_text(key.expose()))
        except ValueError:
            raise MemoryTroubleError("the memory's key must be one word of visible ASCII") from None
        self._clock = clock
        self._is_closed = False
        # Not from the environment: neither its proxies nor a .netrc are meant for this.
        self._client = httpx.AsyncClient(
            trust_env=False,
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )

    async def search(self, question: Question) -> Recalled:
        limit = max(0, min(question.limit, MOST_FOUND))
        if not question.query.strip() or not limit or question.budget <= 0:
            return Recalled()
        asked = {
            "query": valid(question.query[:MAX_TEXT]),
            "limit": limit + SPARE,
            "exclude": [one for one in question.exclude if answered.is_id(one)],
            "min_score": question.min_score,
        }
        seconds = max(0, min(question.deadline, LONGEST * SECOND)) / SECOND
        try:
            found = answered.several(await self._asked("POST", "/search", asked, seconds=seconds))
        except MemoryTroubleError as error:
            return Recalled(trouble=str(error))
        except NonsenseError:
            return Recalled(trouble=self._nonsense)
        wanted = [told.memory for told in found.told if told.is_wanted(question)]
        odd = f"the memory at {self._place} sent {found.odd} memories that make no sense"
        # Only of what was asked about: nothing else is forgotten at a stranger's word.
        said = frozenset(found.forgotten)
        gone = tuple(one for one in question.exclude if one in said)
        return Recalled(within(wanted, limit, question.budget), odd if found.odd else "", gone)

    async def put(self, new: NewMemory) -> Memory:
        new = storable(new)
        names = {"provenance": new.provenance.value, "scope": new.scope, "session": new.session}
        body = {
            "content": new.text,
            "tags": [*(f"{name}:{text}" for name, text in names.items() if text), *new.tags],
            "timezone": "UTC",
        }
        headers = {"x-session-id": quote(new.session, safe="")} if new.session else {}
        try:
            own, at = answered.stored(await self._asked("POST", "/store", body, headers=headers))
        except NonsenseError:
            self._refuse(self._nonsense)
        return Memory(own, new.text, at, new.provenance)

    async def forget(self, memory_id: str) -> bool:
        if not answered.is_id(memory_id):
            return False
        answer = await self._ask("POST", "/forget", {"id": memory_id})
        if answer.status == 404:
            return False
        self._good(answer)
        return True

    async def get(self, memory_id: str) -> Memory | None:
        if not answered.is_id(memory_id):
            return None
        answer = await self._ask("GET", f"/get/{memory_id}")
        if answer.status == 404:
            return None
        try:
            return answered.one(self._good(answer)).memory
        except NonsenseError:
            self._refuse(self._nonsense)

    async def recent(self, limit: int, since: int = 0) -> tuple[Memory, ...]:
        limit = max(0, min(limit, MOST_FOUND))
        hours = max(1, -(-(self._clock() - since) // (3600 * SECOND)))
        path = f"/recent?limit={limit}" + (f"&hours={hours}" if since > 0 else "")
        try:
            found = answered.several(await self._asked("GET", path))
        except NonsenseError:
            self._refuse(self._nonsense)
        # Sorted here: the contract does not say in which order they come.
        newest = sorted(
            (told.memory for told in found.told if told.memory.at >= since), key=lambda it: -it.at
        )
        return tuple(newest[:limit])

    async def health(self) -> str:
        try:
            await self._asked("GET", "/health")
        except MemoryTroubleError as error:
            return str(error)
        return ""

    async def aclose(self) -> None:
        self._is_closed = True
        await self._client.aclose()

    # On the wire

    @property
    def _nonsense(self) -> str:
        return f"what answers at {self._place} is no memory: its answer makes no sense"

    def _refuse(self, why: str) -> NoReturn:
        raise MemoryTroubleError(why) from None

    def _good(self, answer: _Answer) -> bytes:
        """The body of a success. MemoryTroubleError for any other status."""
        match answer.status:
            case status if 200 <= status < 300:
                return answer.body
            case 401 | 403:
                told = "refuses the key: correct it"
            case 404:
                told = "does not know what it was asked: correct its address"
            case 422:
                told = "does not take what it was asked"
            case 503:
                told = "is not well"
            case status:
                told = f"answered with status {status}"
        raise MemoryTroubleError(f"the memory at {self._place} {told}")

    async def _asked(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
    ) -> bytes:
        return self._good(await self._ask(method, path, body, headers=headers, seconds=seconds))

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
    ) -> _Answer:
        """One request and its answer, within so many seconds. MemoryTroubleError."""
        if self._is_closed:
            self._refuse("the memory is closed")
        # Packed answers could unpack to anything before they are counted.
        lines = {"accept-encoding": "identity", "x-api-key": self._key.expose(), **(headers or {})}
        content = None
        if body is not None:
            content, lines["content-type"] = msgspec.json.encode(body), "application/json"
        try:
            async with (
                asyncio.timeout(seconds),
                self._client.stream(
                    method, self._url + path, content=content, headers=lines, timeout=seconds
                ) as response,
            ):
                return await self._read(response)
        except (TimeoutError, httpx.TimeoutException):
            self._refuse(TIMED_OUT)
        except (httpx.HTTPError, OSError):
            self._refuse(f"no memory answers at {self._place}: start it there")

    async def _read(self, response: httpx.Response) -> _Answer:
        if response.headers.get("content-encoding", "identity") != "identity":
            self._refuse(self._nonsense)
        content = bytearray()
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > MAX_ANSWER:
                self._refuse(f"the memory at {self._place} sent more than {MAX_ANSWER} bytes")
        return _Answer(response.status_code, bytes(content))


def _checked(url: str) -> str:
    try:
        place = httpx.URL(url)
    except httpx.InvalidURL:
        place = httpx.URL("")
    if place.scheme not in {"http", "https"} or not place.host:
        raise MemoryTroubleError("the memory's address must be an http or https URL")
    if place.userinfo or place.query or place.fragment:
        raise MemoryTroubleError("the memory's address must hold no user, password, query or fragment")
    return str(place).rstrip("/")
