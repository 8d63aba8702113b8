"""Slots: `{{name}}` in a profile's texts, filled once, when the profile is read.

`{{{{` writes two braces: of `{{{{name}}` remains `{{name}}`. Closing braces stand for themselves.
A value is put in as it is: what looks like a slot in it is none. There is no more to it than that.
"""

import re
from collections.abc import Mapping

from attrs import frozen

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
NAME_ALLOWED = "1 to 64 small letters, digits and _, first a letter"
DOUBLED = "{{{{ for two braces"

_MARK = re.compile(rf"\{{\{{\{{\{{|\{{\{{(?: *({NAME.pattern}) *\}}\}})?")
_SHOWN = 40
"""Characters shown of what is no slot."""


@frozen
class Filled:
    """A text with its slots filled. `strays`: (line, words) for each `{{` that begins no slot known.

    `is_long`: it would have more characters than allowed; `text` then is a part of it.
    """

    text: str
    strays: tuple[tuple[int, str], ...] = ()
    is_long: bool = False


def fill(text: str, slots: Mapping[str, str], most: int) -> Filled:
    """Fill the slots of `text`; at most `most` characters come of it. Never raises."""
    parts: list[str] = []
    strays: list[tuple[int, str]] = []
    end = length = 0
    line = 1
    for mark in _MARK.finditer(text):
        between = text[end : mark.start()]
        line += between.count("\n")
        name = mark[1]
        if mark[0] == "{{{{":
            value = "{{"
        elif name is not None and name in slots:
            value = slots[name]
        else:
            value = ""
            strays.append((line, _stray(text, mark)))
        parts += between, value
        end = mark.end()
        length += len(between) + len(value)
        if length > most:
            return Filled("".join(parts)[:most], tuple(strays), is_long=True)
    filled = "".join((*parts, text[end:]))
    return Filled(filled[:most], tuple(strays), len(filled) > most)


def _stray(text: str, mark: re.Match[str]) -> str:
    """What stands at a `{{`: to the closing braces if they are near, else the beginning of the line."""
    words = text[mark.start() : mark.start() + _SHOWN].partition("\n")[0]
    inside, closing, _rest = words.partition("}}")
    return inside + closing


def allowed(slots: Mapping[str, str]) -> str:
    """The slots there are, as a sentence about a stray one ends."""
    return f"allowed are {', '.join(f'{{{{{name}}}}}' for name in sorted(slots))}, and {DOUBLED}"
