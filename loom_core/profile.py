"""A profile: who speaks through the client, and what is woven into the requests that belong to it.

Read and checked by the shell out of `profile.toml` and its Markdown files; here it is a value.
Slots have been filled and texts are final, but for what is read from the store.
"""

from enum import Enum

from msgspec import Struct, field

from loom_core.lookup import Provenance


class Life(Enum):
    """How long a woven piece stays (weaving.md, "Classes of woven text")."""

    IDENTITY = "identity"
    STICKY = "sticky"
    EPHEMERAL = "ephemeral"


class Piece(Struct, frozen=True):
    """One piece of the composition: a file's `text`, or what the store has under `key` or `pattern`.

    Exactly one of the three is not "". `budget`: tokens, 0 for no limit but the profile's own.
    A piece of which nothing is there is left out, with its heading.
    """

    name: str
    life: Life
    heading: str = ""
    text: str = ""
    key: str = ""
    pattern: str = ""
    budget: int = 0


class MemorableRules(Struct, frozen=True):
    """`budget`: tokens for one; `most`: how many at one prompt. `words` introduces them."""

    on: bool = True
    budget: int = 120
    most: int = 3
    words: str = ""


class MemoryRules(Struct, frozen=True):
    """`budget`: tokens a turn; `session_budget`: tokens in one conversation; `deadline`: nanoseconds."""

    on: bool = True
    most: int = 5
    budget: int = 400
    session_budget: int = 4_000
    deadline: int = 250_000_000
    min_score: float = 0.0
    provenance: frozenset[Provenance] = frozenset({Provenance.USER, Provenance.ASSISTANT})
    words: str = ""


class CompactionRules(Struct, frozen=True):
    """What takes the place of the client's words when it compacts; "" leaves them as they are.

    `identity` stands for the summariser's system prompt, `prompt` for the instruction to summarise, and
    `continuation` for the paragraph that tells how to go on. `must_survive` are phrases that a summary has
    to hold; with `tells_missing` those it lacks are named behind the continuation.
    """

    identity: str = ""
    prompt: str = ""
    continuation: str = ""
    must_survive: tuple[str, ...] = ()
    tells_missing: bool = False


class Profile(Struct, frozen=True):
    """One profile; `version` names the state of its files.

    `placeholder` is a sentence the client's system prompt must hold for anything to be woven, "" for
    none. `agents`: subagents belong to it too. `identity_budget`: tokens of the identity block in all.
    """

    name: str
    version: str
    pieces: tuple[Piece, ...] = ()
    placeholder: str = ""
    agents: bool = False
    identity_budget: int = 20_000
    memorables: MemorableRules = field(default_factory=MemorableRules)
    memories: MemoryRules = field(default_factory=MemoryRules)
    compaction: CompactionRules = field(default_factory=CompactionRules)
