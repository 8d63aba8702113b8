"""No secret is written: in its place stands a token, of the same length and the same wherever it stands.

So bytes keep their places, and whoever reads can tell whether two secrets were one. The key that tokens
are made with is never written. What counts as a secret: the values of certain header lines and query fields,
those values wherever else they stand, and what the core's redaction finds.
"""

import re
import secrets
from base64 import b16encode
from collections.abc import Iterator
from hashlib import blake2b
from itertools import cycle, islice

from loom_core.redaction import is_marked, replaced
from loom_core.values import Headers
from loom_shell.replay.blobs import address, pieces

CARRIED = 8_192
"""Bytes of what went before that are looked at again with what follows."""
MOST_KNOWN, SHORTEST = 256, 8
"""So many values of headers are looked for elsewhere, of so many characters or more."""
MOST_CLEAN, SHORT = 16_384, 1_024
"""So many pieces are known to hold no secret, of so many bytes or more."""
_SECRET = re.compile(
    rb"(?i)authorization|authenticat|cookie|credential|password|secret|signature|token(?!s)|(?:^|[-_])(?:api[-_]?)?key$"
)
_NO_SECRET = frozenset({b"www-authenticate", b"proxy-authenticate"})
_FIELD = re.compile(
    rb"(?i)([?&][^=&]*(?:key|token|secret|password|passwd|signature|credential|auth|sig|code)=)([^&]+)"
)
_BEGAN, _QUOTE = "[redacted", re.compile(r'(?<!\\)"')
_RUN = re.compile(r"[^\s\"'\\,;{}]+\Z")
_LETTERS = bytes.maketrans(b"0123456789ABCDEF", b"abcdefghijklmnop")
_INDEX = re.compile(rb'"index":\s*([0-9]+)')
_DELTA = re.compile(rb'"(?:text|thinking|partial_json)":\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)


class Scrubber:
    """Of one journal. Everything keeps its length in bytes (UTF-8)."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)
        self._known: dict[str, str] = {}
        self._clean: set[bytes] = set()

    def token(self, secret: str) -> str:
        octets = secret.encode("utf-8", "surrogateescape" if _escaped(secret) else "surrogatepass")
        digest = blake2b(octets, key=self._key, digest_size=20).digest()
        letters = b16encode(digest).translate(_LETTERS).decode()
        began = _BEGAN if len(octets) >= len(_BEGAN) + SHORTEST else ""
        return began + "".join(islice(cycle(letters), len(octets) - len(began)))

    def headers(self, headers: Headers) -> Headers:
        """The same lines; what those hold that are secret is looked for everywhere from now on."""
        return tuple((name, self._value(name, value)) for name, value in headers)

    def target(self, target: bytes) -> bytes:
        """A path with query."""
        found = _FIELD.sub(lambda it: it[1] + self._token(it[2]), target)
        return self.content(found)

    def text(self, text: str) -> str:
        for secret, token in self._known.items():
            if secret in text:
                text = text.replace(secret, token)
        return replaced(text, self._replaced)

    def content(self, content: bytes) -> bytes:
        """Piece by piece: none is looked through twice."""
        return b"".join(map(self._piece, pieces(content)))

    def _piece(self, content: bytes) -> bytes:
        if len(content) < SHORT:
            return self._scrubbed(content)
        name = address(content)
        if name in self._clean:
            return content
        found = self._scrubbed(content)
        if found is content:
            if len(self._clean) >= MOST_CLEAN:
                self._clean.clear()
            self._clean.add(name)
        return found

    def _scrubbed(self, content: bytes) -> bytes:
        text = content.decode("utf-8", "surrogateescape")
        clean = self.text(text)
        return content if clean == text else clean.encode("utf-8", "surrogateescape")

    def body(self, body: bytes, carried: bytes = b"", *, is_whole: bool = True) -> bytes:
        """A body, or a part of one: `carried` went before.

        Of one that goes on, what may be half a secret at its end goes.
        """
        clean = self.content(carried + body)[len(carried) :]
        if b"content_block_delta" in clean:
            clean = self._deltas(clean)
        return clean if is_whole else self._end(clean, carried)

    def _end(self, clean: bytes, carried: bytes) -> bytes:
        text = (carried + clean).decode("utf-8", "surrogateescape")
        if (run := _RUN.search(text)) is None or not is_marked(run[0]):
            return clean
        size = min(len(run[0].encode("utf-8", "surrogateescape")), len(clean))
        return clean[: len(clean) - size] + b"x" * size

    def _deltas(self, stream: bytes) -> bytes:
        """A secret that the model said in pieces: each text is looked at as a whole."""
        places: dict[bytes, list[tuple[int, int]]] = {}
        for begin, end in _frames(stream):
            index, delta = _INDEX.search(stream, begin, end), _DELTA.search(stream, begin, end)
            if index and delta:
                places.setdefault(index[1], []).append(delta.span(1))
        found = bytearray(stream)
        for spans in places.values():
            joined = b"".join(stream[begin:end] for begin, end in spans)
            clean, at = self.content(joined), 0
            if clean != joined:
                for begin, end in spans:
                    found[begin:end] = clean[at : at + end - begin]
                    at += end - begin
        return bytes(found)

    def _value(self, name: bytes, value: bytes) -> bytes:
        if not _SECRET.search(name) or name.lower() in _NO_SECRET:
            return self.content(value)
        scheme, space, rest = value.partition(b" ")
        kept, secret = (scheme + space, rest) if space and scheme.isalpha() else (b"", value)
        token = self._token(secret)
        text = secret.decode("utf-8", "surrogateescape")
        if len(secret) >= SHORTEST and text not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.pop(next(iter(self._known)))
            self._known[text] = token.decode("utf-8", "surrogateescape")
            self._clean.clear()
        return kept + token

    def _token(self, secret: bytes) -> bytes:
        return self.token(secret.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def _replaced(self, secret: str) -> str:
        """A private key lies within one JSON string; what looks like one and goes beyond does not."""
        if not secret.startswith("-----BEGIN") or (quote := _QUOTE.search(secret)) is None:
            return self.token(secret)
        at = quote.start()
        return self.token(secret[:at]) + replaced(secret[at:], self._replaced)


def _escaped(text: str) -> bool:
    """Whether its surrogates stand for bytes that are no UTF-8."""
    return any("\udc80" <= it <= "\udcff" for it in text)


def _frames(stream: bytes) -> Iterator[tuple[int, int]]:
    """Where the frames lie that have a delta."""
    at = stream.find(b"content_block_delta")
    while at >= 0:
        end = stream.find(b"\n\n", at)
        end = len(stream) if end < 0 else end
        yield stream.rfind(b"\n\n", 0, at) + 1, end
        at = stream.find(b"content_block_delta", end)
