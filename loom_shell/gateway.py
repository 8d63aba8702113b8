"""Gateway mode: the Loom holds upstream's key, and clients come with tokens of the Loom's own.

A token is 32 random bytes, so its plain SHA-256 can be stored: there is no dictionary to try.
The file has a line `sha256:<64 hexadecimal digits> <name>` for each token; empty lines and lines
that start with `#` are left out when it is read.
"""

import hmac
import re
import secrets
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from attrs import frozen

from loom_core.values import Admission, Headers
from loom_shell.files import FileRefusedError, named, read_whole, write_private
from loom_shell.secret import Secret

PREFIX = "loom_"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
LINE = re.compile(rf"sha256:([0-9a-f]{{64}}) +({NAME.pattern})")
BEARER = re.compile(rb"bearer +(.*)", re.IGNORECASE | re.DOTALL)
"""RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1)."""


@frozen
class ClientToken:
    """What the Loom keeps of a client token: its name and its SHA-256 (32 bytes)."""

    name: str
    digest: bytes


@frozen
class Gateway:
    """Without a key there is no gateway: the client's own credential goes upstream."""

    key: Secret | None = None
    tokens: tuple[ClientToken, ...] = ()


def new_token() -> tuple[Secret, bytes]:
    """A fresh client token and its digest."""
    token = PREFIX + secrets.token_urlsafe(32)
    return Secret(token), digest_of(token.encode())


def digest_of(token: bytes) -> bytes:
    return sha256(token).digest()


def admit(headers: Headers, gateway: Gateway) -> Admission:
    """Judge the credential a client sent. Nothing in `headers` makes it raise.

    A client that sends several credentials is admitted only if each of them is a token.
    """
    if not gateway.tokens:
        return Admission.OWN if gateway.key is None else Admission.TOKEN
    if gateway.key is None:
        # Config refuses this pair. Were it to come, a client's token must not go upstream.
        return Admission.REFUSED
    offered = [*_offered(headers)]
    known = bool(offered) and all(_is_known(token, gateway.tokens) for token in offered)
    return Admission.TOKEN if known else Admission.REFUSED


def _offered(headers: Headers) -> Iterable[bytes | None]:
    """Each credential in the head; None for one that no token can be in."""
    for name, value in headers:
        match name.lower():
            case b"x-api-key":
                yield value.strip(b" \t")
            case b"authorization":
                bearer = BEARER.fullmatch(value.strip(b" \t"))
                yield bearer[1] if bearer else None


def _is_known(token: bytes | None, tokens: tuple[ClientToken, ...]) -> bool:
    if token is None:
        return False
    digest = digest_of(token)
    found = False
    for one in tokens:
        # Every digest is compared, each in constant time: how long it takes tells nothing.
        found |= hmac.compare_digest(digest, one.digest)
    return found


def read_tokens(path: Path) -> tuple[ClientToken, ...]:
    """The tokens in a file, in its order. FileRefusedError names the file and the line at fault."""
    content, _mode = read_whole(path)
    tokens: dict[str, ClientToken] = {}
    for number, raw in enumerate(content.splitlines(), 1):
        line = raw.decode("ascii", "replace").strip()
        if not line or line.startswith("#"):
            continue
        # The line itself stays out of the message: it may hold a token by mistake.
        match = LINE.fullmatch(line)
        if not match:
            wanted = "`sha256:` with 64 hexadecimal digits, a space and a name"
            raise FileRefusedError(f"line {number} of {named(path)} must be {wanted}")
        digest, name = match.groups()
        if name in tokens:
            raise FileRefusedError(f"line {number} of {named(path)} names {name} a second time")
        tokens[name] = ClientToken(name, bytes.fromhex(digest))
    return tuple(tokens.values())


def write_tokens(path: Path, tokens: tuple[ClientToken, ...]) -> None:
    """Replace the file of tokens in one step, mode 0600. OSError as it comes."""
    lines = (f"sha256:{token.digest.hex()} {token.name}\n" for token in tokens)
    write_private(path, "".join(lines).encode())
