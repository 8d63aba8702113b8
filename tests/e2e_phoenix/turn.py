"""One turn as a client makes it: the hook, a call that asks for tools, a call with their results, Stop."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from anthropic import AsyncAnthropic
from attrs import field, frozen

from tests.e2e_phoenix.program import Wrong, environment

MODEL = "claude-opus-5-5"
PROMPT = "Run two echo commands, then say what holds."
HOOK_SECONDS = 20
CALL_SECONDS = 30
MARKED = {"cache_control": {"type": "ephemeral"}}
SYSTEM = (
    {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.328; cc_entrypoint=cli;"},
    # Long enough to be cached, so that the counts of cached tokens are not all zero.
    {"type": "text", "text": "You weave. " * 1200, **MARKED},
)
BASH = {
    "name": "Bash",
    "description": "Run a command",
    "input_schema": {
        "type": "object",
        "properties": {"command": {"type": "string"}, "description": {"type": "string"}},
        "required": ["command"],
    },
}


@frozen
class Call:
    """What upstream said of a call's tokens: new, written to the cache and read from it, and answered."""

    uncached: int
    written: int
    read: int
    completion: int

    @property
    def prompt(self) -> int:
        return self.uncached + self.written + self.read


@frozen
class Turn:
    """What was asked and got. `trace_id` and `root_id` are the hook's; `tools` are ids of tool calls."""

    session: str
    trace_id: str
    root_id: str
    calls: tuple[Call, ...]
    tools: tuple[str, ...]
    answer: str


@frozen
class Client:
    """A client of the Loom at `url`, with a session and a prompt of its own."""

    url: str
    home: Path
    http: httpx2.AsyncClient
    session: str = field(factory=lambda: str(uuid4()))
    prompt_id: str = field(factory=lambda: str(uuid4()))

    async def turn(self) -> Turn:
        block = (await self.hook("UserPromptSubmit", prompt=PROMPT))["hookSpecificOutput"][
            "additionalContext"
        ]
        ids = json.JSONDecoder().raw_decode(block, block.index("{"))[0]
        # Layout A: what hooks say is a plain system message after the user's.
        said: list[Any] = [
            {"role": "user", "content": PROMPT},
            {"role": "system", "content": f"UserPromptSubmit hook additional context: {block}"},
        ]
        first = await self._ask(said)
        tools = tuple(one.id for one in first.content if one.type == "tool_use")
        if len(tools) != 2:
            raise Wrong(f"the simulator asked for {len(tools)} tools, not for two")
        results: list[Any] = [
            {"type": "tool_result", "tool_use_id": tool, "content": f"result of {tool}"} for tool in tools
        ]
        results[-1] |= MARKED
        said += [
            {"role": "assistant", "content": [one.to_dict() for one in first.content]},
            {"role": "user", "content": results},
        ]
        second = await self._ask(said)
        answer = "".join(one.text for one in second.content if one.type == "text")
        await self.hook("Stop", stop_hook_active=False, last_assistant_message=answer)
        calls = tuple(_counted(one.usage) for one in (first, second))
        root_id = ids["traceparent"].split("-")[2]
        return Turn(self.session, ids["trace_id"], root_id, calls, tools, answer)

    async def hook(self, event: str, **told: object) -> dict[str, Any]:
        """Run `loom hook` as the client does; what it answered."""
        given = {
            "session_id": self.session,
            "transcript_path": str(self.home / "transcript.jsonl"),
            "cwd": str(self.home),
            "hook_event_name": event,
            "prompt_id": self.prompt_id,
            **told,
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loom_shell", "hook"),
            env=environment(self.home, ANTHROPIC_BASE_URL=self.url),
            cwd=self.home,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(json.dumps(given).encode()), HOOK_SECONDS)
        finally:
            if process.returncode is None:
                os.kill(process.pid, 9)
                await process.wait()
        if process.returncode != 0 or err:
            raise Wrong(f"the hook at {event} left with {process.returncode}: {err.decode()}")
        answered: dict[str, Any] = json.loads(out)
        return answered

    async def _ask(self, messages: list[Any]) -> Any:  # noqa: ANN401 - the SDK's own message
        sdk = AsyncAnthropic(
            base_url=self.url,
            api_key="dummy-key-of-the-end-to-end-run",
            http_client=self.http,
            max_retries=0,
            timeout=CALL_SECONDS,
            default_headers={
                "x-claude-code-session-id": self.session,
                "x-claude-code-prompt-id": self.prompt_id,
                "x-claude-code-request-class": "main",
            },
        )
        whole: dict[str, Any] = {"messages": messages, "system": list(SYSTEM), "tools": [BASH]}
        async with sdk.messages.stream(model=MODEL, max_tokens=4096, **whole) as stream:
            return await stream.get_final_message()


def _counted(usage: Any) -> Call:  # noqa: ANN401 - the SDK's own figures
    return Call(
        usage.input_tokens,
        usage.cache_creation_input_tokens or 0,
        usage.cache_read_input_tokens or 0,
        usage.output_tokens,
    )
