"""Text from anywhere, made fit for one line of a log or a terminal."""


def printable(text: str, limit: int = 1_000) -> str:
    """`text` on one line, at most about `limit` characters of it, with nothing a terminal obeys.

    Line breaks, control characters, ANSI escapes, bidirectional controls and lone surrogates
    become backslash escapes, and so does the backslash in a text that has any of these.
    """
    clipped = text if len(text) <= limit else text[:limit] + "…"
    return clipped if clipped.isprintable() else "".join(map(_escaped, clipped))


def _escaped(char: str) -> str:
    return char if char.isprintable() and char != "\\" else char.encode("unicode_escape").decode("ascii")


def shown(value: object) -> str:
    """A configured value as an error message shows it: its repr, clipped."""
    try:
        return printable(repr(value), 80)
    except ValueError:
        # CPython refuses to write out an integer of more than 4300 digits.
        return "a very large number"
