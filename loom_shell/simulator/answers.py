"""What the simulated model says: a small, fixed conversation, the same for the same request.

Tools offered and no tool_result yet: thinking if asked for, a sentence, and tool calls in parallel.
A request for a summary: the summary, and no call. Otherwise the final text. Ids are drawn from the
request's number, so two simulators agree.
"""

import base64
import hashlib
from collections.abc import Mapping

import msgspec
from attrs import frozen

from loom_core.meter import Figures, estimate
from loom_shell.simulator.schemas import fill
from loom_shell.simulator.summary import asks_for_summary, summary

Block = Mapping[str, object]

MODEL = "claude-simulated-1"
"""Named in answers to requests that name no model."""

THOUGHT = "The question is small. I check what is asked, then answer in a sentence or two."
FIRST_WORDS = "I will look at that with two calls at once."
LAST_WORDS = "Everything holds: warp and weft are sound — Kette und Schuß, 経糸と緯糸, 🧵."
"""Carries characters of two, three and four bytes."""

BASH_INPUTS: tuple[Block, ...] = (
    {"command": "echo loom", "description": "Print the word loom"},
    {"command": "echo weave", "description": "Print the word weave"},
)


@frozen
class Answer:
    """One message of the assistant, with the usage of the request it answers."""

    id: str
    model: str
    blocks: tuple[Block, ...]
    stop_reason: str
    figures: Figures
    output_tokens: int


def answer(body: Mapping[str, object], number: int, figures: Figures, *, think: bool = False) -> Answer:
    """The answer to a request. `number` counts requests; `think` puts a thinking block first."""
    thinking = body.get("thinking")
    asked_for = isinstance(thinking, Mapping) and thinking.get("type") in {"enabled", "adaptive"}
    blocks: list[Block] = [thought(number)] if think or asked_for else []
    calls = tool_calls(body, number)
    stop = "tool_use" if calls else "end_turn"
    words = FIRST_WORDS if calls else _final_text(body)
    limit = body.get("max_tokens")
    if isinstance(limit, int) and 0 < limit < estimate(words) and not calls:
        words, stop = words[:limit], "max_tokens"
    blocks += [{"type": "text", "text": words}, *calls]
    model = body.get("model")
    return Answer(
        id=name("msg", number),
        model=model if isinstance(model, str) else MODEL,
        blocks=tuple(blocks),
        stop_reason=stop,
        figures=figures,
        output_tokens=sum(estimate(block) for block in blocks),
    )


def name(prefix: str, number: int, part: int = 0) -> str:
    """An id as upstream makes them, the same for the same numbers: `msg_01…`."""
    digest = hashlib.blake2b(f"{prefix}/{number}/{part}".encode(), digest_size=15).digest()
    letters = base64.b32encode(digest).decode().rstrip("=")
    return f"{prefix}_01{letters.swapcase() if part % 2 else letters}"


def thought(number: int) -> Block:
    """A thinking block. Its signature is opaque to clients, and must come back unchanged."""
    signature = base64.b64encode(hashlib.blake2b(f"thought/{number}".encode()).digest() * 3).decode()
    return {"type": "thinking", "thinking": THOUGHT, "signature": signature}


def tool_calls(body: Mapping[str, object], number: int) -> list[Block]:
    """Two tool_use blocks, or none when the conversation is past them or offers no tools."""
    tools = _callable_tools(body)
    if not tools or asks_for_summary(body) or _has_tool_result(body.get("messages")):
        return []
    wanted: list[tuple[object, object]]
    if any(tool["name"] == "Bash" for tool in tools):
        wanted = [("Bash", given) for given in BASH_INPUTS]
    else:
        wanted = [(tool["name"], fill(tool["input_schema"])) for tool in (tools * 2)[:2]]
    choice = body.get("tool_choice")
    if isinstance(choice, Mapping) and choice.get("disable_parallel_tool_use") is True:
        wanted = wanted[:1]
    return [
        {"type": "tool_use", "id": name("toolu", number, part), "name": tool, "input": given}
        for part, (tool, given) in enumerate(wanted)
    ]


def offers_tools(body: Mapping[str, object]) -> bool:
    """Whether the model may call a tool that the client runs itself."""
    return bool(_callable_tools(body))


def _callable_tools(body: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The tools the client runs itself: those with a name and a schema, as `tool_choice` allows."""
    offered, choice = body.get("tools"), body.get("tool_choice")
    choice = choice if isinstance(choice, Mapping) else {}
    if not isinstance(offered, list) or choice.get("type") == "none":
        return []
    tools = [
        tool
        for tool in offered
        if isinstance(tool, Mapping)
        and isinstance(tool.get("name"), str)
        and isinstance(tool.get("input_schema"), Mapping)
    ]
    if choice.get("type") == "tool":
        return [tool for tool in tools if tool["name"] == choice.get("name")]
    return tools


def _has_tool_result(messages: object) -> bool:
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, Mapping) else None
        for block in content if isinstance(content, list) else []:
            if isinstance(block, Mapping) and block.get("type") == "tool_result":
                return True
    return False


def _final_text(body: Mapping[str, object]) -> str:
    """The last words, JSON that fits when the request asks for a JSON shape, or the summary it asks for."""
    config = body.get("output_config")
    shape = config.get("format") if isinstance(config, Mapping) else body.get("output_format")
    if isinstance(shape, Mapping) and isinstance(schema := shape.get("schema"), Mapping):
        return msgspec.json.encode(fill(schema)).decode()
    return summary(body) if asks_for_summary(body) else LAST_WORDS
