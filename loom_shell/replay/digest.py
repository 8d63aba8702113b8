"""What the core did, in a few bytes: for each machine one digest that rolls on with each of its steps."""

from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from loom_core.actions import Actions
from loom_core.values import Key
from loom_shell.replay.blobs import address
from loom_shell.replay.codec import codec, encoded
from loom_shell.replay.running import Stepped

_SIZE = 8
_PACKED = msgspec.msgpack.Encoder(order="deterministic")


class Digests:
    """Of the machines of one run."""

    def __init__(self) -> None:
        self._of: dict[Key, bytes] = {}

    def of(self, steps: Iterable[Stepped]) -> str:
        """The digest of every machine that stepped, rolled on; "" if none did."""
        after = [self._rolled(it.key, it.actions) for it in steps]
        return blake2b(b"".join(after), digest_size=_SIZE).hexdigest() if after else ""

    def forget(self, key: Key) -> None:
        self._of.pop(key, None)

    def _rolled(self, key: Key, actions: Actions) -> bytes:
        rolled = blake2b(self._of.get(key, b""), digest_size=_SIZE)
        for action in actions:
            rolled.update(type(action).__name__.encode())
            rolled.update(canonical(action))
        self._of[key] = found = rolled.digest()
        return found


def canonical(value: msgspec.Struct) -> bytes:
    """The same bytes for equal values, in any process."""
    try:
        return _PACKED.encode(value)
    except (UnicodeEncodeError, OverflowError, TypeError):
        # Halves of pairs, numbers beyond 64 bits, sets of what cannot be sorted.
        return encoded(codec(type(value)).writes(value, lambda content: address(content).hex()))
