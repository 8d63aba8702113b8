"""What the simulator received, to the byte."""

import time
from urllib.parse import parse_qsl

from attrs import define, field


@define(eq=False)
class Received:
    """One request as it came. It grows while the request arrives and its answer goes out.

    `lines` are the header lines without their line ends, in order and in the case they came.
    `body` is taken out of a chunked transfer, else untouched; `trailers` are its trailer lines.
    """

    connection: int
    """Which connection it came on, counted from 1."""

    method: str
    target: bytes
    version: bytes
    lines: tuple[bytes, ...]
    number: int = -1
    """Its place in `Simulator.requests`."""

    scenario: str = ""
    trailers: tuple[bytes, ...] = ()
    complete: bool = False
    """The whole request was read."""

    answered: bool = False
    """The answer, whatever it was, went out to its end."""

    aborted_at: float | None = None
    """`time.monotonic()` when the client's connection ended before the answer was done, else None."""

    content: bytearray = field(factory=bytearray, repr=False)

    @property
    def body(self) -> bytes:
        return bytes(self.content)

    @property
    def path(self) -> bytes:
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of a repeated one the last value."""
        return dict(parse_qsl(self.target.partition(b"?")[2].decode("latin-1"), keep_blank_values=True))

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """(name as it came, value without the white space around it), in order."""
        split = (line.partition(b":") for line in self.lines)
        return tuple((name, value.strip(b" \t")) for name, _, value in split)

    def values(self, name: bytes) -> list[bytes]:
        """Every value of a header, whatever the case of its name."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def open(self) -> bool:
        return not self.answered and self.aborted_at is None

    def client_left(self) -> None:
        if self.open:
            self.aborted_at = time.monotonic()
