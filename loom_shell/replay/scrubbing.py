"""No secret is written: in its place stands a token, of the same length and the same wherever it stands.

So bytes keep their places, and whoever reads can tell whether two secrets were one. The key that tokens
are made with is never written. What counts as a secret: the values of certain header lines and query fields,
those values wherever else they stand (a field's, if it has a digit: others may be words), and what the core's
redaction finds, also behind the escapes of JSON.
"""

import re
import secrets
from base64 import b16encode
from hashlib import blake2b
from itertools import cycle, islice
from urllib.parse import unquote_to_bytes

from loom_core.values import Headers
from loom_shell.replay import deltas
from loom_shell.replay.blobs import address, pieces
from loom_shell.replay.finding import SHORTEST, Finder

CARRIED, CARRIED_OF_STREAM = 8_192, 65_536
"""Bytes of what went before that are looked at again with what follows; more in streams: frames are large."""
MOST_CLEAN, SHORT = 16_384, 1_024
"""So many pieces are known to hold no secret, of so many bytes or more."""
_SECRET = re.compile(
    rb"(?i)authorization|authenticat|cookie|credential|password|secret|signature|token(?!s)|(?:^|[-_])(?:api[-_]?)?key$"
)
_NO_SECRET = frozenset({b"www-authenticate", b"proxy-authenticate"})
_FIELD = re.compile(
    rb"(?i)([?&][^=&]*(?:key|token|secret|password|passwd|signature|credential|auth|sig|code)=)([^&]+)"
)
_JSON = re.compile(r"\s*[\[{]")
_DIGIT = re.compile(rb"[0-9]")
_BEGAN = "[redacted"
_OPENING = b"-----BEGIN PRIVATE KEY-----"
Opened = dict[bytes, tuple[int, bytes]]
"""Of each text in which a private key goes on: how many bytes ago it began, and what to read in its place."""
_LETTERS = bytes.maketrans(b"0123456789ABCDEF", b"abcdefghijklmnop")


class Scrubber:
    """Of one journal. Everything keeps its length in bytes (UTF-8)."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)
        self._finder = Finder()
        self._clean: set[bytes] = set()

    def token(self, secret: str, size: int | None = None) -> str:
        """`size`: the bytes that it takes where it is written in escapes."""
        octets = _octets(secret)
        size = len(octets) if size is None else size
        digest = blake2b(octets, key=self._key, digest_size=20).digest()
        letters = b16encode(digest).translate(_LETTERS).decode()
        began = _BEGAN if size >= len(_BEGAN) + SHORTEST else ""
        return began + "".join(islice(cycle(letters), size - len(began)))

    def headers(self, headers: Headers) -> Headers:
        """The same lines; what those hold that are secret is looked for everywhere from now on."""
        return tuple((name, self._value(name, value)) for name, value in headers)

    def target(self, target: bytes) -> bytes:
        """A path with query; what that holds that is secret is looked for everywhere from now on."""
        found = _FIELD.sub(lambda it: it[1] + self._of_field(it[2]), target)
        return self.content(found)

    def _of_field(self, value: bytes) -> bytes:
        if _DIGIT.search(value):
            self._learns(value)
            self._learns(unquote_to_bytes(value))
        return self._token(value)

    def text(self, text: str) -> str:
        """All of a text: it shows by its beginning whether it is JSON."""
        return self._without(text, in_json=_JSON.match(text) is not None)

    def _without(self, text: str, *, in_json: bool) -> str:
        parts, done = list[str](), 0
        for begin, end, said in self._finder.places(text, in_json=in_json):
            parts += (text[done:begin], self.token(said, len(_octets(text[begin:end]))))
            done = end
        return "".join((*parts, text[done:])) if parts else text

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
        clean = self._without(text, in_json=True)
        return content if clean == text else clean.encode("utf-8", "surrogateescape")

    def body(
        self, body: bytes, carried: bytes = b"", *, is_whole: bool = True, opened: Opened | None = None
    ) -> bytes:
        """A body, or a part of one: `carried` went before.

        Of one that goes on, what may be half a secret at its end goes. What a model said in pieces is a text.
        `opened` is of one body, and kept from part to part.
        """
        whole, opened = carried + body, {} if opened is None else opened
        clean = bytearray(whole)
        texts = deltas.texts(whole) if deltas.SIGN in whole else {b"": [(0, len(whole))]}
        for name, places in texts.items():
            joined = b"".join(whole[begin:end] for begin, end in places)
            before = sum(max(0, min(end, len(carried)) - begin) for begin, end in places)
            since, key = opened.pop(name, (0, b""))
            key = key if since > before else b""
            part, goes_on = self._part(key + joined, is_whole=is_whole)
            if goes_on:
                opened[name] = goes_on
            if part == joined:
                continue
            at = len(key)
            for begin, end in places:
                clean[begin:end] = part[at : at + end - begin]
                at += end - begin
        return bytes(clean[len(carried) :])

    def _part(self, content: bytes, *, is_whole: bool) -> tuple[bytes, tuple[int, bytes] | None]:
        """It, and whether a private key goes on behind it (see `Opened`)."""
        clean = self.content(content)
        goes_on = None if clean == content else self._goes_on(content)
        if is_whole:
            return clean, goes_on
        text = clean.decode("utf-8", "surrogateescape")
        at = self._finder.breaks_off(text)
        if at is None:
            return clean, goes_on
        kept = text[:at].encode("utf-8", "surrogateescape")
        return kept + b"x" * (len(clean) - len(kept)), goes_on

    def _goes_on(self, content: bytes) -> tuple[int, bytes] | None:
        text = content.decode("utf-8", "surrogateescape")
        place = self._finder.open_key(text)
        if place is None:
            return None
        since = len(text[place[0] :].encode("utf-8", "surrogateescape"))
        # In no string of JSON is a line break.
        return since, _OPENING + (b"\n" if "\n" in text[slice(*place)] else b"")

    def _value(self, name: bytes, value: bytes) -> bytes:
        if not _SECRET.search(name) or name.lower() in _NO_SECRET:
            return self.content(value)
        scheme, space, rest = value.partition(b" ")
        kept, secret = (scheme + space, rest) if space and scheme.isalpha() else (b"", value)
        self._learns(secret)
        return kept + self._token(secret)

    def _learns(self, secret: bytes) -> None:
        if self._finder.learns(secret.decode("utf-8", "surrogateescape")):
            self._clean.clear()

    def _token(self, secret: bytes) -> bytes:
        return self.token(secret.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _octets(text: str) -> bytes:
    """Surrogates stand for bytes that are no UTF-8, or for themselves."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
