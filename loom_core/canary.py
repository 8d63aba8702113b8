"""Whether the canary is in a body: asked of every request, and most that are large have none.

One letter is found fifteen times as fast as a word, so the letter of it that code and prose seldom have
is looked for first.
"""

from loom_core.block import CANARY

_RARE = b"Q"
_AT = CANARY.index(_RARE)
_MOST = 64
"""Letters looked at one by one; a body with more, as with a file in base64, is searched for the word."""


def is_in(body: bytes) -> bool:
    """The same as `CANARY in body`."""
    at = body.find(_RARE, _AT)
    for _ in range(_MOST):
        if at < 0 or body.startswith(CANARY, at - _AT):
            return at >= 0
        at = body.find(_RARE, at + 1)
    return body.find(CANARY, at - _AT) >= 0 if at >= 0 else False
