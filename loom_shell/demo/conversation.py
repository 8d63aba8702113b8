"""The conversation: what is asked, with which tools, and what must come of it.

Written for the official SDK as any program would write it; the Loom is but its `base_url`.
"""

import logging
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import anthropic
import httpx2
import msgspec
from anthropic.types import Message, ToolUseBlock
from attrs import evolve, field, frozen

from loom_shell.demo.home import WOVEN_SESSION
from loom_shell.demo.stage import DemoFailed
from loom_shell.demo.tap import Tap

MODEL = "claude-simulated-1"
SESSION = "demonstration"
"""The session the conversation goes by, named as Claude Code names its own."""
TIMEOUT_SECONDS = 8.0
MARKED = {"type": "ephemeral"}
ROWS = 72
PROMPT = "Are warp and weft sound? Look at both."
FOLLOW_UP = "Thank you. One sentence more, please."
RESULTS = {
    "count_warp": "24 threads to the centimetre, none broken",
    "read_weft": "twill, two over and two under",
}

TOOLS = [
    {
        "name": "count_warp",
        "description": "Count the warp threads.",
        "input_schema": {"type": "object", "properties": {"per": {"const": "cm"}}, "required": ["per"]},
    },
    {
        "name": "read_weft",
        "description": "Read the pattern of the weft.",
        "input_schema": {
            "type": "object",
            "properties": {"rows": {"type": "integer", "default": ROWS}},
            "required": ["rows"],
        },
    },
]


def _pattern() -> str:
    """A page of twill: long enough to be worth a place in the prompt cache (1,024 tokens)."""
    rows = ("".join("#" if (row + thread) % 4 < 2 else "." for thread in range(64)) for row in range(ROWS))
    return "The pattern on the loom:\n" + "\n".join(rows)


SYSTEM: list[Mapping[str, Any]] = [
    {"type": "text", "text": "You look after a loom and answer in a sentence or two."},
    {"type": "text", "text": _pattern(), "cache_control": MARKED},
]


class Wanted(Enum):
    """What a call is for. The values are the simulator's scenarios for it; none for its usual answer."""

    CALLS = "", "two tool calls, streamed"
    TEXT = "", "a text, streamed"
    WHOLE = "", "a text in one JSON message"
    COUNT = "", "a count of tokens"
    REFUSAL = "error-429", "an error status with its headers"
    BREAK = "rst-mid-stream", "a stream that breaks"

    @property
    def scenario(self) -> str:
        return self.value[0]


@frozen
class Call:
    """One call of the SDK. `profile`: what it is woven with, "" for none."""

    title: str
    wanted: Wanted
    messages: tuple[Mapping[str, Any], ...] = field(repr=False)
    profile: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """What the SDK's method is given."""
        given: dict[str, Any] = {
            "model": MODEL,
            "messages": list(self.messages),
            "system": SYSTEM,
            "tools": TOOLS,
        }
        if self.wanted is not Wanted.COUNT:
            given["max_tokens"] = 400
        if self.wanted.scenario:
            given["extra_headers"] = {"x-simulate": self.wanted.scenario}
        if self.profile:
            given["extra_headers"] = {
                "x-claude-code-session-id": WOVEN_SESSION,
                "x-loom-source": self.profile,
            }
        return given

    @property
    def newest(self) -> Mapping[str, Any]:
        return self.messages[-1]


@frozen
class Outcome:
    """What the SDK gave its caller: a message, a count of tokens, or an error (its class and words)."""

    message: Message | None = None
    tokens: int | None = None
    error: str = ""
    status: int | None = None
    retry_after: str = ""


def caller(origin: str, tap: Tap) -> anthropic.AsyncAnthropic:
    """The SDK's client, deaf to the environment: no proxy, key, header or exporter of the user's."""
    client = anthropic.AsyncAnthropic(
        api_key="a-key-that-opens-nothing",
        base_url=origin,
        max_retries=0,
        timeout=TIMEOUT_SECONDS,
        open_telemetry=False,
        http_client=httpx2.AsyncClient(transport=tap, trust_env=False),
    )
    for name in ("anthropic", "httpx2"):
        # ANTHROPIC_LOG would write requests between the lines of the demonstration.
        logging.getLogger(name).setLevel(logging.ERROR)
    # ANTHROPIC_CUSTOM_HEADERS is read whatever is passed, and there is no public way to unsay it.
    client._custom_headers = {"x-claude-code-session-id": SESSION}  # noqa: SLF001
    return client


async def perform(client: anthropic.AsyncAnthropic, call: Call, on_text: Callable[[str], None]) -> Outcome:
    """Make a call; errors of the API and of the connection are outcomes too."""
    try:
        if call.wanted is Wanted.COUNT:
            counted = await client.messages.count_tokens(**call.arguments)
            return Outcome(tokens=counted.input_tokens)
        if call.wanted is Wanted.WHOLE:
            return Outcome(await client.messages.create(**call.arguments))
        async with client.messages.stream(**call.arguments) as stream:
            async for text in stream.text_stream:
                on_text(text)
            return Outcome(await stream.get_final_message())
    except anthropic.APIStatusError as error:
        wait = error.response.headers.get("retry-after", "")
        return Outcome(
            error=f"{type(error).__name__}: {_words(error)}", status=error.status_code, retry_after=wait
        )
    except (anthropic.APIConnectionError, httpx2.TransportError) as error:
        cause = error.__cause__ or error
        return Outcome(error=f"{type(cause).__name__}: {cause}")


def _words(error: anthropic.APIStatusError) -> str:
    try:
        return str(msgspec.json.decode(error.response.content)["error"]["message"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return error.message


def opening(title: str = "A prompt, and two tools on offer", profile: str = "") -> Call:
    """The prompt, with both tools on offer."""
    asked = {"role": "user", "content": [{"type": "text", "text": PROMPT, "cache_control": MARKED}]}
    return Call(title, Wanted.CALLS, (asked,), profile)


def results(asked: Call, got: Outcome) -> Call:
    """Both tools have run; their results go back."""
    answers: list[dict[str, Any]] = [
        {"type": "tool_result", "tool_use_id": call.id, "content": RESULTS[call.name]}
        for call in tool_calls(got)
    ]
    answers[-1]["cache_control"] = MARKED
    told = [{"role": "assistant", "content": _content(got)}, {"role": "user", "content": answers}]
    messages = (*_unmarked(asked.messages), *told)
    return evolve(asked, title="The results of both tools", wanted=Wanted.TEXT, messages=messages)


def follow_up(asked: Call, got: Outcome, title: str, wanted: Wanted) -> Call:
    """A further question, after the final text."""
    question = {"role": "user", "content": [{"type": "text", "text": FOLLOW_UP, "cache_control": MARKED}]}
    told = {"role": "assistant", "content": _content(got)}
    messages = (*_unmarked(asked.messages), told, question)
    return evolve(asked, title=title, wanted=wanted, messages=messages)


def again(asked: Call, title: str, wanted: Wanted) -> Call:
    """The same conversation, for another purpose."""
    return evolve(asked, title=title, wanted=wanted)


def tool_calls(got: Outcome) -> list[ToolUseBlock]:
    return [block for block in got.message.content if block.type == "tool_use"] if got.message else []


def text_of(got: Outcome) -> str:
    return "".join(block.text for block in got.message.content if block.type == "text") if got.message else ""


def expect(number: int, call: Call, got: Outcome) -> None:
    """Raises `DemoFailed` unless the call ended as this conversation goes on from."""
    match call.wanted:
        case Wanted.CALLS:
            well = [used.name for used in tool_calls(got)] == list(RESULTS)
        case Wanted.TEXT | Wanted.WHOLE:
            well = bool(text_of(got)) and not tool_calls(got)
        case Wanted.COUNT:
            well = bool(got.tokens)
        case Wanted.REFUSAL:
            well = got.status == 429 and bool(got.retry_after)
        case Wanted.BREAK:
            well = bool(got.error) and got.status is None
    if not well:
        raise DemoFailed(
            f"request {number} wanted {call.wanted.value[1]}, and got {got.error or 'something else'}"
        )


def _content(got: Outcome) -> list[dict[str, Any]]:
    """The assistant's blocks, as they go back."""
    blocks = got.message.content if got.message else []
    return [block.model_dump(mode="json", exclude_none=True) for block in blocks]


def _unmarked(messages: tuple[Mapping[str, Any], ...]) -> tuple[Mapping[str, Any], ...]:
    """The cache marker moves on to the newest block: earlier ones give it up."""
    return tuple(
        {
            **message,
            "content": [
                {key: value for key, value in block.items() if key != "cache_control"}
                for block in message["content"]
            ],
        }
        for message in messages
    )
