"""What a kept span says: texts, whole numbers and lists by name, and lines that a terminal may show."""

from loom_core import attributes as names
from loom_shell.printable import printable
from loom_shell.recent import KeptSpan


def model(chat: KeptSpan) -> str:
    return text(chat, names.RESPONSE_MODEL) or text(chat, names.REQUEST_MODEL)


def text(span: KeptSpan, name: str) -> str:
    value = span.attributes.get(name)
    return value if isinstance(value, str) else ""


def texts(span: KeptSpan, name: str) -> tuple[str, ...]:
    value = span.attributes.get(name)
    return tuple(value) if isinstance(value, tuple | list) else ()


def whole(span: KeptSpan, name: str) -> int | None:
    value = span.attributes.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def line(said: str, limit: int) -> str:
    """One line of it, clipped, and nothing in it that a terminal obeys."""
    clean = printable(" ".join(said[: 8 * limit].split()), limit)
    return clean if len(clean) <= limit + 1 else clean[:limit] + "…"
