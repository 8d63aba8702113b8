"""Edits of a JSON file that a person keeps: what is not edited stays as it is, to the byte.

Positions are of characters in the text. A path is of member names and item numbers: `("env", "A")`.
"""

import json
import re
from typing import NoReturn

from attrs import frozen

Path = tuple[str | int, ...]

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[][{}:,]|[^][{}:,\s"]+)', re.DOTALL)
_INDENT = re.compile(r"\s*\{[ \t]*\r?\n([ \t]+)")


class JsonRefusedError(Exception):
    """A text that cannot be edited: the text of this says the line, what is wrong and what to do."""


@frozen
class Node:
    """A value in the text: `text[start:end]`. `parts` are the values of an object or array.

    `names` are an object's member names, one for each part, and `begins` where each member (with its
    name) or item begins; both are empty where there is nothing inside.
    """

    start: int
    end: int
    kind: str
    names: tuple[str, ...] = ()
    begins: tuple[int, ...] = ()
    parts: tuple["Node", ...] = ()


def parse(text: str) -> Node:
    """The tree of a JSON text (RFC 8259, to the letter). JsonRefusedError for anything else."""
    try:
        json.loads(text, parse_constant=_no_constant)
        return _node(text, 0)
    except json.JSONDecodeError as error:
        raise JsonRefusedError(_told(text, error)) from None
    except RecursionError:
        raise JsonRefusedError("it is nested too deeply: take what is too deep out") from None
    except ValueError as error:
        raise JsonRefusedError(f"{error}: correct it") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _told(text: str, error: json.JSONDecodeError) -> str:
    at = error.pos + len(text[error.pos :]) - len(text[error.pos :].lstrip())
    before = text[: error.pos].rstrip()
    # Some versions point at the comma, some behind it.
    comma = text[at : at + 1] == "," and text[at + 1 :].lstrip()[:1] in {"}", "]"}
    if text[at : at + 2] in {"//", "/*"} or text[at : at + 1] == "#":
        return f"line {_line(text, at)}: a comment, which JSON does not have: take it out"
    if comma or (before.endswith(",") and text[at : at + 1] in {"}", "]"}):
        place = at if comma else len(before) - 1
        return (
            f"line {_line(text, place)}: a comma after the last entry, which JSON does not allow: take it out"
        )
    return f"line {error.lineno}, column {error.colno}: not JSON ({error.msg.lower()}): correct it"


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _node(text: str, at: int) -> Node:
    """The value that begins at or after `at`, of a text known to be JSON."""
    start, end, word = _next(text, at)
    if word not in {"{", "["}:
        return Node(start, end, "string" if word[0] == '"' else "other")
    kind = "object" if word == "{" else "array"
    names: list[str] = []
    begins: list[int] = []
    parts: list[Node] = []
    begin, after, word = _next(text, end)
    while word not in {"}", "]"}:
        if word == ",":
            begin, after, word = _next(text, after)
        begins.append(begin)
        if kind == "object":
            names.append(json.loads(word))
            begin = _next(text, after)[1]
        parts.append(_node(text, begin))
        begin, after, word = _next(text, parts[-1].end)
    return Node(start, after, kind, tuple(names), tuple(begins), tuple(parts))


def _next(text: str, at: int) -> tuple[int, int, str]:
    found = _TOKEN.match(text, at)
    if found is None:
        raise JsonRefusedError("it ends too early: correct it")
    return found.start(1), found.end(1), found[1]


# Looking


def find(text: str, path: Path) -> Node | None:
    """The value at a path. JsonRefusedError if a name on the way stands there twice, or in no object."""
    node = parse(text)
    for depth, step in enumerate(path):
        wanted = "object" if isinstance(step, str) else "array"
        if node.kind != wanted:
            where = ".".join(map(str, path[:depth])) or "the whole"
            raise JsonRefusedError(f"line {_line(text, node.start)}: {where} must be an {wanted}: correct it")
        index = _index(node, step)
        if index is None:
            return None
        node = node.parts[index]
    return node


def _index(node: Node, step: str | int) -> int | None:
    if isinstance(step, int):
        return step if step < len(node.parts) else None
    if node.names.count(step) > 1:
        raise JsonRefusedError(f"{json.dumps(step)} stands in one object twice: take one out")
    return node.names.index(step) if step in node.names else None


def value(text: str, path: Path) -> object:
    """What stands at a path, None where nothing does."""
    node = find(text, path)
    return None if node is None else json.loads(text[node.start : node.end])


# Editing


def put(text: str, path: Path, wanted: object) -> str:
    """Set a member, making the objects on the way that are missing."""
    node = find(text, path)
    if node is not None:
        return text[: node.start] + json.dumps(wanted, ensure_ascii=False) + text[node.end :]
    *way, name = path
    return _insert(_with(text, tuple(way), {}), tuple(way), name, wanted)


def put_as_is(text: str, path: Path, raw: str) -> str:
    """Replace a value that is there by JSON as it is written. JsonRefusedError if it is none."""
    parse(raw)
    node = find(text, path)
    return text if node is None else text[: node.start] + raw + text[node.end :]


def add(text: str, path: Path, wanted: object) -> str:
    """Append an item to the array at `path`, making what is missing."""
    return _insert(_with(text, path, []), path, None, wanted)


def _with(text: str, path: Path, empty: object) -> str:
    return text if find(text, path) is not None else put(text, path, empty)


def drop(text: str, path: Path) -> str:
    """Take a member or item out, with its comma. What is not there is not there."""
    *way, step = path
    node = find(text, tuple(way))
    index = None if node is None else _index(node, step)
    if node is None or index is None:
        return text
    if len(node.parts) == 1:
        return text[: node.start + 1] + text[node.end - 1 :]
    if index == 0:
        return text[: node.begins[0]] + text[node.begins[1] :]
    return text[: node.parts[index - 1].end] + text[node.parts[index].end :]


def _insert(text: str, path: Path, name: str | int | None, wanted: object) -> str:
    """Put a new part behind the last one of a container, in the layout that the file has."""
    node = find(text, path)
    if node is None or node.kind != ("array" if name is None else "object"):
        where = ".".join(map(str, path)) or "the whole"
        wanted_kind = "array" if name is None else "object"
        raise JsonRefusedError(f"{where} must be an {wanted_kind}: correct it")
    newline = "\r\n" if "\r\n" in text else "\n"
    found = _INDENT.match(text)
    unit = found[1] if found else "  "
    label = "" if name is None else f"{json.dumps(name, ensure_ascii=False)}: "
    root = parse(text)
    if node.parts:
        gap = text[len(text[: node.begins[-1]].rstrip()) : node.begins[-1]]
        if "\n" in gap:
            inner = gap.rpartition("\n")[2]
            new = f",{gap}{label}{_shown(wanted, unit, newline + inner)}"
        else:
            new = f",{gap if len(node.parts) > 1 else ' '}{label}{json.dumps(wanted, ensure_ascii=False)}"
        return text[: node.parts[-1].end] + new + text[node.parts[-1].end :]
    if node.start == root.start or "\n" in text[root.start : root.end]:
        outer = _indentation(text, node.start)
        shown = _shown(wanted, unit, newline + outer + unit)
        new = f"{newline}{outer}{unit}{label}{shown}{newline}{outer}"
    else:
        new = label + json.dumps(wanted, ensure_ascii=False)
    return text[: node.start + 1] + new + text[node.end - 1 :]


def _shown(wanted: object, unit: str, break_: str) -> str:
    return json.dumps(wanted, ensure_ascii=False, indent=unit).replace("\n", break_)


def _indentation(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]
