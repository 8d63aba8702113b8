"""Bytes through the Loom against the same call made directly."""

from collections.abc import Sequence

from loom_core.headers import to_client, to_upstream, without
from loom_shell.demo.places import Part, taken_out
from loom_shell.demo.tap import Passed
from loom_shell.simulator import Received

LENGTH = frozenset({b"content-length"})
"""Of a body that has grown the Loom writes the line anew; that it is right, the body shows."""
TOLD = frozenset({b"x-loom-exchange", b"x-loom-woven"})
"""Header lines that the Loom adds to the answer to a woven request."""


def differences(
    through: Passed, direct: Passed, behind: Received, twin: Received, woven: Sequence[Part] = ()
) -> tuple[str, ...]:
    """What of a request and its answer is not the same; nothing, when the Loom is faithful.

    `through` and `direct` are the client's ends, `behind` and `twin` upstream's. Hop-by-hop header
    lines and `host` belong to each hop (RFC 9110 sections 7.6.1 and 7.2) and are left out. With `woven`
    blocks the direct call has sent the same ones; without them the request must be what the client wrote.
    """
    length, told = (LENGTH, TOLD) if woven else (frozenset[bytes](), frozenset[bytes]())
    up, beside = (without(to_upstream(it.headers), length) for it in (behind, twin))
    found = {
        "request line": (behind.method, behind.target) != (twin.method, twin.target),
        "request headers": up != beside,
        "request body": behind.body != twin.body or through.up != taken_out(behind.body, woven),
        "status": through.status != direct.status,
        "answer headers": without(to_client(through.lines), told) != to_client(direct.lines),
        "answer body": through.down != direct.down,
        "ending": bool(through.broken) != bool(direct.broken),
    }
    return tuple(name for name, differs in found.items() if differs)
