"""What happened and what followed, in lines that a person reads."""

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import asdict

from loom_core.actions import Action
from loom_core.values import ExchangeKey, Key, TranscriptKey, TurnKey
from loom_shell.printable import printable
from loom_shell.replay.record import Recorded
from loom_shell.replay.running import Stepped

MOST = 100
"""Characters shown of one text."""


def of_key(key: Key) -> str:
    match key:
        case ExchangeKey(id=id_):
            return f"exchange {printable(id_)}"
        case TurnKey(session, agent):
            return printable(f"turn {session}" + (f" of {agent}" if agent else ""))
        case TranscriptKey(path=path):
            return printable(f"transcript {path}")


def of_value(value: Struct) -> str:
    """A class and its fields on one line, inner values by their class alone."""
    shown = ", ".join(f"{name}={_short(it)}" for name, it in asdict(value).items())
    return f"{type(value).__name__}({shown})"


def of_record(record: Recorded) -> str:
    return f"{record.number} {of_key(record.key)} >> {of_value(record.event)}"


def dialogue(record: Recorded, steps: Iterable[Stepped]) -> Iterator[str]:
    """`>>` what came from outside, `<<` what each machine then ordered, `->` who told whom of what."""
    yield of_record(record)
    for step in steps:
        if step.told_by is not None:
            yield f"    {of_key(step.told_by)} -> {of_key(step.key)}: {of_value(step.event)}"
        yield from (f"    << {of_value(action)}" for action in step.actions)


def names(actions: Iterable[Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


def _short(value: object) -> str:
    match value:
        case Struct():
            return f"{type(value).__name__}(…)"
        case bytes() | str():
            told = printable(repr(value[: MOST + 1])) if len(value) > MOST else printable(repr(value))
            return f"{told[:MOST]}… ({len(value)} in all)" if len(value) > MOST else told
        case tuple() if len(value) > 3 or any(isinstance(it, Struct | tuple) for it in value):
            return f"({len(value)} items)"
        case _:
            return printable(repr(value))[:MOST]
