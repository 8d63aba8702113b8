"""What a page knows of a recording: values that go into it as JSON, in the words its script reads.

Times are microseconds since the recording began, sizes are bytes unless they say otherwise, and a text is its
place in `Recording.texts`, -1 for none. Lines and blocks come by the thousand, so they are arrays there.
"""

from typing import Literal

from msgspec import Struct

Sign = Literal[">>", "<<", "~>"]
"""An event from outside, an action, and an event that another machine told."""
Mark = Literal["", "identity", "sticky", "ephemeral", "added", "reworded", "cut"]
"""What the Loom did to a block: woven in (of which life), added, put in the place of words, taken out."""
Phase = tuple[str, int, int]
"""A state's name, since when, and until when."""


class Line(Struct, array_like=True):
    """One line of a dialogue. `state`: what the machine became by it, "" if it stayed.

    A line may stand for `count` of its kind that came one after another, of `size` bytes in all.
    """

    at: int
    sign: Sign
    name: str
    text: int
    state: str = ""
    count: int = 1
    size: int = 0


class Block(Struct, array_like=True):
    """A block of a request or an answer.

    `marker`: the life of the client's cache marker on it; `was`: the client's words; `holds`: what is in it.
    """

    kind: str
    text: int
    mark: Mark = ""
    marker: str = ""
    tokens: int = 0
    was: int = -1
    holds: str = ""


class Message(Struct, array_like=True):
    """`number` counts the conversation's messages from 1. `left`: blocks that are not shown."""

    number: int
    role: str
    blocks: list[Block]
    left: int = 0


class Asked(Struct):
    """A request as it went up. `earlier`: its first messages, which an earlier request had too."""

    tools: list[str]
    system: list[Block]
    earlier: int
    messages: list[Message]
    left: int = 0


class Inside(Struct):
    """What an exchange shows when it is opened. `left`: lines of its dialogue that are not shown."""

    headers: int
    asked: Asked | None
    answer: list[Block]
    lines: list[Line]
    left: int = 0


class Woven(Struct):
    """As `loom_core.woven.WovenIn` has it."""

    profile: str
    outcome: str
    identity: int
    sticky: int
    ephemeral: int
    replayed: int
    memories: int
    recall: str
    trouble: str
    reworded: tuple[str, ...]
    compaction: str


class Exchange(Struct):
    """A row. `lane`: its place in the turn's lanes; `index` counts the turn's calls, 0 for one beside it.

    Counts of tokens are None where upstream gave none. `inside` None: the page would be too long.
    """

    number: int
    id: str
    turn: int
    lane: int
    index: int
    kind: str
    method: str
    path: str
    model: str
    start: int
    end: int
    status: int | None
    outcome: str
    why: int
    attempts: int
    received: int
    relayed: int
    cut: int
    stop: str
    fresh: int | None
    written: int | None
    read: int | None
    out: int | None
    phases: list[Phase]
    woven: Woven | None
    inside: Inside | None


class Tool(Struct):
    """A tool that the client executed."""

    lane: int
    name: str
    start: int
    end: int
    error: str
    given: int
    result: int


class Lane(Struct):
    """The main agent's part of a turn (`agent` ""), or a subagent's."""

    agent: str
    type: str
    outcome: str
    lines: list[Line]
    left: int = 0


class Turn(Struct):
    """`name` "": calls that are none of a turn's. `exchanges` are places in `Recording.exchanges`."""

    session: int
    name: str
    prompt: int
    outcome: str
    start: int
    end: int
    lanes: list[Lane]
    tools: list[Tool]
    exchanges: list[int]


class File(Struct):
    """A transcript that was followed."""

    path: str
    lines: list[Line]
    left: int = 0


class Session(Struct):
    """`is_torn`: some of its events were lost when they were written down."""

    id: str
    files: list[File]
    is_torn: bool = False


class Recording(Struct):
    """All of it. `start`: milliseconds since the epoch. `left`: exchanges that are not shown at all."""

    source: str
    start: int
    end: int
    events: int
    sessions: list[Session]
    turns: list[Turn]
    exchanges: list[Exchange]
    texts: list[tuple[str, int]]
    left: int = 0
    version: int = 1
