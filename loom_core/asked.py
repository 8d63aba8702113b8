"""A Messages-API request's fields in one pass over its bytes, each left as it lies there."""

from collections.abc import Iterable

import msgspec
from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from loom_core.wire import COMMA, Edit

_NONE = Raw()


class Behind(Struct, frozen=True, gc=False):
    """The first messages of a body, which can be read and were in an earlier request too.

    `count` of them lie from byte `start`, behind the bracket that opens their list, up to `end`.
    """

    start: int
    end: int
    count: int

    def moved(self, edits: Iterable[Edit]) -> "Behind":
        """Where they lie in the body with these edits, none of which takes one of them or adds one."""
        start, end = self.start, self.end
        before = within = 0
        for it in edits:
            if start <= it.start < end:
                within += len(it.new) + it.start - it.end
            elif it.end < start:
                before += len(it.new) + it.start - it.end
        return Behind(start + before, end + before + within, self.count)


class Asked(Struct, frozen=True):
    """A request's fields as they lie on the wire, empty where absent, and its messages one by one."""

    messages: list[Raw] = field(default_factory=list)
    system: Raw = _NONE
    tools: Raw = _NONE
    metadata: Raw = _NONE
    model: Raw = _NONE
    max_tokens: Raw = _NONE
    temperature: Raw = _NONE
    top_p: Raw = _NONE
    top_k: Raw = _NONE
    stop_sequences: Raw = _NONE
    stream: Raw = _NONE
    thinking: Raw = _NONE
    tool_choice: Raw = _NONE
    service_tier: Raw = _NONE
    output_config: Raw = _NONE


class _Unlisted(Asked, frozen=True):
    """The same, of a request whose messages are no list: they are not looked at."""

    messages: Raw = _NONE  # type: ignore[assignment]


_ASKED = Decoder(Asked)
_UNLISTED = Decoder(_Unlisted)


def as_asked(body: bytes, behind: Behind | None = None) -> Asked:
    """The fields in one pass over the body; raises what msgspec raises for bytes it cannot read.

    The messages `behind` are left out, and cost nothing.
    """
    if behind is not None:
        comma = COMMA.match(body, behind.end)
        body = body[: behind.start] + body[comma.end() if comma else behind.end :]
    try:
        return _ASKED.decode(body)
    except msgspec.ValidationError:
        pass
    try:
        odd = _UNLISTED.decode(body)
    except msgspec.ValidationError:
        # JSON, but no object.
        return Asked()
    return Asked([], *(getattr(odd, name) for name in Asked.__struct_fields__[1:]))
