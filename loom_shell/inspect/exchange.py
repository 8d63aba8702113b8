"""One exchange of a recording, gathered step by step: its row, and what is inside."""

from attrs import define, field

from loom_core import call
from loom_core.actions import LogExchange, SendUpstream
from loom_core.call import Call
from loom_core.events import RequestEnded, RequestReceived, TurnJoined
from loom_core.exchange import AwaitingHead, Finished, Receiving
from loom_core.message import Seen
from loom_core.outgoing import Taken, is_whole, path_of
from loom_core.values import ExchangeKey
from loom_core.woven import Compacted, WovenIn
from loom_shell.inspect import words
from loom_shell.inspect.dialogue import Dialogue, since
from loom_shell.inspect.request import NAME, Requests
from loom_shell.inspect.shown import Block, Exchange, Inside, Phase, Woven
from loom_shell.inspect.texts import NONE, Texts
from loom_shell.replay.running import Stepped

MOST_BLOCKS = 60
"""Blocks of one answer."""
MOST_PHASES = 40
UNSHOWN = frozenset({"Idle", "Finished"})
"""States in which no time is spent."""
RUNNING = "not over"


@define
class Gathering:
    """Mutable. `begun`: nanoseconds, when the recording began; `session`: as it was written down."""

    key: ExchangeKey
    begun: int
    session: str
    dialogue: Dialogue
    head: RequestReceived | None = None
    client: bytes = b""
    taken: Taken | None = None
    said: Call | None = None
    joined: TurnJoined | None = None
    logged: LogExchange | None = None
    attempts: int = 0
    start: int = 0
    last: int = 0
    phases: list[Phase] = field(factory=list)
    is_over: bool = False
    _entered: int = 0

    def take(self, step: Stepped) -> None:
        self.dialogue.take(step)
        self.session = self.session or step.record.session
        self.last = since(self.begun, step.record.at)
        match step.event:
            case RequestReceived():
                self.head, self.start = step.event, self.last
                self._entered = self.last
            case RequestEnded() if isinstance(step.before, Receiving):
                self.client = step.before.body.joined()
            case TurnJoined():
                self.joined = step.event
        for action in step.actions:
            if isinstance(action, LogExchange):
                self.logged = action
            elif isinstance(action, SendUpstream):
                self.attempts = action.attempt
                self._sent(step)
        if type(step.after) is not type(step.before):
            self._left(type(step.before).__name__)
        self.is_over = self.is_over or isinstance(step.after, Finished)

    def _sent(self, step: Stepped) -> None:
        if not isinstance(step.after, AwaitingHead) or self.taken is not None:
            return
        taken = self.taken = step.after.taken
        request = taken.asked.request
        if is_whole(request):
            self.said = taken.call or call.read(
                path_of(request), request.headers, taken.body or b"", taken.found.last, taken.behind
            )
            self.session = self.said.session or self.session

    def _left(self, state: str) -> None:
        if state not in UNSHOWN and len(self.phases) < MOST_PHASES:
            self.phases.append((state, self._entered, self.last))
        self._entered = self.last

    def shown(self, turn: int, lane: int, texts: Texts, requests: Requests) -> Exchange:
        """What is shown of it: where it stands is for the one who knows the turns."""
        logged, said, seen = self.logged, self.said, self.logged.seen if self.logged else None
        request = self.head.request if self.head else None
        told = (logged.woven if logged else None) or (self.taken.woven if self.taken else None)
        return Exchange(
            number=0,
            id=self.key.id[:NAME],
            turn=turn,
            lane=lane,
            index=self.joined.index if self.joined else 0,
            kind=said.kind.value if said else "other",
            method=request.method[:NAME] if request else "",
            path=path_of(request).decode("utf-8", "replace")[:200] if request else "",
            model=((seen.model if seen else "") or (said.model if said else ""))[:NAME],
            start=self.start,
            end=self.last,
            status=logged.status if logged else None,
            outcome=logged.outcome if logged else RUNNING,
            why=texts.add(_why(logged)),
            attempts=self.attempts,
            received=logged.received if logged else 0,
            relayed=logged.relayed if logged else 0,
            cut=logged.cut if logged else 0,
            stop=seen.stop_reason[:NAME] if seen else "",
            fresh=seen.input_tokens if seen else None,
            written=seen.cache_creation if seen else None,
            read=seen.cache_read if seen else None,
            out=seen.output_tokens if seen else None,
            phases=self.phases,
            woven=_woven(told) if told else None,
            inside=self._inside(texts, requests, seen) if texts.has_room else None,
        )

    def _inside(self, texts: Texts, requests: Requests, seen: Seen | None) -> Inside:
        asked = requests.asked(self.session, self.client, self.taken) if self.taken and self.said else None
        return Inside(
            headers=texts.add(words.headers(self.head.request.headers)) if self.head else NONE,
            asked=asked,
            answer=_answer(seen, texts) if seen else [],
            lines=self.dialogue.lines(texts),
            left=self.dialogue.left,
        )


def _why(logged: LogExchange | None) -> str:
    if logged is None:
        return ""
    error = logged.seen.error if logged.seen else ""
    return "; ".join(dict.fromkeys(filter(None, (logged.detail, error))))


def _answer(seen: Seen, texts: Texts) -> list[Block]:
    texts.spend(40 * min(len(seen.blocks), MOST_BLOCKS))
    return [
        Block(block.kind[:NAME], texts.add(f"{block.name} {block.text}" if block.name else block.text))
        for block in seen.blocks[:MOST_BLOCKS]
    ]


def _woven(told: WovenIn) -> Woven:
    return Woven(
        profile=told.profile[:NAME],
        outcome=told.outcome,
        identity=told.identity,
        sticky=told.sticky,
        ephemeral=told.ephemeral,
        replayed=told.replayed,
        memories=told.memories,
        recall=told.recall[:NAME],
        trouble=told.trouble[:200],
        reworded=told.reworded,
        compaction=_compaction(told.compaction) if told.compaction else "",
    )


def _compaction(told: Compacted) -> str:
    """Why it came and by which signs it was known, and words that were not known."""
    parts = [told.trigger, f"known by {', '.join(told.by)}" if told.by else ""]
    parts.append(f"words of another client: {told.drift}" if told.drift else "")
    return "; ".join(filter(None, parts))[:200]
