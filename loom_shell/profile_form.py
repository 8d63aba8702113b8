"""What `profile.toml` says, checked: one sentence for each thing that is wrong.

Nothing is read here but the tables given.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from loom_core.profile import Life, MemorableRules, MemoryRules
from loom_shell import slots
from loom_shell.printable import printable, shown
from loom_shell.profile_keys import COMPACTION, MEMORABLES, MEMORIES, OWN, PIECE, TABLES, Key, text
from loom_shell.slots import Filled, fill

MAX_PIECES = 64
MAX_SLOTS = 64
MOST_FILLED = 100_000
"""Characters of a value with its slots filled: more than any may have."""
MILLISECOND = 1_000_000

Table = Mapping[str, object]


@frozen
class GivenPiece:
    """One `[[pieces]]` table, checked. Exactly one of `file`, `key` and `pattern` is not ""."""

    name: str
    life: Life
    heading: str = ""
    budget: int = 0
    file: str = ""
    key: str = ""
    pattern: str = ""


@frozen
class GivenCompaction:
    """The `[compaction]` table, checked: names of files, "" for none, and what is said beside them."""

    identity: str = ""
    prompt: str = ""
    continuation: str = ""
    must_survive: tuple[str, ...] = ()
    tells_missing: bool = False


@frozen
class Form:
    """What the file says. `own` is what stands outside of tables; only without `faults` is it whole.

    `pieces` have their number in the file, from 1.
    """

    own: Mapping[str, Any]
    slots: Mapping[str, str]
    pieces: tuple[tuple[int, GivenPiece], ...]
    memorables: MemorableRules
    memories: MemoryRules
    compaction: GivenCompaction
    faults: tuple[str, ...]


def read_form(tables: Table, file: str, profile: str) -> Form:
    """Check what a `profile.toml` holds. `file` names it in sentences. Never raises."""
    form = _Checking(file, {"profile": profile})
    form.slots.update(dict(form.own_slots(tables.get("slots", {}))))
    own = form.values({key: it for key, it in tables.items() if key not in TABLES}, OWN, beside=TABLES)
    pieces = tuple(form.pieces(tables.get("pieces", [])))
    memorables = form.table("memorables", tables, MEMORABLES)
    memories = form.table("memories", tables, MEMORIES)
    if "deadline_ms" in memories:
        memories["deadline"] = memories.pop("deadline_ms") * MILLISECOND
    compaction = form.table("compaction", tables, COMPACTION)
    return Form(
        own,
        form.slots,
        pieces,
        MemorableRules(**memorables),
        MemoryRules(**memories),
        GivenCompaction(**compaction),
        tuple(form.faults),
    )


@frozen
class _Checking:
    """One check of one file: its slots, and the faults found so far."""

    file: str
    slots: dict[str, str]
    faults: list[str] = field(factory=list)

    def own_slots(self, table: object) -> Iterator[tuple[str, str]]:
        if not isinstance(table, dict):
            self.faults.append(f"slots in {self.file} must be a table: [slots]")
            return
        if len(table) > MAX_SLOTS:
            self.faults.append(f"slots in {self.file} are {len(table)}: at most {MAX_SLOTS} are allowed")
        for name, value in list(table.items())[:MAX_SLOTS]:
            if not slots.NAME.fullmatch(name) or name in self.slots:
                self.faults.append(
                    f"slot {shown(name)} in {self.file} has no name that is free: "
                    f"allowed are {slots.NAME_ALLOWED}, and profile is built in"
                )
                continue
            try:
                yield name, text(value)
            except ValueError:
                wrong = f"slots.{name} in {self.file} is {shown(value)}"
                self.faults.append(f"{wrong}: it must be text of at most 1000 printable characters")

    def table(self, name: str, tables: Table, keys: Mapping[str, Key]) -> dict[str, Any]:
        table = tables.get(name, {})
        if isinstance(table, dict):
            return self.values(table, keys, f"{name}.")
        self.faults.append(f"{name} in {self.file} must be a table: [{name}]")
        return {}

    def pieces(self, tables: object) -> Iterator[tuple[int, GivenPiece]]:
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            self.faults.append(f"pieces in {self.file} must be tables: [[pieces]] for each")
            return
        if len(tables) > MAX_PIECES:
            self.faults.append(f"pieces in {self.file} are {len(tables)}: at most {MAX_PIECES} are allowed")
        names: set[str] = set()
        for number, table in enumerate(tables[:MAX_PIECES], start=1):
            given = self.values(table, PIECE, after=f" of piece {number}")
            lacking = [key for key in ("name", "life") if key not in table]
            self.faults.extend(f"piece {number} in {self.file} has no {key}: it needs one" for key in lacking)
            if sum(key in table for key in ("file", "key", "pattern")) != 1:
                self.faults.append(
                    f"piece {number} in {self.file} must have exactly one of file, key and pattern"
                )
            if given.get("name") in names:
                self.faults.append(
                    f"name of piece {number} in {self.file} is {shown(given['name'])}: "
                    "another piece has that name, and each must have its own"
                )
            if "name" in given and "life" in given:
                names.add(given["name"])
                yield number, GivenPiece(**given)

    def values(
        self,
        table: Table,
        keys: Mapping[str, Key],
        before: str = "",
        after: str = "",
        beside: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """The values that are right; each other one is a fault. `beside`: what else may stand there."""
        found = {}
        for name, value in table.items():
            where = f"{before}{printable(name, 80)}{after} in {self.file}"
            if name not in keys:
                self.faults.append(f"{where} is no key: allowed are {', '.join((*keys, *beside))}")
                continue
            strays, filled = self._filled(keys[name], value)
            self.faults.extend(f"{where}: {one} is no slot: {slots.allowed(self.slots)}" for one in strays)
            try:
                found[name] = keys[name].parse(filled)
            except ValueError:
                if not strays:
                    self.faults.append(f"{where} is {shown(value)}: it must be {keys[name].allowed}")
        return found

    def _filled(self, key: Key, value: object) -> tuple[list[str], object]:
        """What is no slot in the value, and the value with its slots filled."""
        if not key.has_slots or not isinstance(value, str | list):
            return [], value
        texts = value if isinstance(value, list) else [value]
        found = [fill(one, self.slots, MOST_FILLED) if isinstance(one, str) else one for one in texts]
        strays = [stray for one in found if isinstance(one, Filled) for _line, stray in one.strays]
        filled = [one.text if isinstance(one, Filled) else one for one in found]
        return [printable(one, 80) for one in strays], filled if isinstance(value, list) else filled[0]
