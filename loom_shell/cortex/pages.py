"""The pages of the Cortex as one ASGI application, mounted anywhere or alone.

Every answer is JSON. A refusal is `{"detail": SENTENCE}`. Only `/health` is open, and says no more than
whether it is well.
"""

import time
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from loom_shell.cortex import answers, asked
from loom_shell.cortex.asked import WronglyAskedError
from loom_shell.cortex.body import BodyRefusedError, whole
from loom_shell.cortex.key import CortexKey
from loom_shell.driver import Driver
from loom_shell.files import FileRefusedError
from loom_shell.memory import Cortex, MemoryTroubleError, TextRefusedError
from loom_shell.secret import Secret

SESSION = "x-session-id"
HEALTH_SECONDS = 1.0
"""So long an answer about health stands, for everybody may ask for it."""

Announce = Callable[[str, str], None]
Page = Callable[[Request, bytes], Awaitable[Response]]


def cortex_pages(
    memory: Cortex, key: CortexKey, announce: Announce, clock: Callable[[], int] = Driver.now
) -> ASGIApp:
    """`announce` is called with session and id of what was stored, and must neither wait nor raise.

    `clock` gives nanoseconds since the epoch.
    """
    pages = _Pages(memory, key, announce, clock)
    routes = [
        Route("/store", pages.keyed(pages.store), methods=["POST"]),
        Route("/search", pages.keyed(pages.search), methods=["POST"]),
        Route("/recent", pages.keyed(pages.recent)),
        Route("/get/{id}", pages.keyed(pages.get)),
        Route("/forget", pages.keyed(pages.forget), methods=["POST"]),
        Route("/health", pages.health),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused})
    # A redirect would be made of the client's own Host.
    app.router.redirect_slashes = False

    async def in_lower_case(scope: Scope, receive: Receive, send: Send) -> None:
        # Our servers keep the case of header names; Starlette knows lower case only, as ASGI has it.
        if scope["type"] == "http":
            scope = {**scope, "headers": [(name.lower(), value) for name, value in scope["headers"]]}
        await app(scope, receive, send)

    return in_lower_case


class _Pages:
    def __init__(self, memory: Cortex, key: CortexKey, announce: Announce, clock: Callable[[], int]) -> None:
        self._memory, self._key, self._announce, self._clock = memory, key, announce, clock
        self._health = (float("-inf"), "")

    def keyed(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """The page for who has the key. All that can go wrong becomes a status and a sentence."""

        async def answered(request: Request) -> Response:
            try:
                body = await whole(request)
                if not self._admits(request):
                    return _told(401, "The header X-API-Key must hold the key of this Cortex.")
                return await page(request, body)
            except BodyRefusedError as refused:
                return _told(refused.status, str(refused), {"connection": "close"})
            except (WronglyAskedError, TextRefusedError) as wrong:
                return _told(422, str(wrong))
            except (MemoryTroubleError, FileRefusedError) as trouble:
                return _told(503, str(trouble))

        return answered

    def _admits(self, request: Request) -> bool:
        """Whether it brings the key, once. FileRefusedError where this Cortex has none."""
        key = self._key.get()
        offered = request.headers.getlist("x-api-key")
        # Secrets are compared in constant time.
        return len(offered) == 1 and Secret(offered[0]) == key

    async def store(self, request: Request, body: bytes) -> Response:
        header = request.headers.get(SESSION, "")
        to_store = asked.to_store(body, header, self._clock())
        memory = await self._memory.put(to_store.new)
        if session := asked.session_of(header):
            self._announce(session, memory.id)
        return _json(answers.stored(memory.id, memory.at, to_store.zone), 201)

    async def search(self, _: Request, body: bytes) -> Response:
        wanted = asked.to_find(body)
        found = await self._memory.find(wanted)
        return _json(answers.several(found.items, found.forgotten if wanted.exclude else None))

    async def recent(self, request: Request, _: bytes) -> Response:
        query = request.query_params
        limit, since = asked.newest(query.get("limit"), query.get("hours"), self._clock())
        return _json(answers.several(await self._memory.newest(limit, since)))

    async def get(self, request: Request, _: bytes) -> Response:
        item = await self._memory.item(request.path_params["id"])
        return _unknown() if item is None else _json(answers.one(item))

    async def forget(self, _: Request, body: bytes) -> Response:
        memory_id = asked.to_forget(body)
        if not await self._memory.forget(memory_id):
            return _unknown()
        return _json(b'{"id":%d,"forgotten":true}' % int(memory_id))

    async def health(self, request: Request) -> Response:
        try:
            await whole(request)
        except BodyRefusedError as refused:
            return _told(refused.status, str(refused), {"connection": "close"})
        asked_at, trouble = self._health
        if time.monotonic() - asked_at >= HEALTH_SECONDS:
            trouble = await self._memory.health()
            self._health = (time.monotonic(), trouble)
        # What is wrong may name a folder: that is for who has the key, with any other question.
        return _json(b'{"status":"unwell"}', 503) if trouble else _json(b'{"status":"ok"}')


def _json(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(content, status, headers, "application/json")


def _told(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return _json(answers.refusal(why), status, headers)


def _unknown() -> Response:
    return _told(404, "There is no such memory, or it is forgotten.")


async def _refused(request: Request, error: Exception) -> Response:
    try:
        await whole(request)
    except BodyRefusedError as refused:
        return _told(refused.status, str(refused), {"connection": "close"})
    if isinstance(error, HTTPException) and error.status_code == 405:
        return _told(405, f"{request.method} is not for this page.", dict(error.headers or {}))
    return _told(404, "There is no such page: there are store, search, recent, get, forget and health.")
