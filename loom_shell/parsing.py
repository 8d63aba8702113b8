"""Text or a TOML value becomes a value, or a ValueError: what settings are parsed with."""

import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

Parse = Callable[[object], object]

INTEGER = re.compile(r"[0-9]{1,18}")
DECIMAL = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
SIZE = re.compile(r"([0-9]{1,15}) ?(k|M|G|Ki|Mi|Gi)?B?", re.IGNORECASE)
NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*\.?", re.IGNORECASE)
ADDRESS = re.compile(r"[0-9a-f:.]+(%[a-z0-9_.-]{1,32})?", re.IGNORECASE)
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
PRINTABLE = re.compile(r"[\x21-\x7e]{1,2000}")
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class RefusedError(ValueError):
    """A value refused with a sentence of its own. It may hold a secret, so it is not shown."""


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


def folders(value: object) -> tuple[Path, ...]:
    """A list of folders, or text with colons between them, as PATH has it."""
    parts = value.split(os.pathsep) if isinstance(value, str) else value
    if not isinstance(parts, list) or not parts:
        raise ValueError
    return tuple(path(part) for part in parts)


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


def project(value: object) -> str:
    """A name that people read and a resource attribute holds."""
    if not isinstance(value, str) or not value.strip() or len(value) > 128 or not value.isprintable():
        raise ValueError
    return value.strip()


def web_place(value: object) -> str:
    """An http or https URL without user, query and fragment; no slash at its end."""
    if not isinstance(value, str) or not PRINTABLE.fullmatch(value):
        raise ValueError
    if "@" in value:
        raise RefusedError("it must not hold a user or password")
    if "?" in value or "#" in value:
        raise RefusedError("it must not hold a query or fragment")
    place = urlsplit(value)
    if place.scheme not in {"http", "https"} or not place.hostname or place.port == 0:
        raise ValueError
    return value.rstrip("/")
