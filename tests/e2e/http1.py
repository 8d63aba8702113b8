"""Recorded bytes of a connection to HTTP/1.1 messages, by a reader that shares nothing with the Loom's."""

from attrs import field, frozen

from loom_core.headers import HOP_BY_HOP

Lines = tuple[tuple[bytes, bytes], ...]


@frozen
class Message:
    """A request or a response. `complete`: it reached the end its framing promised.

    `lines` are names as sent and values without the white space around them; `body` is taken out
    of its chunks. `end` is the place in the recording behind the message's last byte.
    """

    start: bytes
    lines: Lines
    body: bytes = field(repr=False)
    complete: bool
    end: int

    @property
    def method(self) -> bytes:
        return self.start.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.start.split(b" ")[1]

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    def value(self, name: bytes) -> bytes:
        return next((value for key, value in self.lines if key.lower() == name), b"")

    @property
    def is_stream(self) -> bool:
        return self.value(b"content-type").startswith(b"text/event-stream")

    def beyond_the_hop(self, *more: bytes) -> Lines:
        """The header lines that must arrive, in order: hop-by-hop ones and `more` fall away.

        RFC 9110 section 7.6.1: also those that `Connection` names.
        """
        named = {part.strip().lower() for part in self.value(b"connection").split(b",")}
        gone = HOP_BY_HOP | named | set(more)
        return tuple(line for line in self.lines if line[0].lower() not in gone)


def requests(sent: bytes) -> list[Message]:
    """Every request in what a client sent on one connection."""
    found: list[Message] = []
    while (place := found[-1].end if found else 0) < len(sent):
        head = _head(sent, place)
        if head is None:
            break
        found.append(_with_body(sent, *head, until_close=False))
    return found


def responses(sent: bytes, methods: list[bytes], *, closed: bool) -> list[Message]:
    """Every final response in what a server sent; `closed`: it ended the connection cleanly."""
    found: list[Message] = []
    place = 0
    for method in methods:
        head = _head(sent, place)
        while head is not None and head[0].split(b" ")[1].startswith(b"1"):
            place = head[2]
            head = _head(sent, place)
        if head is None:
            break
        start, lines, body_at = head
        if method == b"HEAD" or start.split(b" ")[1] in {b"204", b"304"}:
            found.append(Message(start, lines, b"", complete=True, end=body_at))
        else:
            found.append(_with_body(sent, start, lines, body_at, until_close=True, closed=closed))
        place = found[-1].end
    return found


def _head(sent: bytes, place: int) -> tuple[bytes, Lines, int] | None:
    end = sent.find(b"\r\n\r\n", place)
    if end < 0:
        return None
    start, *rest = sent[place:end].split(b"\r\n")
    parts = (line.partition(b":") for line in rest)
    return start, tuple((name, value.strip(b" \t")) for name, _, value in parts), end + 4


def _with_body(
    sent: bytes, start: bytes, lines: Lines, place: int, *, until_close: bool, closed: bool = False
) -> Message:
    fields = {name.lower(): value for name, value in lines}
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        body, complete, end = _unchunked(sent, place)
    elif b"content-length" in fields:
        end = min(len(sent), place + int(fields[b"content-length"]))
        body, complete = sent[place:end], end == place + int(fields[b"content-length"])
    elif until_close:
        body, complete, end = sent[place:], closed, len(sent)
    else:
        body, complete, end = b"", True, place
    return Message(start, lines, body, complete, end)


def _unchunked(sent: bytes, place: int) -> tuple[bytes, bool, int]:
    """The body, whether its last chunk came, and where it ends (RFC 9112 section 7.1)."""
    body = bytearray()
    while (line_end := sent.find(b"\r\n", place)) >= 0:
        size = int(sent[place:line_end].split(b";")[0], 16)
        place = line_end + 2
        if size == 0:
            end = place + 2 if sent.startswith(b"\r\n", place) else sent.find(b"\r\n\r\n", place) + 4
            return bytes(body), place < len(sent) and end > 3, max(end, place)
        body += sent[place : place + size]
        place += size + 2
    return bytes(body), False, len(sent)
