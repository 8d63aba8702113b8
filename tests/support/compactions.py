"""Compactions as clients of each generation put them on the wire: own filler around their known words."""

import json
from collections.abc import Sequence
from itertools import product
from typing import Any

from msgspec import Struct

from loom_core.block import CANARY
from loom_core.profile import CompactionRules
from loom_core.values import Headers
from loom_core.wordings import ADDITIONAL, CONTINUATIONS, CONTINUED, INSTRUCTIONS, REMINDER, SUMMARISER
from tests.support.conversations import MARKER, Message, Sent, answer, asks_tool, body, prompt, result, text

IDENTITY, PROMPT, CONTINUATION = "You are Ann, who sums up.", "Write down what Ann needs.", "It is you, Ann."
RULES = CompactionRules(IDENTITY, PROMPT, CONTINUATION)
OLD_CLIENTS, NEW_CLIENT = ("1.0.128", "2.0.76", "2.1.9"), "2.1.328"
BARE_CLIENT = f"{NEW_CLIENT} without hints"
WISHES = "Keep the names: Bo, Cy."
SUMMARY = "Ann asked for tea.\n\nBo has the kettle."
TASK = INSTRUCTIONS[0].begins
OUTSIDE = "You are a client's assistant."
SYSTEM = (text("x-anthropic-billing-header: cc_version=1;"), {**text(OUTSIDE), "cache_control": MARKER})
OLD_SYSTEM = ({**text(OUTSIDE), "cache_control": MARKER}, {**text("Be brief."), "cache_control": MARKER})
SUMMARISING = (OLD_SYSTEM[0], {**text(SUMMARISER.begins), "cache_control": MARKER})
NOTE = text("<system-reminder>\nToday is Monday.\n</system-reminder>")
BLOCK = text(f'UserPromptSubmit hook additional context: {CANARY.decode()} {{"canary":"{CANARY.decode()}"}}')


def instruction(client: str, wishes: str = "", *, again: bool = False) -> str:
    """What the client asks the model; `again`: the longer form, after an answer without the tags."""
    asks = f"{ADDITIONAL}{wishes}" if wishes else ""
    example = "<example>\n<summary>\nWhat was done.\n</summary>\n</example>\n"
    if client in OLD_CLIENTS:
        return f"{TASK}, with care.\n\n{example}{asks}"
    more = "\n\nThe tags are <summary></summary>. How to sum up is said above." if again else ""
    first = f"{INSTRUCTIONS[1].begins} That is all.\n\n- No files.\n\n{TASK}, with care."
    return f"{first}\n\n{example}{asks}{REMINDER} Write plain words.{more}"


def paragraph(client: str) -> str:
    """The one that tells how to go on."""
    if client in OLD_CLIENTS:
        return f"{CONTINUATIONS[client == '1.0.128'].begins} Do the last task."
    return f"{CONTINUATIONS[2].begins} Start at once — as if nothing had been."


def continued(client: str, trigger: str = "auto", summary: str = SUMMARY, going_on: str = "") -> str:
    """The text that a conversation goes on from; `going_on` in the place of its `paragraph`."""
    path, last = "\n\nAll of it is in the file: /t/x.jsonl", f"\n{going_on or paragraph(client)}"
    if client in OLD_CLIENTS:
        of_person = trigger == "manual" and not going_on
        behind = path if client == "2.1.9" else "."
        told = f"Analysis:\nTea.\n\nSummary:\n{summary}{behind}"
        return f"{CONTINUED} It is told here:\n{told}{'' if of_person else last}"
    more = "\n\nWhat follows was said before, and stays." if trigger == "manual" else ""
    told = f"<system-reminder>\nBash\n</system-reminder>\nSummary:\n{summary}"
    return f"{CONTINUED} It is told here.\n\n{told}{path}{last}{more}"


class Case(Struct, frozen=True):
    """One compaction. `place` of the instruction: its own message, behind a result, or behind a prompt."""

    client: str
    place: str
    layout: str = "C"
    wishes: str = ""
    trigger: str = "auto"
    again: bool = False

    @property
    def name(self) -> str:
        parts = [self.client, self.place, self.layout, self.trigger]
        return ", ".join([*parts, *(["wishes"] if self.wishes else []), *(["again"] if self.again else [])])

    @property
    def is_old(self) -> bool:
        return self.client in OLD_CLIENTS

    @property
    def said(self) -> str:
        return instruction(self.client, self.wishes, again=self.again)

    @property
    def before(self) -> list[Message]:
        """The conversation so far, as the main agent's last call had it."""
        first = self._typed("Tea?")
        match self.place:
            case "prompt":
                return [*first, answer("Yes."), *self._typed("Milk?")]
            case "result":
                return [*first, asks_tool("t"), result("t")]
            case _:
                return first

    @property
    def messages(self) -> list[Message]:
        """The conversation with the instruction."""
        before = self.before
        if self.place == "own":
            return [*before, answer("Yes."), prompt(self.said), *self._behind()]
        at = max(number for number, it in enumerate(before) if it["role"] == "user")
        asking = {**before[at], "content": [*before[at]["content"], text(self.said)]}
        return [*before[:at], asking, *before[at + 1 :], *(self._behind() if at == len(before) - 1 else [])]

    @property
    def system(self) -> list[Any]:
        return list(SUMMARISING if self.is_old else SYSTEM)

    @property
    def main_system(self) -> list[Any]:
        return list(OLD_SYSTEM if self.is_old else SYSTEM)

    @property
    def headers(self) -> Headers:
        """What the client says of it; a client that sends no hints says its version alone."""
        agent = (b"user-agent", f"claude-cli/{self.client.partition(' ')[0]} (external)".encode())
        if self.client != NEW_CLIENT:
            return (agent,)
        told = (b"x-claude-code-request-class", b"compaction")
        return agent, told, (b"x-claude-code-compaction", self.trigger.encode())

    def body(self, how: Sent = Sent()) -> bytes:  # noqa: B008, frozen
        return body(
            self.messages, Sent(how.strings, how.markers, how.style, self.system, how.ascii, how.first)
        )

    def _typed(self, words: str) -> list[Message]:
        """As the layouts of contracts section 1 have it: what the client adds comes after or before."""
        if self.layout == "C":
            return [{"role": "user", "content": [NOTE, text(words)]}]
        notes = [text("Today is Monday.")] if self.layout == "A" else [NOTE]
        return [prompt(words), {"role": "system", "content": notes}]

    def _behind(self) -> list[Message]:
        return [{"role": "system", "content": [NOTE]}] if self.layout == "B" else []


CASES: Sequence[Case] = (
    *[
        Case(client, place, "C", wishes, trigger)
        for client, place, wishes, trigger in product(
            OLD_CLIENTS, ("own", "result"), ("", WISHES), ("auto", "manual")
        )
    ],
    *[
        Case(client, place, layout, wishes, trigger, again)
        for client, place, layout, (wishes, trigger), again in product(
            (NEW_CLIENT, BARE_CLIENT),
            ("own", "result", "prompt"),
            "ABC",
            (("", "auto"), (WISHES, "manual")),
            (False, True),
        )
    ],
)


def openings(client: str, trigger: str = "auto", **what: str) -> list[Message]:
    """The first messages that may hold the text that the conversation goes on from."""
    told = continued(client, trigger, **what)
    return [prompt(told), {"role": "user", "content": [NOTE, text(told)]}, prompt(told, "Go on.")]


def token(told: str, *, is_ascii: bool = False) -> bytes:
    """A text as `conversations.body` writes it, without its quotes."""
    return json.dumps(told, ensure_ascii=is_ascii).encode()[1:-1]
