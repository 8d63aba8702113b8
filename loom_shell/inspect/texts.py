"""The texts of a page: each once, cut to a length, and with nothing in them that a reader cannot see."""

import re

LONGEST = 6_000
"""Characters of one text."""
MOST = 24_000_000
"""Characters of all, about: what comes after is not shown."""
NONE = -1

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


class Texts:
    """Mutable: gathers while a recording is read. A text is known by its place."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._spent = 0
        self._places: dict[tuple[str, int], int] = {}

    def add(self, text: str, longest: int = LONGEST) -> int:
        """The text's place; `NONE` for an empty one."""
        if not text:
            return NONE
        whole = len(text) if len(text) > longest else 0
        entry = visible(text[:longest]), whole
        if entry not in self._places:
            self._places[entry] = len(self._places)
            self.spend(len(entry[0]))
        return self._places[entry]

    def spend(self, characters: int) -> None:
        """What stands beside the texts counts as well."""
        self._spent += characters

    @property
    def has_room(self) -> bool:
        return self._spent < self._most

    @property
    def listed(self) -> list[tuple[str, int]]:
        """Each text, and how many characters it had if it was cut, else 0."""
        return list(self._places)


def visible(text: str) -> str:
    """What a reader cannot see (control, direction, no width, half of a pair) is shown by its number."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))
