"""Whether the core does now what it did then: by the digests of a journal, or by actions saved earlier."""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from loom_core.values import Key
from loom_shell.files import named
from loom_shell.replay.blobs import address
from loom_shell.replay.codec import Form, UnreadableError, codec, decoded, encoded, write_key
from loom_shell.replay.digest import Digests
from loom_shell.replay.reading import JournalError
from loom_shell.replay.record import Recorded
from loom_shell.replay.running import Running, Stepped
from loom_shell.replay.words import dialogue, of_key

ACTIONS = {"loom": "actions", "version": 1}
_BEFORE = 3
"""Events of the same machine that are shown before a difference."""


@frozen
class Part:
    """What followed from an event at once (`part` 0), or from its delivery number `part`.

    `lead`: the machine whose event or delivery it was; `now`: its digest.
    """

    record: Recorded
    part: int
    lead: Key
    steps: list[Stepped]
    now: str

    @property
    def then(self) -> str:
        return self.record.digests[self.part] if self.part < len(self.record.digests) else ""


@frozen
class Difference:
    """Where it first differs, in lines."""

    lines: tuple[str, ...]


def parts(records: Iterable[Recorded]) -> Iterator[Part]:
    """The core over a recording, with the digests of what it does."""
    running, digests, run = Running(), Digests(), ""
    for record in records:
        if record.run != run:
            running, digests, run = Running(), Digests(), record.run
        leads = (record.key, *record.then)
        for number, steps in enumerate(running.parts(record)):
            yield Part(record, number, leads[number], steps, digests.of(steps))
            if not running.has(leads[number]):
                digests.forget(leads[number])


class Check:
    """Held against the digests of the time."""

    def __init__(self) -> None:
        self._before: dict[Key, deque[Part]] = {}
        self.compared = 0

    def differs(self, part: Part) -> Difference | None:
        before = self._before.setdefault(part.lead, deque(maxlen=_BEFORE))
        if not part.then:
            return None
        self.compared += 1
        if part.now == part.then:
            before.append(part)
            return None
        told = [line for one in before for line in dialogue(one.record, one.steps)]
        said = list(dialogue(part.record, part.steps))
        where = f"event {part.record.number} of {of_key(part.lead)}"
        what = f"the core does not do now what it did then, for the first time at {where}"
        if part.part:
            what += ", when what it had to tell was delivered"
        return Difference(
            (
                f"{what}:",
                *(f"  {line}" for line in told),
                *(f"! {line}" for line in said),
                f"digest then {part.then}, now {part.now or 'none'}: what is shown is what it does now",
            )
        )


# ------------------------------------------------------------------ actions that were saved


def saved(part: Part) -> bytes:
    """What followed, as one line; of long values the address."""
    did = [[write_key(step.key), [_form(action) for action in step.actions]] for step in part.steps]
    line = {"n": part.record.number, "part": part.part, "k": write_key(part.lead), "did": did}
    return encoded(line) + b"\n"


def _form(action: object) -> Form:
    kind: Any = type(action)
    return [kind.__name__, codec(kind).writes(action, lambda content: address(content).hex())]


class Against:
    """Held against actions that another build saved. `JournalError` if the file is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._lines = path.open("rb")
            head = decoded(self._lines.readline())
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            raise JournalError(f"cannot read {named(path)} ({reason}): make it with --save") from None
        except UnreadableError:
            head = None
        if head != ACTIONS:
            self.close()
            raise JournalError(f"{named(path)} holds no actions: make it with --save")
        self.compared = 0

    def close(self) -> None:
        self._lines.close()

    def differs(self, part: Part) -> Difference | None:
        self.compared += 1
        theirs, ours = self._lines.readline(), saved(part)
        if theirs == ours:
            return None
        said = [f"! {line}" for line in dialogue(part.record, part.steps)]
        where = f"event {part.record.number} of {of_key(part.lead)}"
        return Difference(
            (
                f"other actions than those in {named(self._path)} follow from {where}:",
                *said,
                "saved then:",
                *self._told(theirs, ours),
            )
        )

    def ends(self) -> Difference | None:
        """What was saved goes on where the recording ends."""
        if self._lines.readline():
            return Difference((f"{named(self._path)} goes on where this recording ends: it is of another",))
        return None

    def _told(self, theirs: bytes, ours: bytes) -> Iterator[str]:
        """The first action that differs, in both."""
        if not theirs:
            yield "    nothing: the file ends here"
            return
        try:
            pairs = (_flat(decoded(theirs)), _flat(decoded(ours)))
        except (UnreadableError, KeyError, TypeError, ValueError):
            yield "    a line that cannot be read"
            return
        longest = max(map(len, pairs))
        for number in range(longest):
            then, now = (it[number] if number < len(it) else "nothing" for it in pairs)
            if then != now:
                yield f"    << {then[:2_000]}"
                yield f"  now << {now[:2_000]}"
                return
        yield "    the same actions of another event"


def _flat(line: Form) -> list[str]:
    return [
        f"{':'.join(key)} {name} {encoded(form).decode()}" for key, did in line["did"] for name, form in did
    ]
