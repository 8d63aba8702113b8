"""What Intro has heard: for each session a page, with what it has yet to ask about and what was before.

All of it is bounded. What falls off a page, or with one, was heard for nothing, and is done with.
Moments are seconds of a clock that only grows.
"""

from collections.abc import Sequence

from attrs import evolve, frozen

from loom_shell.intro.memorables import Words, words
from loom_shell.intro.said import Said

MOST_PAGES = 256
MOST_NEW = 60
"""Lines of a page that have yet to be asked about."""
MOST_NEW_CHARACTERS = 24_000
MOST_HEARD = 20
"""Lines kept for the sense of what comes next."""
MOST_DONE = 200
"""Memorables of a page that are done with and not to be noted again."""
MOST_LINES = 20_000
"""Lines known to have been heard, of all pages: an entry may come more than once."""
MOST_TRIES = 3


@frozen
class Pace:
    """It is asked after `quiet` seconds of silence, `longest` seconds, or `much` characters."""

    quiet: float = 5.0
    longest: float = 60.0
    much: int = 8_000


@frozen
class Page:
    """`since`, `last`: when the first and the last of the new lines were heard."""

    heard: tuple[Said, ...] = ()
    new: tuple[Said, ...] = ()
    since: float = 0.0
    last: float = 0.0
    not_before: float = 0.0
    tries: int = 0
    done: tuple[Words, ...] = ()


class Notebook:
    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace or Pace()
        # The page that was written on last stands last.
        self._pages: dict[str, Page] = {}
        self._lines: dict[tuple[str, str], None] = {}

    @property
    def pages(self) -> int:
        return len(self._pages)

    @property
    def waiting(self) -> int:
        """Lines that have yet to be asked about."""
        return sum(len(page.new) for page in self._pages.values())

    def hear(self, said: Said, now: float) -> tuple[str, ...]:
        """Write it down, unless it was heard before; the entries that nothing more will be done with."""
        page = self._pages.get(said.session, Page())
        line = (said.session, said.line)
        if line in self._lines:
            is_waiting = any(one.entry == said.entry for one in page.new)
            return () if is_waiting else (said.entry,)
        self._lines[line] = None
        if len(self._lines) > MOST_LINES:
            del self._lines[next(iter(self._lines))]
        new, gone = _within((*page.new, said))
        since = page.since if page.new else now
        gone += self._put(said.session, evolve(page, new=new, since=since, last=now))
        return tuple(one.entry for one in gone)

    def due(self, now: float) -> str | None:
        """The session that is to be asked about now, of several that whose turn came first."""
        turns = [(at, session) for session, page in self._pages.items() if (at := self._at(page)) <= now]
        return min(turns)[1] if turns else None

    def next_at(self) -> float:
        """When the next turn comes; infinity if there is nothing to ask about."""
        return min((self._at(page) for page in self._pages.values()), default=float("inf"))

    def page(self, session: str) -> Page:
        return self._pages.get(session, Page())

    def asked(self, session: str, about: Page) -> tuple[str, ...]:
        """It was asked about what `about` has new: the entries that are done with by that."""
        page = self._pages.get(session)
        if page is None:
            # It had to go while the model thought, and all that was on it.
            return ()
        heard = (*page.heard, *about.new)[-MOST_HEARD:]
        return self._after(session, about, evolve(page, heard=heard, tries=0, not_before=0.0))

    def failed(self, session: str, about: Page, again: float, *, is_ours: bool) -> tuple[str, ...]:
        """Asking failed, and is tried again at the moment `again`; entries that are given up.

        `is_ours`: the lines themselves may be why, and so they are not asked about without end.
        """
        page = self._pages.get(session)
        if page is None:
            return ()
        tries = page.tries + is_ours
        if tries >= MOST_TRIES:
            return self._after(session, about, evolve(page, tries=0, not_before=0.0))
        self._put(session, evolve(page, tries=tries, not_before=again))
        return ()

    def forget(self, session: str, texts: Sequence[str]) -> tuple[str, ...]:
        """These memorables are done with; entries that are given up for that."""
        page = self.page(session)
        done = (*page.done, *map(words, texts))[-MOST_DONE:]
        return tuple(one.entry for one in self._put(session, evolve(page, done=done)))

    def _at(self, page: Page) -> float:
        if not page.new:
            return float("inf")
        is_much = sum(len(one.text) for one in page.new) >= self._pace.much
        at = page.since if is_much else min(page.last + self._pace.quiet, page.since + self._pace.longest)
        return max(page.not_before, at)

    def _after(self, session: str, about: Page, page: Page) -> tuple[str, ...]:
        done = {one.entry for one in about.new}
        left = tuple(one for one in page.new if one.entry not in done)
        # Of what came meanwhile nobody knows how long it waits: no longer than the last line.
        self._put(session, evolve(page, new=left, since=page.last))
        return tuple(done)

    def _put(self, session: str, page: Page) -> tuple[Said, ...]:
        """The lines that go with the page that has to go for it."""
        self._pages.pop(session, None)
        self._pages[session] = page
        if len(self._pages) <= MOST_PAGES:
            return ()
        return self._pages.pop(next(iter(self._pages))).new


def _within(new: tuple[Said, ...]) -> tuple[tuple[Said, ...], tuple[Said, ...]]:
    """The last of these lines that a page has room for, and those before them."""
    room = MOST_NEW_CHARACTERS
    kept = 0
    for one in reversed(new[-MOST_NEW:]):
        room -= len(one.text)
        if room < 0:
            break
        kept += 1
    start = len(new) - max(kept, 1)
    return new[start:], new[:start]
