"""What becomes of a request: refused by the Loom itself, or ordered upstream as it came."""

from msgspec import Struct

from loom_core.actions import SendUpstream
from loom_core.errors import NOT_FOR_A_REVERSE_PROXY, TWO_FRAMINGS, UNAUTHORISED, Refusal, too_large
from loom_core.events import RequestReceived
from loom_core.headers import CREDENTIALS, framing, to_upstream, whole_number, without
from loom_core.metadata import NOTHING, Found, find
from loom_core.values import Admission, Request
from loom_core.wire import apply

_LENGTH = frozenset({b"content-length"})
READ_WHOLE = frozenset({b"/v1/messages", b"/v1/messages/count_tokens"})
"""Paths whose POST bodies are read whole: what is woven into them needs all of them."""


class Taken(Struct, frozen=True):
    """A request taken in: `body` as it goes up, None while it streams; `found` was cut out of it."""

    asked: RequestReceived
    body: bytes | None
    received: int
    found: Found = NOTHING


def taken_whole(asked: RequestReceived, body: bytes) -> Taken:
    """A request whose body is all here; the metadata block never goes up (contracts section 2)."""
    found = find(body) if is_whole(asked.request) else NOTHING
    return Taken(asked, apply(body, found.edits), len(body), found)


def is_whole(request: Request) -> bool:
    """Whether the request is a Messages-API call, whose body is read whole."""
    return request.method == "POST" and path_of(request) in READ_WHOLE


def path_of(request: Request) -> bytes:
    """The target without its query, which may hold secrets and so reaches no log."""
    return request.target.partition(b"?")[0]


def streams_up(request: Request) -> bool:
    """Whether the body goes up chunk by chunk. Without a framing field there is none (RFC 9112 6.3)."""
    length, coded = framing(request.headers)
    return bool(coded or whole_number(length)) and not is_whole(request)


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
