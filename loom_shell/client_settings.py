"""What the Loom writes into Claude Code's settings.json, and how it is taken out again: text to text.

The record of an installation keeps what stood there before, so that taking out restores it.
"""

import re
import shlex
from hashlib import sha256

import msgspec
from attrs import evolve, field, frozen

from loom_shell.json_edit import JsonRefusedError, add, drop, find, parse, put, put_as_is, value

Version = tuple[int, int, int]

SINCE: dict[str, Version] = {
    "SessionStart": (1, 0, 62),
    "UserPromptSubmit": (1, 0, 54),
    "Stop": (1, 0, 38),
    "SubagentStop": (1, 0, 41),
    "PreCompact": (1, 0, 48),
    "PostCompact": (2, 1, 76),
    "SessionEnd": (1, 0, 85),
}
"""The hook events that are installed, and the client (by its changelog) that brought each."""

STRICT_BEFORE: Version = (2, 1, 9)
"""Clients before this one ignore a file that names an event they do not know (contracts section 2)."""

FEW = frozenset({"SessionStart", "UserPromptSubmit", "Stop", "PreCompact"})
BASE_URL = "ANTHROPIC_BASE_URL"
HINTS = "CLAUDE_CODE_GATEWAY_HINT_HEADERS"
HEADERS = "ANTHROPIC_CUSTOM_HEADERS"
SOURCE = "x-loom-source"
TIMEOUT = 10
"""Seconds the client gives a hook: far more than one takes, so that a busy machine cuts none off."""

_OURS = re.compile(r"-S .*\bloom_shell/hook\.py'? \|\| true$")
_HIDDEN = re.compile(
    r'("[^"\n]*(?:KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL)[^"\n]*"\s*:\s*")(?:[^"\\\n]|\\.)*', re.IGNORECASE
)
_HEADERS_SHOWN = re.compile(r'("ANTHROPIC_CUSTOM_HEADERS"\s*:\s*")((?:[^"\\\n]|\\.)*)')


@frozen
class Wanted:
    """What an installation is to write. `source` is "" where no profile is named."""

    command: str
    events: tuple[str, ...]
    url: str
    source: str = ""


@frozen
class Record:
    """What an installation changed. `env` is name -> (the JSON that stood there or None; the text we wrote).

    `made` are the objects and arrays that were not there; `before` and `after` the SHA-256 of the file
    before the first installation and after the last one ("" where it cannot be put back as a whole).
    """

    env: dict[str, tuple[str | None, str]] = field(factory=dict)
    made: tuple[str, ...] = ()
    url: str = ""
    source: str = ""
    before: str = ""
    after: str = ""
    backup: str = ""
    created: bool = False


def hook_command(python: str, script: str) -> str:
    """The fastest start: nothing of the environment, no site folder, no package.

    `|| true`, for Python ends with 2 if the script has gone, and 2 from a hook would block the user.
    """
    return f"{shlex.quote(python)} -I -S {shlex.quote(script)} || true"


def is_ours(command: object) -> bool:
    return isinstance(command, str) and _OURS.search(command) is not None


def events(version: Version | None) -> tuple[str, ...]:
    """The events to install for a client, None if its version is not known."""
    if version is None:
        return tuple(event for event in SINCE if event in FEW)
    return tuple(
        event
        for event, since in SINCE.items()
        if version >= since and (event in FEW or version >= STRICT_BEFORE)
    )


def digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# Putting in


def installed(text: str, wanted: Wanted, record: Record | None) -> tuple[str, Record]:
    """The settings with our entries, and the record of it. JsonRefusedError if they cannot be edited.

    `text` is "" for no file. When nothing is to be changed the very same text comes back.
    """
    old = record or Record()
    before = text if text.strip() else text + "{}\n"
    parse(before)
    find(before, ("env", BASE_URL))
    find(before, ("hooks", "Stop"))
    fresh = not any(_entries(before, event) for event in _events(before))
    new, made = _with_hooks(before, wanted)
    source = wanted.source or old.source
    env = {BASE_URL: wanted.url, HINTS: "1"}
    if source:
        env[HEADERS] = with_source(str(value(new, ("env", HEADERS)) or ""), source)
    made += () if find(new, ("env",)) else ("env",)
    priors = dict(old.env)
    for name, wish in env.items():
        node = find(new, ("env", name))
        if node is not None and node.kind != "string":
            raise JsonRefusedError(f"env.{name} must be a string: correct it")
        stands = value(new, ("env", name))
        prior, wrote = old.env.get(name, (None, None))
        raw = None if node is None else new[node.start : node.end]
        priors[name] = (prior if node is not None and stands == wrote else raw, wish)
        if stands != wish:
            new = put(new, ("env", name), wish)
    untouched = record is not None and digest(text) == old.after
    if new == before:
        # An entry someone wrote by hand as we would have is as good as ours.
        return text, evolve(old, env=priors, url=wanted.url, source=source, after=digest(text))
    kept = evolve(
        old,
        env=priors,
        made=tuple(dict.fromkeys((*old.made, *made))),
        url=wanted.url,
        source=source,
        after=digest(new),
        before=old.before if untouched else digest(text) if fresh and record is None else "",
        backup=old.backup if untouched else "",
        created=old.created or (record is None and text == ""),
    )
    return new, kept


def _with_hooks(text: str, wanted: Wanted) -> tuple[str, tuple[str, ...]]:
    made: list[str] = [] if find(text, ("hooks",)) else ["hooks"]
    for event in SINCE:
        ours = _entries(text, event)
        if event not in wanted.events:
            text = _without(text, event, None)
            continue
        if find(text, ("hooks", event)) is None:
            made.append(f"hooks.{event}")
        if not ours:
            entry = {"type": "command", "command": wanted.command, "timeout": TIMEOUT}
            text = add(text, ("hooks", event), {"hooks": [entry]})
            continue
        for group, index in reversed(ours[1:]):
            text = drop(text, ("hooks", event, group, "hooks", index))
        where = ("hooks", event, *ours[0][:1], "hooks", ours[0][1], "command")
        if value(text, where) != wanted.command:
            text = put(text, where, wanted.command)
    return text, tuple(made)


def _events(text: str) -> tuple[str, ...]:
    node = find(text, ("hooks",))
    return tuple(dict.fromkeys(node.names)) if node else ()


def _entries(text: str, event: str) -> list[tuple[int, int]]:
    """Where our entries are: number of the group, number in the group."""
    groups = value(text, ("hooks", event))
    if groups is None:
        return []
    if not isinstance(groups, list):
        raise JsonRefusedError(f"hooks.{event} must be an array: correct it")
    return [
        (number, index)
        for number, group in enumerate(groups)
        if isinstance(group, dict) and isinstance(group.get("hooks"), list)
        for index, entry in enumerate(group["hooks"])
        if isinstance(entry, dict) and is_ours(entry.get("command"))
    ]


def commands(text: str) -> dict[str, str]:
    """Event -> our command there."""
    found = {}
    for event in _events(text):
        for group, index in _entries(text, event)[:1]:
            found[event] = str(value(text, ("hooks", event, group, "hooks", index, "command")))
    return found


def with_source(headers: str, source: str) -> str:
    """Header lines with ours: in the place of an older one, or behind the others."""
    lines = headers.split("\n") if headers else []
    ours = f"{SOURCE}: {source}"
    if not any(map(_is_source, lines)):
        return "\n".join([*lines, ours])
    return "\n".join(ours if _is_source(line) else line for line in lines)


def _is_source(line: str) -> bool:
    return line.partition(":")[0].strip().lower() == SOURCE


# Taking out


def uninstalled(text: str, record: Record | None) -> tuple[str, tuple[str, ...]]:
    """The settings without our entries, and a line for each thing that was left."""
    parse(text)
    old = record or Record()
    notes: list[str] = []
    made = frozenset(old.made) if record else None
    for event in _events(text):
        text = _without(text, event, made)
    if (made is None or "hooks" in made) and value(text, ("hooks",)) == {}:
        text = drop(text, ("hooks",))
    for name, (prior, wrote) in old.env.items():
        stands = value(text, ("env", name))
        if stands == wrote:
            text = drop(text, ("env", name)) if prior is None else put_as_is(text, ("env", name), prior)
        elif name == HEADERS and isinstance(stands, str):
            text = _without_source(text, stands)
        elif stands is not None:
            notes.append(f"env.{name} was changed since: left as it is")
    if record is None and value(text, ("env", BASE_URL)) is not None:
        notes.append(f"there is no record of an installation: env.{BASE_URL} left as it is")
    if made is not None and "env" in made and value(text, ("env",)) == {}:
        text = drop(text, ("env",))
    return text, tuple(notes)


def _without(text: str, event: str, made: frozenset[str] | None) -> str:
    """Without our entries, and without what they leave empty if that was made for them (None: not known)."""
    ours = _entries(text, event)
    for group, index in reversed(ours):
        text = drop(text, ("hooks", event, group, "hooks", index))
        if value(text, ("hooks", event, group, "hooks")) == []:
            text = drop(text, ("hooks", event, group))
    if ours and value(text, ("hooks", event)) == [] and (made is None or f"hooks.{event}" in made):
        text = drop(text, ("hooks", event))
    return text


def _without_source(text: str, headers: str) -> str:
    left = "\n".join(line for line in headers.split("\n") if not _is_source(line))
    return put(text, ("env", HEADERS), left) if left else drop(text, ("env", HEADERS))


# The record


def written(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def read_record(content: bytes) -> Record | None:
    """None for what is no record."""
    try:
        return msgspec.json.decode(content, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


# Showing


def shown(text: str) -> str:
    """Settings fit for a screen: no key, token or password, and of headers only names and our own."""

    def headers(found: re.Match[str]) -> str:
        lines = found[2].split("\\n")
        return found[1] + "\\n".join(
            line if _is_source(line) else f"{line.partition(':')[0]}: (hidden)" for line in lines if line
        )

    return _HEADERS_SHOWN.sub(headers, _HIDDEN.sub(r"\1(hidden)", text))
