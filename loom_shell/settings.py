"""Every setting of the Loom, declared once: its names, what it may be, and what it is unless told.

A setting has a key in `loom.toml`, an environment variable, and nearly always a flag. All bring
their value through the same `parse`, which takes text or a TOML value and raises ValueError.
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from attrs import frozen

Parse = Callable[[object], object]
LogForm = Literal["auto", "json", "text"]

INTEGER = re.compile(r"[0-9]{1,18}")
DECIMAL = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
SIZE = re.compile(r"([0-9]{1,15}) ?(k|M|G|Ki|Mi|Gi)?B?", re.IGNORECASE)
NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*\.?", re.IGNORECASE)
ADDRESS = re.compile(r"[0-9a-f:.]+(%[a-z0-9_.-]{1,32})?", re.IGNORECASE)
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
ORIGIN = re.compile(r"(https?)://(\[[^]/]+]|[^]\[:/]+)(?::([0-9]{1,5}))?((?:/.*)?)", re.IGNORECASE)
ORIGIN_ONLY = "only scheme://host or scheme://host:port"
DEFAULT_PORTS = {"http": 80, "https": 443}


class RefusedError(ValueError):
    """A value refused with a sentence of its own. It may hold a secret, so it is not shown."""


@frozen
class Origin:
    """Where upstream is. `host` is lower case, an IPv6 address without brackets."""

    scheme: Literal["http", "https"]
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port: what a Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"


@frozen
class Setting:
    """What a setting is called, what it may be, and what it is unless told.

    `allowed` completes the sentence `<key> must be …`; `default` is text, as a user would write it;
    `purpose` is what the help says.
    `flag` has no dashes in front and underscores inside: the name of a command's parameter.
    """

    key: str
    default: str | None
    parse: Parse
    allowed: str
    flag: str | None
    purpose: str = ""
    secret: bool = False

    @property
    def variable(self) -> str:
        return "LOOM_" + _flat(self.key).upper()

    @property
    def option(self) -> str:
        """The flag as it is typed."""
        return f"--{(self.flag or _flat(self.key)).replace('_', '-')}"


def _flat(key: str) -> str:
    return key.removeprefix("gateway.").replace(".", "_")


def _setting(key: str, default: str | None, parse: Parse, allowed: str, purpose: str) -> Setting:
    return Setting(key, default, parse, allowed, _flat(key), purpose)


def integer(least: int, most: int) -> Parse:
    def parse(value: object) -> int:
        number = int(value) if isinstance(value, str) and INTEGER.fullmatch(value) else value
        if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
            raise ValueError
        return number

    return parse


def number(least: float, most: float) -> Parse:
    def parse(value: object) -> float:
        found = float(value) if isinstance(value, str) and DECIMAL.fullmatch(value) else value
        # Not a number, and NaN: neither is within any range.
        if not isinstance(found, int | float) or isinstance(found, bool) or not least <= found <= most:
            raise ValueError
        return float(found)

    return parse


def or_none(parse: Parse) -> Parse:
    return lambda value: None if value == "none" else parse(value)


def size(value: object) -> int:
    """Bytes, as a number or with a unit: kB, MB, GB are powers of 1000; KiB, MiB, GiB of 1024."""
    match = SIZE.fullmatch(str(value)) if isinstance(value, str | int) else None
    if not match or isinstance(value, bool):
        raise ValueError
    count = int(match[1]) * UNITS[(match[2] or "").lower()]
    if count < 1:
        raise ValueError
    return count


def statuses(value: object) -> frozenset[int]:
    """A list of statuses, or text with commas between them; `none` and an empty list are none."""
    if value == "none":
        return frozenset()
    parts = value.replace(" ", "").split(",") if isinstance(value, str) else value
    if not isinstance(parts, list):
        raise ValueError  # noqa: TRY004 - a wrong value, whatever its type
    status = integer(400, 599)
    return frozenset(status(part) for part in parts)  # type: ignore[misc]


def switch(value: object) -> bool:
    match value.lower() if isinstance(value, str) else value:
        case True | "1" | "true" | "yes" | "on":
            return True
        case False | "0" | "false" | "no" | "off":
            return False
    raise ValueError


def one_of(*words: str) -> Parse:
    def parse(value: object) -> object:
        if value not in words:
            raise ValueError
        return value

    return parse


def path(value: object) -> Path:
    text = str(value) if isinstance(value, str | Path) else ""
    if not text.strip() or "\0" in text:
        raise ValueError
    return Path(text)


def host(value: object) -> str:
    """An IP address or a name to bind to; brackets around an IPv6 address are taken off."""
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - a wrong value, whatever its type
    text = value[1:-1] if re.fullmatch(r"\[.*:.*]", value) else value
    # A last label of digits makes a resolver read the whole as an IPv4 address: 127.1, 0, 0x7f000001.
    if is_address(text) or (
        NAME.fullmatch(text) and not NUMERIC.fullmatch(text.rstrip(".").rpartition(".")[2])
    ):
        return text.lower()
    raise ValueError


def is_address(text: str) -> bool:
    if not ADDRESS.fullmatch(text):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def key_text(value: object) -> str:
    """An API key: one word of visible ASCII, for it becomes a header value (RFC 9110 section 5.5)."""
    text = value.strip() if isinstance(value, str) else ""
    if not re.fullmatch(r"[\x21-\x7e]{1,4096}", text):
        raise ValueError
    return text


def origin(value: object) -> Origin:
    """`scheme://host` or `scheme://host:port`. What else a URL can hold would go nowhere: refused."""
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - a wrong value, whatever its type
    if "@" in value:
        raise RefusedError(f"upstream must not hold a user or password, {ORIGIN_ONLY}")
    if "?" in value or "#" in value:
        raise RefusedError(f"upstream must not hold a query or fragment, {ORIGIN_ONLY}")
    match = ORIGIN.fullmatch(value)
    port = int(match[3] or DEFAULT_PORTS[match[1].lower()]) if match else 0
    if match is None or not 1 <= port <= 65535:
        raise ValueError
    if match[4] not in ("", "/"):
        raise RefusedError(
            f"upstream must not hold a path, {ORIGIN_ONLY}; the client's path goes up as it is"
        )
    scheme: Literal["http", "https"] = "https" if match[1].lower() == "https" else "http"
    return Origin(scheme, host(match[2]), port)


CONFIG = Setting("config", None, path, "the path of a TOML file", "config", "Settings file")
KEY = Setting(
    "gateway.upstream_api_key", None, key_text, "one word of visible ASCII characters", flag=None, secret=True
)
HOME = _setting("home", None, path, "the path of a folder", "Folder for the Loom's own data")
KEY_FILE = _setting(
    "gateway.upstream_api_key_file",
    None,
    path,
    "the path of a file that holds only the key",
    "Gateway mode: the upstream key",
)
TOKENS_FILE = _setting(
    "gateway.client_tokens_file",
    None,
    path,
    "the path of a file made by `loom token`",
    "Gateway mode: who may use the key",
)

SETTINGS: tuple[Setting, ...] = (
    CONFIG,
    _setting("host", "127.0.0.1", host, "an IP address or a host name", "Listen on"),
    _setting("port", "8080", integer(0, 65535), "0..=65535 (0: any free port)", "Listen on"),
    _setting(
        "upstream",
        "https://api.anthropic.com",
        origin,
        "scheme://host[:port] with http or https",
        "Relay to this origin",
    ),
    _setting("workers", "1", integer(1, 64), "1..=64", "Processes that serve"),
    HOME,
    _setting("drain_seconds", "90", number(0, 3600), "0..=3600", "What open streams get at shutdown"),
    _setting(
        "max_body_bytes",
        "none",
        or_none(size),
        "1 or more, such as 200000000 or 200MB, or none",
        "Largest request body",
    ),
    _setting(
        "connect_timeout_seconds",
        "10",
        number(0.001, 600),
        "0.001..=600",
        "Wait for a connection to upstream",
    ),
    _setting(
        "silence_timeout_seconds",
        "none",
        or_none(number(0.001, 86400)),
        "0.001..=86400, or none",
        "Wait for a byte from upstream",
    ),
    _setting("retry.max_attempts", "3", integer(1, 20), "1..=20", "Attempts before any answer"),
    _setting("retry.base_seconds", "0.5", number(0, 60), "0..=60", "Wait before the second attempt"),
    _setting("retry.factor", "2", number(1, 10), "1..=10", "Growth of the wait"),
    _setting("retry.cap_seconds", "8", number(0, 3600), "0..=3600", "Longest wait between attempts"),
    _setting(
        "retry.statuses",
        "none",
        statuses,
        "a list of 400..=599, such as 429,529, or none",
        "Answers to try again as well",
    ),
    KEY,
    KEY_FILE,
    TOKENS_FILE,
    _setting(
        "gateway.allow_open", "false", switch, "true or false", "Serve other machines without client tokens"
    ),
    _setting("log", "auto", one_of("auto", "json", "text"), "auto, json or text", "Form of the log lines"),
)
