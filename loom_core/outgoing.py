"""What becomes of a request: refused by the Loom itself, or ordered upstream as it came."""

from msgspec import Struct

from loom_core.actions import Actions, Keep, Note, Remember, SendUpstream
from loom_core.asked import Behind
from loom_core.call import Call
from loom_core.compaction_told import drift_note
from loom_core.cutting import NOTHING, Found, find
from loom_core.errors import NOT_FOR_A_REVERSE_PROXY, TWO_FRAMINGS, UNAUTHORISED, Refusal, too_large
from loom_core.events import RequestReceived
from loom_core.headers import CREDENTIALS, first, framing, to_upstream, whole_number, without
from loom_core.values import Admission, ExchangeKey, Headers, Request
from loom_core.wire import apply
from loom_core.woven import WovenIn

SESSION = b"x-claude-code-session-id"
_LENGTH = frozenset({b"content-length"})
READ_WHOLE = frozenset({b"/v1/messages", b"/v1/messages/count_tokens"})
"""Paths whose POST bodies are read whole: what is woven into them needs all of them."""


class Taken(Struct, frozen=True):
    """A request taken in: `body` as it goes up, None while it streams; `found` was cut out of it.

    `call`: what it says of itself, once it was read for weaving; `woven`: what was woven in; `owed`: what
    the ledger is to be told when it is over; `kept`: what is kept of it for whoever asks. `is_edited`: the
    body is not the client's. `behind`: the messages in it that an earlier request had too.
    """

    asked: RequestReceived
    body: bytes | None
    received: int
    found: Found = NOTHING
    call: Call | None = None
    woven: WovenIn | None = None
    owed: Remember | None = None
    kept: Keep | None = None
    is_edited: bool = False
    behind: Behind | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the log is to be told of the request, once."""
        drift = drift_note(self.woven, self.asked.request.headers)
        found = (*self.found.notes, drift) if drift else self.found.notes
        if self.woven is None or self.woven.is_whole:
            return found
        unwoven = f"nothing was woven in for profile {self.woven.profile}: {self.woven.trouble}"
        return (*found, unwoven)

    @property
    def beside(self) -> Actions:
        """What is done once, beside sending it."""
        kept = (self.kept,) if self.kept else ()
        return (*kept, *map(Note, self.notes))


def told_to_client(key: ExchangeKey, taken: Taken) -> Headers:
    """What the client is told of the weaving, in header lines of the Loom's own."""
    if taken.woven is None or not taken.asked.rules.weaving.tells:
        return ()
    return ((b"x-loom-exchange", key.id.encode()), (b"x-loom-woven", taken.woven.told.encode()))


def taken_whole(asked: RequestReceived, body: bytes) -> Taken:
    """A request whose body is all here; the metadata block never goes up (contracts section 2)."""
    found = NOTHING
    if is_whole(asked.request):
        found = find(body, lambda: (first(asked.request.headers, SESSION) or b"").decode("latin-1"))
    cut, edited = apply(body, found.edits), bool(found.edits)
    return Taken(asked, cut, len(body), found, is_edited=edited, behind=found.behind)


def is_whole(request: Request) -> bool:
    """Whether the request is a Messages-API call, whose body is read whole."""
    return request.method == "POST" and path_of(request) in READ_WHOLE


def path_of(request: Request) -> bytes:
    """The target without its query, which may hold secrets and so reaches no log."""
    return request.target.partition(b"?")[0]


def streams_up(request: Request) -> bool:
    """Whether the body goes up chunk by chunk. Without a framing field there is none (RFC 9112 6.3)."""
    if is_whole(request):
        return False
    length, coded = framing(request.headers)
    return bool(coded or whole_number(length))


def refusal(asked: RequestReceived) -> Refusal | None:
    """Why this request goes no further, or None."""
    if asked.request.method == "CONNECT":
        return NOT_FOR_A_REVERSE_PROXY
    length, coded = framing(asked.request.headers)
    if length is not None and coded:
        # RFC 9112 section 6.3: such a message is refused, so that one can never become two.
        return TWO_FRAMINGS
    if asked.admission is Admission.REFUSED:
        return UNAUTHORISED
    limit = asked.rules.max_body
    if limit is not None and (whole_number(length) or 0) > limit:
        return too_large(limit)
    return None


def order(asked: RequestReceived, attempt: int, body: bytes | None, *, edited: bool = False) -> SendUpstream:
    """The client's request for one attempt.

    `body` None: it follows in chunks. `edited`: it is not as long as the client said.
    """
    request = asked.request
    headers = to_upstream(request.headers)
    replace = asked.admission is Admission.TOKEN
    if replace:
        # Exactly one credential goes upstream: the shell adds the Loom's in place of the client's.
        headers = without(headers, CREDENTIALS)
    length, coded = framing(request.headers)
    if edited:
        headers, length = without(headers, _LENGTH), None
    if body is not None and (body or coded) and length is None:
        # The client's chunked framing ended at this hop; a body read whole has a length.
        headers = (*headers, (b"content-length", b"%d" % len(body)))
    return SendUpstream(attempt, request.method, request.target, headers, body, replace)
