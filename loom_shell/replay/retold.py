"""A recorded session as a test: what happened in words that mean nothing, and what must follow.

The test is a file of Python for this repository: `Retold` of tests/support/retold.py is told each event, and
each action must follow. What follows is what the core does now: a person mends the line that is the bug.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import cast

from attrs import evolve
from msgspec import Struct
from msgspec.structs import fields

from loom_core.actions import Tell
from loom_core.values import ExchangeKey
from loom_shell.replay.filler import Filler
from loom_shell.replay.happened import Happened
from loom_shell.replay.holding import Holding
from loom_shell.replay.reading import JournalError
from loom_shell.replay.record import Recorded
from loom_shell.replay.running import Running, Stepped
from loom_shell.replay.shadow import Shadow

_HEAD = '''"""A recorded session, its words replaced by others of the same shape."""

{imports}
from tests.support.retold import Retold


def test_the_session_goes_as_it_went() -> None:
    story = Retold()
'''


def retold(records: Iterable[Recorded], key: bytes | None = None) -> str:
    """The file. `key`: what words are made with, for the same words again. `JournalError` for no events."""
    imports: dict[str, set[str]] = {}
    lines = list(_lines(_filled(records, Filler(key)), imports))
    if len(lines) == 1:
        raise JournalError("the journal has no event of that session: see `loom replay --print events`")
    froms = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(imports.items())]
    return _HEAD.format(imports="\n".join(froms)) + "\n".join(lines) + "\n"


def _filled(records: Iterable[Recorded], filler: Filler) -> Iterator[Recorded]:
    """The same events in other words, as a journal would have had them."""
    holding, shadow, live = Holding(filler), Shadow(filler), Running()
    for record in records:
        if record.begins:
            holding.add(Happened(record.key, None))
        holding.add(Happened(record.key, record.event))
        _, *deliveries = live.parts(record)
        for teller, steps in zip(record.then, deliveries, strict=True):
            if steps:
                holding.add(Happened(teller, Tell(steps[0].key, steps[0].event)))
    last: Recorded | None = None
    for one in holding.ready(float("inf")):
        if one.what is None:
            shadow.begins(one.key)
        elif isinstance(one.what, Tell) and last is not None:
            teller = cast("ExchangeKey", one.key)
            shadow.told(teller, one.what)
            last = evolve(last, then=(*last.then, teller))
        elif not isinstance(one.what, Tell):
            if last is not None:
                yield last
            last = shadow.happens(one, one.what)
    if last is not None:
        yield last


def _lines(records: Iterable[Recorded], imports: dict[str, set[str]]) -> Iterator[str]:
    running = Running()
    for record in records:
        parts = list(running.parts(record))
        begins = ", begins=True" if record.begins else ""
        key, event = literal(record.key, imports), literal(record.event, imports)
        yield f"    story.happens({key}, {event}{begins})"
        yield from _followed(parts[0], imports)
        for teller, steps in zip(record.then, parts[1:], strict=True):
            yield f"    story.delivers({literal(teller, imports)})"
            yield from _followed(steps, imports)
    yield "    story.ends()"


def _followed(steps: Iterable[Stepped], imports: dict[str, set[str]]) -> Iterator[str]:
    for step in steps:
        names = [type(action) for action in step.actions]
        for it in names:
            imports.setdefault(it.__module__, set()).add(it.__name__)
        if names:
            listed = ", ".join(it.__name__ for it in names)
            yield f"    story.follows({literal(step.key, imports)}, {listed})"


def literal(value: object, imports: dict[str, set[str]]) -> str:
    """A value as Python writes it; `imports` learns the names it needs."""
    match value:
        case Struct():
            of = type(value)
            imports.setdefault(of.__module__, set()).add(of.__name__)
            given = [
                f"{it.name}={literal(found, imports)}"
                for it in fields(of)
                if (found := getattr(value, it.name)) is not it.default
            ]
            return f"{of.__name__}({', '.join(given)})"
        case Enum():
            of_enum = type(value)
            imports.setdefault(of_enum.__module__, set()).add(of_enum.__name__)
            return f"{of_enum.__name__}.{value.name}"
        case tuple():
            return f"({''.join(f'{literal(it, imports)}, ' for it in value)})" if value else "()"
        case frozenset():
            items = ", ".join(sorted(literal(it, imports) for it in value))
            return f"frozenset({{{items}}})" if value else "frozenset()"
        case dict():
            pairs = (f"{literal(name, imports)}: {literal(it, imports)}" for name, it in value.items())
            return f"{{{', '.join(pairs)}}}"
        case float():
            return f'float("{value!r}")'
        case _:
            return repr(value)
