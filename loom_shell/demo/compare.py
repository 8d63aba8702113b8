"""Bytes through the Loom against the same call made directly."""

from loom_core.headers import to_client, to_upstream
from loom_shell.demo.tap import Passed
from loom_shell.simulator import Received


def differences(through: Passed, direct: Passed, behind: Received, twin: Received) -> tuple[str, ...]:
    """What of a request and its answer is not the same; nothing, when the Loom is faithful.

    `through` and `direct` are the client's ends, `behind` and `twin` upstream's. Hop-by-hop header
    lines and `host` belong to each hop (RFC 9110 sections 7.6.1 and 7.2) and are left out.
    """
    found = {
        "request line": (behind.method, behind.target) != (twin.method, twin.target),
        "request headers": to_upstream(behind.headers) != to_upstream(twin.headers),
        "request body": not through.up == behind.body == twin.body,
        "status": through.status != direct.status,
        "answer headers": to_client(through.lines) != to_client(direct.lines),
        "answer body": through.down != direct.down,
        "ending": bool(through.broken) != bool(direct.broken),
    }
    return tuple(name for name, differs in found.items() if differs)
