"""What a process knows of the ledgers: fields it read or wrote, kept for when the store is in trouble.

Bounded in fields and characters; the scope that was not used for longest goes first.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from attrs import define, field

FIELDS = 20_000
CHARACTERS = 32 * 1024 * 1024


@define
class _Scope:
    values: dict[str, str] = field(factory=dict)
    owed: set[str] = field(factory=set)
    unsaved: dict[str, str] = field(factory=dict)
    read_at: float = float("-inf")


class Kept:
    """Fields by scope. Owed ones the store has yet to get: decided here in its trouble, or lost there."""

    def __init__(self, fields: int = FIELDS, characters: int = CHARACTERS) -> None:
        self._fields, self._characters = fields, characters
        self._scopes: OrderedDict[str, _Scope] = OrderedDict()
        self._count = 0
        self._size = 0

    def __len__(self) -> int:
        return self._count

    def learn(self, scope: str, found: Mapping[str, str]) -> None:
        """What stands in the store: it replaces what was kept, and nothing of it is owed any more."""
        if not found:
            return
        one = self._used(scope)
        for name, value in found.items():
            self._put(one, name, value)
        one.owed.difference_update(found)
        self._trim()

    def known(self, scope: str, names: Iterable[str]) -> dict[str, str]:
        """Those of the fields that are kept."""
        if scope not in self._scopes:
            return {}
        values = self._used(scope).values
        return {name: values[name] for name in names if name in values}

    def was_read(self, scope: str, now: float) -> None:
        """The store was asked for this scope, and answered."""
        if scope in self._scopes:
            self._scopes[scope].read_at = now

    def fresh(self, scope: str, names: tuple[str, ...], since: float) -> dict[str, str] | None:
        """The fields, if all of them are kept, nothing is owed, and the store was read since then."""
        one = self._scopes.get(scope)
        if one is None or one.owed or one.unsaved or one.read_at < since:
            return None
        values = self._used(scope).values
        try:
            return dict(zip(names, map(values.__getitem__, names), strict=True))
        except KeyError:
            return None

    def owed(self, scope: str) -> dict[str, str]:
        """What the store has yet to get of this scope."""
        one = self._scopes.get(scope)
        return {name: one.values[name] for name in one.owed if name in one.values} if one else {}

    def unsaved(self, scope: str) -> dict[str, str]:
        """What was to be written over what stands there, and could not be."""
        one = self._scopes.get(scope)
        return dict(one.unsaved) if one else {}

    def save(self, scope: str, fields: Mapping[str, str], *, is_done: bool) -> None:
        """These were written over what stood there, or have yet to be."""
        self.learn(scope, fields)
        if one := self._scopes.get(scope):
            for name, value in fields.items():
                if not is_done:
                    one.unsaved[name] = value
                elif one.unsaved.get(name) == value:
                    del one.unsaved[name]

    def lost(self, scope: str, names: Iterable[str]) -> dict[str, str]:
        """Of fields that the store does not have, those that are kept. They stand, and are owed."""
        found = self.known(scope, names)
        if found:
            self._scopes[scope].owed.update(found)
        return found

    def stands(self, scope: str, name: str, value: str, expected: str | None) -> str:
        """What stands among this process's own: the first value, unless that is the `expected` one."""
        before = self.known(scope, (name,)).get(name)
        return value if before is None or before == expected else before

    def paid(self, scope: str, names: Iterable[str]) -> None:
        """The store has these now, or what another wrote there before."""
        if one := self._scopes.get(scope):
            one.owed.difference_update(names)

    def decide(self, scope: str, name: str, value: str, expected: str | None) -> str:
        """What stands, and is kept. Owed if it is the value given now."""
        stands = self.stands(scope, name, value, expected)
        one = self._used(scope)
        if stands != value:
            return stands
        self._put(one, name, value)
        one.owed.add(name)
        self._trim()
        return value

    def _used(self, scope: str) -> _Scope:
        one = self._scopes.get(scope)
        if one is None:
            one = self._scopes[scope] = _Scope()
        else:
            self._scopes.move_to_end(scope)
        return one

    def _put(self, one: _Scope, name: str, value: str) -> None:
        before = one.values.get(name)
        if before == value:
            return
        if before is None:
            self._count += 1
            self._size += len(name)
        self._size += len(value) - len(before or "")
        one.values[name] = value

    def _trim(self) -> None:
        while self._count > self._fields or self._size > self._characters:
            scope, one = next(iter(self._scopes.items()))
            if len(self._scopes) > 1:
                del self._scopes[scope]
                self._count -= len(one.values)
                self._size -= sum(len(name) + len(value) for name, value in one.values.items())
            else:
                # One conversation alone is too much: its oldest fields go.
                name = next(iter(one.values))
                self._count -= 1
                self._size -= len(name) + len(one.values.pop(name))
                one.owed.discard(name)
