"""A recording, read once from its first event to its last: what a page shows of it.

What is kept is bounded: exchanges in number, what is inside them in characters, and a request's body only for
as long as the exchange is under way. What is left out is counted.
"""

from attrs import define, field

from loom_core.events import TranscriptNamed
from loom_core.values import ExchangeKey, TranscriptKey, TurnKey
from loom_shell.inspect.dialogue import Dialogue, since
from loom_shell.inspect.exchange import Gathering
from loom_shell.inspect.request import NAME, Requests
from loom_shell.inspect.shown import Exchange, File, Lane, Recording, Session, Tool, Turn
from loom_shell.inspect.texts import Texts
from loom_shell.inspect.turns import PROMPT, Part, Parts, tool
from loom_shell.replay.running import Stepped

MOST_EXCHANGES = 10_000
MOST_FILES = 500
IN_TURNS = frozenset({"main", "subagent", "compaction"})


@define
class _Row:
    """An exchange that is over. `group`: the turn it belongs to; `lane`: its agent's part of that."""

    group: tuple[str, ...]
    lane: str
    agent: str
    session: str
    prompt: str
    shown: Exchange


@define
class _Group:
    """One turn as it is put together."""

    session: str
    name: str
    prompt: str = ""
    outcome: str = ""
    lanes: dict[str, Lane] = field(factory=dict)
    tools: list[Tool] = field(factory=list)
    rows: list[Exchange] = field(factory=list)

    def place(self, lane: str) -> int:
        return list(self.lanes).index(lane)


class Timeline:
    """Mutable. `session`: the beginning of the ids of those that are shown."""

    def __init__(self, session: str = "", most: int = MOST_EXCHANGES, texts: Texts | None = None) -> None:
        self._session = session
        self._most = most
        self._texts = texts or Texts()
        self._requests = Requests(self._texts)
        self._begun: int | None = None
        self._last = 0
        self._parts = Parts(0)
        self._running: dict[ExchangeKey, Gathering] = {}
        self._done: set[ExchangeKey] = set()
        self._files: dict[TranscriptKey, tuple[str, Dialogue]] = {}
        self._rows: list[_Row] = []
        self._torn: set[str] = set()
        self._left = 0
        self.events = 0

    def take(self, step: Stepped) -> None:
        """One step of one machine; those of a recording in their order."""
        at = step.record.at
        if self._begun is None:
            self._begun, self._parts = at, Parts(at)
        self.events += step.told_by is None
        if not step.record.whole:
            self._torn.add(step.record.session)
        self._last = max(self._last, since(self._begun, at))
        match step.key:
            case ExchangeKey():
                self._exchange(step.key, step, self._begun)
            case TurnKey():
                self._parts.take(step.key, step)
            case TranscriptKey():
                self._file(step.key, step, self._begun)

    def _exchange(self, key: ExchangeKey, step: Stepped, begun: int) -> None:
        if key in self._done:
            return
        found = self._running.get(key)
        if found is None:
            found = self._running[key] = Gathering(key, begun, step.record.session, Dialogue(begun))
        found.take(step)
        if found.is_over:
            del self._running[key]
            self._done.add(key)
            self._keep(found)

    def _file(self, key: TranscriptKey, step: Stepped, begun: int) -> None:
        if key not in self._files and len(self._files) < MOST_FILES:
            named = step.event.session if isinstance(step.event, TranscriptNamed) else step.record.session
            self._files[key] = (named, Dialogue(begun))
        if key in self._files:
            self._files[key][1].take(step)

    def _keep(self, found: Gathering) -> None:
        if not found.session.startswith(self._session):
            return
        if len(self._rows) >= self._most:
            self._left += 1
            return
        said, joined = found.said, found.joined
        kind = said.kind.value if said else ""
        prompt = said.names[0] if said and said.names and kind in IN_TURNS else ""
        group = (joined.trace_id,) if joined and joined.trace_id else (found.session, prompt)
        lane = joined.parent_id if joined and joined.trace_id else (said.agent if said else "")
        self._texts.spend(400)
        self._rows.append(
            _Row(
                group,
                lane,
                said.agent if said else "",
                found.session,
                said.prompt if said and prompt else "",
                found.shown(0, 0, self._texts, self._requests),
            )
        )

    def recording(self, source: str) -> Recording:
        """All that was taken, `source` being its name; nothing may be taken after."""
        for found in self._running.values():
            self._keep(found)
        self._running.clear()
        groups = self._grouped()
        rows = sorted((row for group in groups for row in group.rows), key=lambda row: row.start)
        for number, row in enumerate(rows, 1):
            row.number = number
        ids = list(dict.fromkeys([group.session for group in groups] + self._sessions_of_files()))
        turns = [self._turn(group, number, ids) for number, group in enumerate(groups)]
        return Recording(
            source=source[-400:],
            start=(self._begun or 0) // 1_000_000,
            end=self._last,
            events=self.events,
            sessions=[Session(it[:200], self._followed(it), it in self._torn) for it in ids],
            turns=turns,
            exchanges=rows,
            texts=self._texts.listed,
            left=self._left,
        )

    def _grouped(self) -> list[_Group]:
        """The turns in the order they began."""
        groups: dict[tuple[str, ...], _Group] = {}
        for span, part in self._parts.found.items():
            self._add_part(groups, span, part)
        for row in self._rows:
            name = row.group[-1]
            group = groups.setdefault(row.group, _Group(row.session, name))
            group.prompt = group.prompt or row.prompt
            group.lanes.setdefault(row.lane, Lane(row.agent[:NAME], "", "", []))
            row.shown.lane = group.place(row.lane)
            group.rows.append(row.shown)
        held = [group for group in groups.values() if group.rows]
        return sorted(held, key=lambda group: min(row.start for row in group.rows))

    def _add_part(self, groups: dict[tuple[str, ...], _Group], span: str, part: Part) -> None:
        account, session = part.account, part.account.session or part.key.session
        if not session.startswith(self._session):
            return
        group = groups.setdefault((account.trace_id,), _Group(session, account.trace_id))
        group.lanes[span] = part.lane(self._texts)
        if not part.key.agent:
            group.prompt, group.outcome = account.prompt, part.outcome
        place = group.place(span)
        begun = self._begun or 0
        group.tools += [tool(one, begun, place, self._texts) for one in part.tools]

    def _turn(self, group: _Group, number: int, ids: list[str]) -> Turn:
        rows = sorted(group.rows, key=lambda row: row.number)
        for row in rows:
            row.turn = number
        return Turn(
            session=ids.index(group.session),
            name=group.name[:NAME],
            prompt=self._texts.add(group.prompt, PROMPT),
            outcome=group.outcome[:NAME],
            start=min(row.start for row in rows),
            end=max([row.end for row in rows] + [one.end for one in group.tools]),
            lanes=list(group.lanes.values()),
            tools=group.tools,
            exchanges=[row.number - 1 for row in rows],
        )

    def _sessions_of_files(self) -> list[str]:
        return [of for of, _ in self._files.values() if of.startswith(self._session)]

    def _followed(self, session: str) -> list[File]:
        return [
            File(key.path[-400:], dialogue.lines(self._texts), dialogue.left)
            for key, (of, dialogue) in self._files.items()
            if of == session and self._texts.has_room
        ]
