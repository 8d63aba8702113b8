"""Header lines: which of them end at this hop, and reading the few the Loom needs."""

from loom_core.values import Headers

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110 section 7.6.1, with the two proxy fields of 11.7 and the trailers this hop does not carry."""

CREDENTIALS = frozenset({b"authorization", b"x-api-key"})

_OF_THE_HOP = HOP_BY_HOP | {b"host", b"expect", b"x-loom-source", b"x-loom-session"}


def to_upstream(headers: Headers) -> Headers:
    """The client's header lines as they go on: hop-by-hop lines, `host`, `expect` and `x-loom-*` fall away.

    `host` is upstream's own. An expectation (RFC 9110 section 10.1.1) was met by our server, which
    answered 100 before the body came.
    """
    return _passed_on(headers, _OF_THE_HOP)


def to_client(headers: Headers) -> Headers:
    """Upstream's header lines as they go to the client: only hop-by-hop lines fall away."""
    return _passed_on(headers, HOP_BY_HOP)


def _passed_on(headers: Headers, gone: frozenset[bytes]) -> Headers:
    """All lines but those in `gone` and those that `Connection` names as fields of this hop."""
    kept: list[tuple[bytes, bytes]] = []
    connection: list[bytes] = []
    for line in headers:
        name = line[0].lower()
        if name not in gone:
            kept.append(line)
        elif name == b"connection":
            connection.append(line[1])
    if connection:
        named = frozenset(_members(connection)) - _NEVER_NAMED - gone
        if named:
            kept = [line for line in kept if line[0].lower() not in named]
    return tuple(kept)


def without(headers: Headers, names: frozenset[bytes]) -> Headers:
    return tuple([line for line in headers if line[0].lower() not in names])


def first(headers: Headers, name: bytes) -> bytes | None:
    """The first value of `name` (given in lower case), or None."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


def tokens(headers: Headers, name: bytes) -> tuple[str, ...]:
    """The comma-separated members of every `name` line, in lower case (RFC 9110 section 5.6.1)."""
    lines = [value for key, value in headers if key.lower() == name]
    return tuple([member.decode("latin-1") for member in _members(lines)]) if lines else ()


def _members(values: list[bytes]) -> list[bytes]:
    """The members of a list that may be spread over several lines, in lower case."""
    return [member for value in values for part in value.split(b",") if (member := part.strip().lower())]


def whole_number(value: bytes | None) -> int | None:
    """1*DIGIT (RFC 9110 section 8.6), None for anything else; a number past 10**18 counts as that.

    Python refuses to read thousands of digits, and no length or wait needs them.
    """
    if value is None or not value.isdigit():
        return None
    digits = value.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= 18 else 10**18


def framing(headers: Headers) -> tuple[bytes | None, bool]:
    """How the body is delimited: the declared length as it stands, and whether a transfer coding is named."""
    length: bytes | None = None
    coded = False
    for key, value in headers:
        name = key.lower()
        if name == b"content-length":
            length = value if length is None else length
        elif name == b"transfer-encoding":
            coded = True
    return length, coded


_NEVER_NAMED = CREDENTIALS | {b"close", b"content-length", b"content-encoding", b"content-type"}
"""Options, and fields no sender may strip by naming them: RFC 9110 section 7.6.1 forbids it for
fields meant for all recipients, and a message without its framing or credential is another message."""
