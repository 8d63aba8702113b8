"""A secret: a text that shows itself to nobody who does not ask for it by name.

A plain class on purpose. attrs and msgspec look into the fields of attrs classes, dataclasses and
structs, so `attrs.asdict` and `msgspec.json.encode` would copy the text out of any of those.
"""

import hmac
from typing import NoReturn, Self, final

REDACTED = "Secret(…)"


@final
class Secret:
    """A frozen text whose repr, str and format are redacted; `expose()` gives the text.

    It is neither pickled nor encoded as JSON (TypeError), and copies are the value itself.
    """

    __slots__ = ("__text",)

    __text: str

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "_Secret__text", text)

    def expose(self) -> str:
        """The text itself. Who calls this is who may put it on a wire."""
        return self.__text

    def __repr__(self) -> str:
        return REDACTED

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, _spec: str) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # Constant time, so that comparing tells nothing about where two texts differ.
        return hmac.compare_digest(self._octets(), other._octets())

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def _octets(self) -> bytes:
        return self.__text.encode("utf-8", "surrogatepass")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled")

    def __setattr__(self, _name: str, _value: object) -> NoReturn:
        raise AttributeError("a Secret is frozen")

    def __delattr__(self, _name: str) -> NoReturn:
        raise AttributeError("a Secret is frozen")
