"""The Loom's own pages under `/loom/`: health, readiness, and JSON for all that is not there."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from loom_core.errors import Refusal


def own_pages(is_draining: Callable[[], bool], running: Callable[[], int]) -> Starlette:
    """`is_draining` and `running` (exchanges under way) are asked on each request."""

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> JSONResponse:
        if is_draining():
            return JSONResponse({"status": "draining", "exchanges": running()}, status_code=503)
        return JSONResponse({"status": "ready", "exchanges": running()})

    pages = Starlette(
        routes=[Route("/loom/healthz", healthz), Route("/loom/readyz", readyz)],
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
            404, "not_found_error", "The Loom has no such page; under /loom/ there are healthz and readyz."
        )
    headers = error.headers if isinstance(error, HTTPException) else None
    return JSONResponse(
        {"type": "error", "error": {"type": refusal.kind, "message": refusal.message}},
        status_code=refusal.status,
        headers=headers,
    )
