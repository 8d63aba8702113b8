"""Prompts as a client with the hook sends them, and the trees of spans that come of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from hashlib import blake2b
from typing import Any

import anthropic
import httpx
from attrs import define, field, frozen

from loom_shell.simulator import Simulator
from loom_shell.turn_block import fresh_ids, text
from tests.support.otlp import Receiver, Span, receiver
from tests.support.proxy import RunningLoom, loom

KEY = "sk-ant-api03-a-key-of-a-test"
TOOLS: list[dict[str, Any]] = [
    {"name": "Bash", "description": "Run a command.", "input_schema": {"type": "object", "properties": {}}}
]
MARKER = {"type": "ephemeral"}
SYSTEM = [{"type": "text", "text": "Answer in few words. " * 400, "cache_control": MARKER}]
"""Long enough to be cached."""
ASK: dict[str, Any] = {"model": "claude-sonnet-5", "max_tokens": 1000, "system": SYSTEM, "tools": TOOLS}
LABEL = "UserPromptSubmit hook additional context: "


@frozen
class Prompt:
    """One prompt in one session, and what the hook said of it. `number` makes its ids."""

    number: int
    words: str = "List the files, please."
    began: int = field(factory=time.time_ns)

    @property
    def session(self) -> str:
        return f"5e55{self.number:04d}-0000-4000-8000-000000000001"

    @property
    def prompt_id(self) -> str:
        return f"prompt-{self.number}"

    @property
    def ids(self) -> dict[str, str]:
        return fresh_ids(blake2b(b"%d" % self.number, digest_size=32).digest(), "")

    @property
    def trace_id(self) -> str:
        return self.ids["trace_id"]

    @property
    def root_id(self) -> str:
        return self.ids["traceparent"].split("-")[2]

    @property
    def block(self) -> str:
        fields = {"prompt": self.words, "prompt_id": self.prompt_id, "source": "laptop", "cwd": "/srv/x"}
        times = (self.began, self.began + 1_000_000)
        return text(self.session, self.ids, times, fields, {"fqdn": "box.example", "ram": 16})

    @property
    def typed(self) -> dict[str, Any]:
        """The user's message as layout C has it."""
        return {"role": "user", "content": [{"type": "text", "text": self.words, "cache_control": MARKER}]}

    @property
    def hooked(self) -> dict[str, Any]:
        """The same with the block before what was typed."""
        reminder = f"<system-reminder>\n{LABEL}{self.block}\n</system-reminder>"
        return {"role": "user", "content": [{"type": "text", "text": reminder}, *self.typed["content"]]}

    def headers(self, **more: str) -> dict[str, str]:
        return {
            "x-claude-code-session-id": self.session,
            "x-claude-code-prompt-id": self.prompt_id,
            **{name.replace("_", "-"): value for name, value in more.items()},
        }


@define
class Traced:
    """A Loom with a backend for its spans. Its spans are all there once the block has been left."""

    loom: RunningLoom
    backend: Receiver

    @property
    def spans(self) -> list[Span]:
        return self.backend.spans

    async def told(self, until: Callable[[list[Span]], bool]) -> list[Span]:
        """The spans, once they are as wanted."""
        await asyncio.to_thread(self.backend.wait, lambda it: until(it.spans))
        return self.spans

    async def stop(self, prompt: Prompt, **more: str) -> int:
        """Post the Stop hook as `loom hook` does; the answer's status."""
        report = {"hook": "Stop", "session_id": prompt.session, "prompt_id": prompt.prompt_id, **more}
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.post(f"{self.loom.origin}/loom/hooks", json=report)).status_code

    async def metrics(self) -> str:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{self.loom.origin}/loom/metrics")).text

    def sdk(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=self.loom.origin, api_key=KEY, max_retries=0)


@asynccontextmanager
async def traced(sim: Simulator, backend: Receiver | None = None, **flags: str) -> AsyncIterator[Traced]:
    """A Loom in front of `sim`, whose spans go to a receiver. Nothing it does may be a fault."""
    with receiver() as own:
        told = backend or own
        async with loom(sim.origin, LOOM_TELEMETRY_EXPORTERS=told.url, **flags) as running:
            yield Traced(running, told)
        assert running.faults == []


async def ask(
    client: anthropic.AsyncAnthropic,
    messages: list[Any],
    headers: dict[str, str],
    *,
    streamed: bool = True,
    **more: object,
) -> Any:  # noqa: ANN401 - the SDK's own type
    asked: dict[str, Any] = {**ASK, "messages": messages, "extra_headers": headers, **more}
    if not streamed:
        return await client.messages.create(**asked)
    async with client.messages.stream(**asked) as stream:
        return await stream.get_final_message()


def answered(message: Any, before: list[Any], words: str = "two files") -> list[Any]:  # noqa: ANN401
    """The conversation with an answer and the results of its tools."""
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": words}
        for block in message.content
        if block.type == "tool_use"
    ]
    said = [block.to_dict() for block in message.content]
    return [*before, {"role": "assistant", "content": said}, {"role": "user", "content": results}]


async def tool_loop(
    client: anthropic.AsyncAnthropic, first: dict[str, Any], headers: dict[str, str], *, streamed: bool = True
) -> list[Any]:
    """One prompt with two calls: tools are asked for, executed, and the answer given. Both answers."""
    asks = await ask(client, [first], headers, streamed=streamed)
    says = await ask(client, answered(asks, [first]), headers, streamed=streamed)
    return [asks, says]


def named(spans: Iterable[Span], beginning: str) -> list[Span]:
    return [span for span in spans if span.name.startswith(beginning)]


def roots(spans: Iterable[Span]) -> list[Span]:
    return named(spans, "user-turn:")


def picture(spans: list[Span], of: Span) -> Any:  # noqa: ANN401 - a tree
    """Name and children of a span, in the order of their times."""
    below = sorted((it for it in spans if it.parent_id == of.span_id), key=lambda it: (it.start, it.name))
    return (of.name, [picture(spans, it) for it in below])
