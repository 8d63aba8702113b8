"""The last request of each session as it went up, kept in memory for whoever asks at `GET /loom/woven`.

Bounded in sessions and bytes. Each worker keeps its own.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec
from attrs import frozen
from msgspec import Struct
from msgspec.structs import replace as evolve
from starlette.requests import Request
from starlette.responses import Response

from loom_core.actions import Keep
from loom_core.errors import Refusal
from loom_core.meter import BYTES_PER_TOKEN
from loom_core.woven import WovenIn
from loom_core.woven_blocks import WovenBlock, woven_blocks
from loom_shell.gateway import Gateway
from loom_shell.recent import may_see

MAX_SESSIONS = 32
MAX_BODY = 2_000_000
"""Bytes of a body; of a longer one only its size is kept."""
MAX_BYTES = 32_000_000
BESIDE = 1_000
"""What an entry takes beside its texts."""
NOT_FOR_YOU = Refusal(
    403,
    "permission_error",
    "Woven requests hold what people said: the Loom shows them on its own machine, or for a client token.",
)


class Last(Struct, frozen=True):
    """A session's last request. `size`: bytes of it; `body` (base64 in JSON) None: too long to be kept."""

    session: str
    woven: WovenIn
    size: int
    body: bytes | None
    blocks: tuple[WovenBlock, ...]


class Page(Struct, frozen=True):
    """What `GET /loom/woven` answers: all sessions it knows, the newest first, and of one its request."""

    sessions: tuple[str, ...]
    last: Last | None = None


@frozen
class _Entry:
    """`size`: bytes of the body; `weight`: what is held, about."""

    kept: Keep
    size: int
    weight: int


class LastWoven:
    """For one event loop. The session that had no request for longest makes room."""

    def __init__(
        self,
        most_sessions: int = MAX_SESSIONS,
        most_bytes: int = MAX_BYTES,
        longest: int = MAX_BODY,
    ) -> None:
        self._most_sessions = most_sessions
        self._most_bytes = most_bytes
        self._longest = longest
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._weight = 0

    @property
    def weight(self) -> int:
        """Bytes, about."""
        return self._weight

    def keep(self, order: Keep) -> None:
        """Keep it in place of its session's last one."""
        if before := self._entries.pop(order.session, None):
            self._weight -= before.weight
        size, weight = len(order.body), BESIDE
        if size > self._longest:
            order = evolve(order, body=b"", edits=(), decisions=(), ephemeral="")
        else:
            # Woven texts are held by the edits and by the decisions too.
            weight += size + 2 * BYTES_PER_TOKEN * order.woven.tokens
        self._entries[order.session] = _Entry(order, size, weight)
        self._weight += weight
        while len(self._entries) > self._most_sessions or self._weight > self._most_bytes:
            _, dropped = self._entries.popitem(last=False)
            self._weight -= dropped.weight

    def page(self, session: str = "") -> Page:
        """The request of the one session that begins so, or of the newest for ""; no request for several."""
        sessions = tuple(reversed(self._entries))
        meant = matching(sessions, session) if session else list(sessions[:1])
        return Page(sessions, _last(self._entries[meant[0]]) if len(meant) == 1 else None)


def matching(sessions: tuple[str, ...], session: str) -> list[str]:
    """The sessions whose ids begin so; only that one if it is the whole id of one."""
    return [session] if session in sessions else [it for it in sessions if it.startswith(session)]


def _last(entry: _Entry) -> Last:
    kept = entry.kept
    is_here = len(kept.body) == entry.size
    return Last(kept.session, kept.woven, entry.size, kept.body if is_here else None, woven_blocks(kept))


def woven_page(last: LastWoven, gateway: Gateway) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of `GET /loom/woven?session=…`: a `Page` as JSON, or a refusal."""

    async def page(request: Request) -> Response:
        if not may_see(request.scope, gateway):
            return Response(NOT_FOR_YOU.body, NOT_FOR_YOU.status, media_type="application/json")
        told = last.page(request.query_params.get("session", ""))
        return Response(
            msgspec.json.encode(told), headers={"cache-control": "no-store"}, media_type="application/json"
        )

    return page
