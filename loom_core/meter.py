"""The cache meter: what a request would read from, and write to, upstream's prompt cache.

The rules (public documentation, "Prompt caching"; weaving.md, "The cache meter used for costs"):

* The cacheable prefix runs tools, system, messages. A request is a chain of blocks, each with
  the hash of everything up to and including it; a string is one text block. `cache_control`
  is not content and takes no part in the hash.
* An entry is written at each marker, and nowhere else. It lives 5 minutes or 1 hour, as its
  marker says, and each use starts that time again.
* From each marker the meter walks back at most 20 positions, the marker's own being the first,
  for an entry an earlier request wrote; the longest one found is read.
* With A tokens to the longest hit, B to the last 1-hour marker behind it and C to the last
  marker: A are read, B-A written for an hour, C-B for 5 minutes, and the rest is plain input.
* A prefix shorter than the model's minimum is neither written nor read.

Tokens are estimated from bytes: the figures are for comparing, not for billing.
"""

import hashlib
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct, field

MINUTE = 60 * 1_000_000_000
LIVES: Mapping[str, int] = {"5m": 5 * MINUTE, "1h": 60 * MINUTE}
"""Life of an entry in nanoseconds, by the marker's `ttl`; without one it is 5 minutes."""

LOOK_BACK = 20
"""Positions looked at from each marker, its own included."""

MOST_ENTRIES = 10_000
"""Entries kept; beyond it those that expire soonest are dropped."""

MINIMUMS: tuple[tuple[str, int], ...] = (
    ("opus-5", 512),
    ("fable-5", 512),
    ("mythos-5", 512),
    ("opus-4-7", 2048),
    ("opus-4-6", 4096),
    ("opus-4-5", 4096),
    ("haiku-4-5", 4096),
    ("3-5-haiku", 2048),
    ("3-haiku", 2048),
)
"""Smallest cacheable prefix in tokens: the first row whose words stand in the model's name."""

USUAL_MINIMUM = 1024
BYTES_PER_TOKEN = 4
PICTURE_TOKENS = 1600
"""An encoded picture or file costs by its content, not by the length of its base64."""


class Entry(Struct, frozen=True):
    """A cached prefix. `expires` and `life` are nanoseconds."""

    expires: int
    life: int


class Meter(Struct, frozen=True):
    """What upstream has cached: the hash of a prefix -> its entry. Never changed in place."""

    entries: Mapping[bytes, Entry] = field(default_factory=dict)


class Figures(Struct, frozen=True):
    """Tokens of one request, under the names of the Messages API's `usage`."""

    input_tokens: int = 0
    cache_read_input_tokens: int = 0
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0

    @property
    def cache_creation_input_tokens(self) -> int:
        return self.ephemeral_5m_input_tokens + self.ephemeral_1h_input_tokens

    @property
    def total(self) -> int:
        """All tokens of the request, cached or not: the answer of `count_tokens`."""
        return self.input_tokens + self.cache_read_input_tokens + self.cache_creation_input_tokens

    @property
    def cost(self) -> float:
        """The price in units of one plain input token: read 0.1, write 1.25 (5 m) or 2 (1 h)."""
        written = 1.25 * self.ephemeral_5m_input_tokens + 2.0 * self.ephemeral_1h_input_tokens
        return self.input_tokens + 0.1 * self.cache_read_input_tokens + written


class _Position(Struct, frozen=True):
    """A block's place in the chain: the hash and the tokens up to and including it."""

    key: bytes
    tokens: int
    life: int | None
    """What a marker on this block asks for; None where there is no marker."""


def measure(meter: Meter, body: object, at: int) -> tuple[Meter, Figures]:
    """Meter one request: the cache after it, and its figures. Never raises.

    `body` is the request as parsed JSON, of any shape; `at` is nanoseconds.
    """
    chain = _chain(body)
    if not chain:
        return meter, Figures()
    total = chain[-1].tokens
    marked = [i for i, place in enumerate(chain) if place.life and place.tokens >= minimum(_model(body))]
    if not marked:
        return meter, Figures(input_tokens=total)
    alive = {key: entry for key, entry in meter.entries.items() if entry.expires > at}
    hit = _longest_hit(chain, marked, alive)
    read = 0 if hit is None else chain[hit].tokens
    hour = max([read, *(chain[i].tokens for i in marked if chain[i].life == LIVES["1h"])])
    last = chain[marked[-1]].tokens
    figures = Figures(
        input_tokens=total - last,
        cache_read_input_tokens=read,
        ephemeral_1h_input_tokens=hour - read,
        ephemeral_5m_input_tokens=last - hour,
    )
    if hit is not None:
        used = alive[chain[hit].key]
        alive[chain[hit].key] = Entry(at + used.life, used.life)
    for i in marked:
        life = max(chain[i].life or 0, alive[chain[i].key].life if chain[i].key in alive else 0)
        alive[chain[i].key] = Entry(at + life, life)
    return Meter(_newest(alive)), figures


def count_tokens(body: object) -> int:
    """The tokens of a request, markers aside."""
    chain = _chain(body)
    return chain[-1].tokens if chain else 0


def minimum(model: str) -> int:
    """The smallest prefix `model` caches, in tokens."""
    return next((tokens for words, tokens in MINIMUMS if words in model), USUAL_MINIMUM)


def estimate(value: object) -> int:
    """Tokens of any JSON value, roughly: its bytes by four, rounded up."""
    source = value.get("source") if isinstance(value, dict) else None
    if isinstance(source, dict) and source.get("type") == "base64":
        return PICTURE_TOKENS
    return -(-len(_encoded(value)) // BYTES_PER_TOKEN)


def _longest_hit(chain: list[_Position], marked: list[int], alive: Mapping[bytes, Entry]) -> int | None:
    for i in reversed(marked):
        for place in range(i, max(-1, i - LOOK_BACK), -1):
            if chain[place].key in alive:
                return place
    return None


def _newest(entries: dict[bytes, Entry]) -> dict[bytes, Entry]:
    if len(entries) <= MOST_ENTRIES:
        return entries
    kept = sorted(entries.items(), key=lambda item: (item[1].expires, item[0]))[-MOST_ENTRIES:]
    return dict(kept)


def _model(body: object) -> str:
    model = body.get("model") if isinstance(body, dict) else None
    return model if isinstance(model, str) else ""


def _chain(body: object) -> list[_Position]:
    key, tokens, chain = hashlib.blake2b(_model(body).encode("utf-8", "replace"), digest_size=16), 0, []
    for place, block in _flat(body):
        content = block
        if isinstance(block, dict) and "cache_control" in block:
            content = {name: part for name, part in block.items() if name != "cache_control"}
        # Each link hashes the one before it: equal blocks at different places have keys of their own.
        key = hashlib.blake2b(key.digest() + place + _encoded(content), digest_size=16)
        tokens += estimate(content)
        chain.append(_Position(key.digest(), tokens, _life(block)))
    # Automatic caching: a marker on the request itself stands for one on its last block.
    if chain and (life := _life(body)) is not None and chain[-1].life is None:
        chain[-1] = _Position(chain[-1].key, chain[-1].tokens, life)
    return chain


def _flat(body: object) -> Iterator[tuple[bytes, object]]:
    """Every block with the place it stands in, in the order upstream caches them."""
    if not isinstance(body, dict):
        return
    for tool in _blocks(body.get("tools")):
        yield b"tools\0", tool
    for block in _blocks(body.get("system")):
        yield b"system\0", block
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict):
            place = b"message\0" + _encoded(message.get("role")) + b"\0"
            for block in _blocks(message.get("content")):
                yield place, block
        else:
            yield b"message\0", message


def _blocks(content: object) -> list[object]:
    if content is None:
        return []
    return content if isinstance(content, list) else [_as_text(content)]


def _as_text(content: object) -> object:
    return {"type": "text", "text": content} if isinstance(content, str) else content


def _life(block: object) -> int | None:
    marker = block.get("cache_control") if isinstance(block, dict) else None
    if not isinstance(marker, dict):
        return None
    ttl = marker.get("ttl")
    return LIVES.get(ttl, LIVES["5m"]) if isinstance(ttl, str) else LIVES["5m"]


def _encoded(value: object) -> bytes:
    """A value's bytes, keys ordered; what JSON cannot carry counts as the text it prints as."""
    try:
        return msgspec.json.encode(value, order="deterministic")
    except (TypeError, ValueError, OverflowError, RecursionError):
        try:
            return repr(value).encode("utf-8", "backslashreplace")
        except RecursionError:
            return b"?"
