"""The Loom's own pages under `/loom/`: health, readiness, hooks, and JSON for all that is not there."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from loom_core.errors import UNAUTHORISED, Refusal
from loom_core.reading import Json, as_dict, as_text
from loom_core.values import TurnKey
from loom_shell.gateway import Gateway
from loom_shell.recent import NOT_FOR_YOU, may_see

MAX_HOOK = 65_536
"""Bytes of a hook's report."""
MAX_WORD = 256
_NO_HOOK = Refusal(
    400, "invalid_request_error", "A hook's report is a JSON object with at least `hook` and `session_id`."
)


def own_pages(
    is_draining: Callable[[], bool], running: Callable[[], int], more: Sequence[BaseRoute] = ()
) -> Starlette:
    """`is_draining` and `running` (exchanges under way) are asked on each request."""

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> JSONResponse:
        if is_draining():
            return JSONResponse({"status": "draining", "exchanges": running()}, status_code=503)
        return JSONResponse({"status": "ready", "exchanges": running()})

    pages = Starlette(
        routes=[Route("/loom/healthz", healthz), Route("/loom/readyz", readyz), *more],
        exception_handlers={HTTPException: _refused},
    )
    # A redirect would be made of the client's own Host.
    pages.router.redirect_slashes = False
    return pages


async def _refused(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        refusal = Refusal(405, "invalid_request_error", f"{request.method} is not for {request.url.path}.")
    else:
        refusal = Refusal(
            404,
            "not_found_error",
            "The Loom has no such page; under /loom/ there are healthz, readyz, metrics, status, turns,"
            " woven, hooks and cortex.",
        )
    headers = error.headers if isinstance(error, HTTPException) else None
    return JSONResponse(
        {"type": "error", "error": {"type": refusal.kind, "message": refusal.message}},
        status_code=refusal.status,
        headers=headers,
    )


def hooks_page(
    gateway: Gateway, report: Callable[[TurnKey, str, str, str], None]
) -> Callable[[Request], Awaitable[Response]]:
    """`POST /loom/hooks`: what the client's hook tells, from this machine or with a client token.

    The body is a small JSON object: `hook`, `session_id`, and where known `agent_id`, `prompt_id`,
    `tool_use_id`. `report` gets the turn's key, the hook's name, the prompt's and the tool call's id.
    """

    async def hooks(request: Request) -> Response:
        told = await _told(request)
        if not may_see(request.scope, gateway):
            return _as_json(UNAUTHORISED)
        session, hook = as_text(told.get("session_id")), as_text(told.get("hook"))
        if not session or not hook:
            return _as_json(_NO_HOOK)
        key = TurnKey(session[:MAX_WORD], as_text(told.get("agent_id"))[:MAX_WORD])
        ids = (as_text(told.get(name))[:MAX_WORD] for name in ("prompt_id", "tool_use_id"))
        report(key, hook[:MAX_WORD], *ids)
        return Response(status_code=204)

    return hooks


def status_page(
    status: Callable[[], Awaitable[dict[str, object]]], gateway: Gateway
) -> Callable[[Request], Awaitable[Response]]:
    """`GET /loom/status`: figures of all that runs in this process, to those who may see the turns."""

    async def page(request: Request) -> Response:
        if not may_see(request.scope, gateway):
            return _as_json(NOT_FOR_YOU)
        told = msgspec.json.encode(await status())
        return Response(told, headers={"cache-control": "no-store"}, media_type="application/json")

    return page


async def _told(request: Request) -> dict[str, Json]:
    """The body as an object; empty if it is none or is larger than any hook's."""
    body = bytearray()
    async for chunk in request.stream():
        # All is read, or the server's queue fills; what is too much is not kept.
        body += chunk if len(body) <= MAX_HOOK else b""
    if len(body) > MAX_HOOK:
        return {}
    try:
        return as_dict(msgspec.json.decode(bytes(body)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _as_json(refusal: Refusal) -> Response:
    return Response(refusal.body, refusal.status, media_type="application/json")
