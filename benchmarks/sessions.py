"""Sessions as Claude Code holds them: prompts, thinking, loops of tool calls, three markers, three layouts.

Made of our own words by a seeded chance, so that every run sends the same bytes. Sizes are those seen on the
wire: some 55 KB before the first prompt, tool results of some KB, a session that grows to a megabyte.
"""

import json
import random
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from attrs import define, field, frozen

MODEL = "claude-opus-4-8"
MARKER = {"type": "ephemeral"}
TOOLS_BYTES = 30_000
SYSTEM_BYTES = 22_000
CALLS = 9
"""Tool calls of a turn at most; one at least."""
RESULT_BYTES = (200, 600, 2_000, 5_000, 9_000, 16_000, 30_000)
"""What a tool may give back, each as likely as the next: a line said, a search, a part of a file, a file."""
INPUT_BYTES = (80, 150, 300, 1_500)
THOUGHT_BYTES = (150, 900)
SIGNED_BYTES = (300, 700)
"""Of a thinking block's text and, before it is base64, of its signature: at least, and at most."""
PARALLEL = 0.2
"""How often a call goes out beside the one before it."""
THINGS = (
    *("anchor", "barrel", "beacon", "bridge", "cabin", "canal", "chimney", "clock", "compass", "crane"),
    *("ferry", "furnace", "garden", "gate", "harbour", "kettle", "ladder", "lantern", "ledger", "lock"),
    *("map", "mast", "mill", "orchard", "oven", "pier", "pump", "quarry", "rope", "sail", "shed", "signal"),
    *("stove", "tower", "track", "tunnel", "valve", "wagon", "well", "wharf"),
)
VERBS = ("holds", "leaks", "turns", "stands", "creaks", "waits", "opens", "rusts", "moves", "works")
ENDS = (
    "since the spring",
    "at the north side",
    "as agreed",
    "by day only",
    "for the time being",
    "as before",
)
Block = dict[str, Any]
Message = dict[str, Any]


def words(chance: random.Random, octets: int) -> str:
    """So many bytes of plain sentences."""
    parts: list[str] = []
    size = 0
    while size < octets:
        thing, other = chance.sample(THINGS, 2)
        said = f"The {thing} near the {other} {chance.choice(VERBS)} {chance.choice(ENDS)}"
        parts.append(f"{said}, number {chance.randrange(10_000)}.")
        size += len(parts[-1]) + 1
    return " ".join(parts)[:octets]


def text(said: str) -> Block:
    return {"type": "text", "text": said}


@frozen
class Request:
    """One call. `is_prompt`: it brings a prompt, not the results of tools."""

    is_prompt: bool
    body: bytes = field(repr=False)


@define
class Session:
    """One session of the client, of so many turns with so many `calls` of tools at most in each.

    `layout` is A, B or C: where the client puts its reminders.
    """

    number: int
    turns: int
    calls: int = CALLS
    layout: str = field(init=False)
    _chance: random.Random = field(init=False)
    _rendered: list[bytes] = field(factory=list)
    _open: Message | None = None

    def __attrs_post_init__(self) -> None:
        self.layout = "ABC"[self.number % 3]
        self._chance = random.Random(self.number)  # noqa: S311 - texts, no secrets

    @property
    def id(self) -> str:
        return f"5e550000-0000-4000-8000-{self.number:012d}"

    def requests(self) -> Iterator[Request]:
        """Its calls, in order; each extends the one before."""
        for _ in range(self.turns):
            self._prompt()
            yield self._request(is_prompt=True)
            calls = self._chance.randint(1, self.calls)
            while calls > 0:
                together = 1 + (calls > 1 and self._chance.random() < PARALLEL)
                self._tools(together)
                yield self._request(is_prompt=False)
                calls -= together
            self._add(
                "assistant", [self._thought(), text(words(self._chance, self._chance.randint(300, 1_500)))]
            )

    def _thought(self) -> Block:
        said = words(self._chance, self._chance.randint(*THOUGHT_BYTES))
        signed = self._chance.randbytes(self._chance.randint(*SIGNED_BYTES))
        return {"type": "thinking", "thinking": said, "signature": b64encode(signed).decode()}

    def _prompt(self) -> None:
        said = words(self._chance, self._chance.randint(80, 700))
        reminder = words(self._chance, self._chance.randint(200, 800))
        wrapped = f"<system-reminder>\n{reminder}\n</system-reminder>"
        if self.layout == "C":
            self._add("user", [text(wrapped), text(said)])
        else:
            self._add("user", [text(said)])
            self._add("system", [text(reminder if self.layout == "A" else wrapped)])

    def _tools(self, together: int) -> None:
        names = [f"toolu_{self._chance.getrandbits(96):024x}" for _ in range(together)]
        said = [self._thought(), text(words(self._chance, self._chance.randint(60, 300)))]
        inputs = [{"path": words(self._chance, self._chance.choice(INPUT_BYTES))} for _ in names]
        uses = [
            {"type": "tool_use", "id": name, "name": "Read", "input": given}
            for name, given in zip(names, inputs, strict=True)
        ]
        self._add("assistant", [*said, *uses])
        results = [words(self._chance, self._chance.choice(RESULT_BYTES)) for _ in names]
        self._add(
            "user",
            [
                {"type": "tool_result", "tool_use_id": name, "content": result}
                for name, result in zip(names, results, strict=True)
            ],
        )

    def _add(self, role: str, blocks: list[Block]) -> None:
        """The message before stays as it is sent from now on: without its marker, one text as a string."""
        self._settle()
        self._open = {"role": role, "content": blocks}

    def _settle(self) -> None:
        if self._open:
            blocks = self._open["content"]
            alone = len(blocks) == 1 and blocks[0]["type"] == "text"
            settled = {**self._open, "content": blocks[0]["text"] if alone else blocks}
            self._rendered.append(json.dumps(settled).encode())

    def _request(self, *, is_prompt: bool) -> Request:
        assert self._open is not None  # noqa: S101 - a message was added
        *before, last = self._open["content"]
        marked = {**self._open, "content": [*before, {**last, "cache_control": MARKER}]}
        messages = b",".join([*self._rendered, json.dumps(marked).encode()])
        user = json.dumps({"device_id": "d", "account_uuid": "a", "session_id": self.id})
        rest = json.dumps({"metadata": {"user_id": user}, "max_tokens": 32_000}).encode()
        return Request(
            is_prompt, b'{"model":"%b","messages":[%b],%b,%b' % (MODEL.encode(), messages, FIXED, rest[1:])
        )


def _fixed() -> bytes:
    """What every request has: `system` and `tools`."""
    chance = random.Random(0)  # noqa: S311 - as above
    system = [
        text("x-anthropic-billing-header: cc_version=2.1.328; cc_entrypoint=cli;"),
        {**text("You are a coding client's assistant."), "cache_control": MARKER},
        {**text(words(chance, SYSTEM_BYTES)), "cache_control": MARKER},
    ]
    names = ("Read", "Write", "Edit", "Bash", "Glob", "Grep", "Task", "Fetch", "Search", "Plan")
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    tools = [
        {"name": it, "description": words(chance, TOOLS_BYTES // len(names)), "input_schema": schema}
        for it in names
    ]
    return json.dumps({"system": system, "tools": tools}).encode()[1:-1]


FIXED = _fixed()
