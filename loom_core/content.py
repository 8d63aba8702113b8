"""A conversation as span attributes: OpenInference's numbered messages, and GenAI's JSON."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from loom_core import attributes as names
from loom_core.attributes import Writer, as_json
from loom_core.conversation import Conversation, Part, Said, cleaned, plain, without_content
from loom_core.reading import Json, as_count
from loom_core.redaction import MAX_VALUE, cut, exported
from loom_core.rules import Content
from loom_core.trace import Attributes

_Item = TypeVar("_Item")
_LEAF = MAX_VALUE // 4
"""Bytes of one text within a JSON value."""


def write_input(out: Writer, told: Conversation, content: Content, *, system_shown: bool) -> None:
    """What is new since earlier spans in full, what they have shown as a count."""
    out.count("loom.input.messages.total", told.total)
    out.count("loom.input.messages.earlier", told.earlier)
    if told.left_out:
        out.count("loom.input.messages.left_out", told.left_out)
    out.count("loom.tools.count", len(told.tools))
    if content is Content.OFF:
        return
    is_full = content is Content.FULL
    new = tuple(cleaned(said if is_full else without_content(said)) for said in told.new)
    is_new_system = is_full and bool(told.system) and not system_shown
    system = cleaned(Said("system", told.system)) if is_new_system else None
    messages = (system, *new) if system else new
    _write_parameters(out, told.parameters, is_full=is_full)
    if is_full:
        _write_asked(out, new)
    _write_messages(out, names.LLM_INPUT_MESSAGES, messages)
    for index, tool in enumerate(told.tools):
        out.text(f"{names.LLM_TOOLS}.{index}.{names.TOOL_NAME}", tool.name)
        if is_full and not system_shown:
            # Definitions go with the system prompt: once, not with every call.
            out.text(f"{names.LLM_TOOLS}.{index}.{names.TOOL_JSON_SCHEMA}", tool.definition)
    if is_full:
        out.clean(names.INPUT_MESSAGES, _fitting(new, _gen_ai))
        out.clean(names.SYSTEM_INSTRUCTIONS, _fitting(system.parts if system else (), _gen_ai_part))


def write_output(out: Writer, said: Said, stop_reason: str, content: Content) -> None:
    if content is Content.OFF or not said.parts:
        return
    if content is not Content.FULL:
        _write_messages(out, names.LLM_OUTPUT_MESSAGES, (cleaned(without_content(said)),))
        return
    clean = cleaned(said)
    _write_answer(out, clean)
    _write_messages(out, names.LLM_OUTPUT_MESSAGES, (clean,))
    finished = {"finish_reason": exported(stop_reason)} if stop_reason else {}
    out.clean(names.OUTPUT_MESSAGES, _fitting((clean,), lambda said: _gen_ai(said) | finished))


def write_answer(out: Writer, said: Said) -> None:
    """`output.value`: the words; of an answer without any, the tools it asks for."""
    _write_answer(out, cleaned(said))


def _write_answer(out: Writer, clean: Said) -> None:
    text = plain(clean)
    calls = tuple(part for part in clean.parts if part.kind == "tool_call")
    if text:
        _write_value(out, "output", text)
    elif calls:
        _write_value(out, "output", _fitting(calls, _gen_ai_part), names.JSON)


def write_value(out: Writer, which: str, text: str, mime_type: str = names.TEXT) -> None:
    """`input.value` or `output.value` with its type; nothing for an empty text."""
    if text:
        _write_value(out, which, exported(text), mime_type)


def _write_value(out: Writer, which: str, clean: str, mime_type: str = names.TEXT) -> None:
    out.clean(f"{which}.value", clean)
    out.clean(f"{which}.mime_type", mime_type)


def _write_asked(out: Writer, new: tuple[Said, ...]) -> None:
    """`input.value`: the last thing the model was given to answer."""
    for said in reversed(new):
        if said.role != "assistant" and (text := plain(said)):
            _write_value(out, "input", text)
            return


def _write_parameters(out: Writer, given: dict[str, Json], *, is_full: bool) -> None:
    kept = {name: value for name, value in given.items() if is_full or name != "stop_sequences"}
    out.json(names.LLM_INVOCATION_PARAMETERS, kept)
    for name, attribute in (("max_tokens", names.REQUEST_MAX_TOKENS), ("top_k", names.REQUEST_TOP_K)):
        out.count(attribute, as_count(kept.get(name)))
    for name, attribute in (("temperature", names.REQUEST_TEMPERATURE), ("top_p", names.REQUEST_TOP_P)):
        value = kept.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 2:
            out.number(attribute, value)
    stops = kept.get("stop_sequences")
    if isinstance(stops, list):
        out.texts(names.REQUEST_STOP_SEQUENCES, tuple(stop for stop in stops if isinstance(stop, str)))
    if isinstance(kept.get("stream"), bool):
        out.truth(names.REQUEST_STREAM, value=kept["stream"])


# OpenInference: llm.input_messages.0.message.contents.1.message_content.text


def _write_messages(out: Writer, prefix: str, messages: tuple[Said, ...]) -> None:
    for index, said in enumerate(messages):
        at = f"{prefix}.{index}"
        out.clean(f"{at}.{names.MESSAGE_ROLE}", said.role)
        out.clean(f"{at}.{names.MESSAGE_TOOL_CALL_ID}", said.tool_call_id)
        spoken = [part for part in said.parts if part.kind != "tool_call"]
        if len(spoken) == 1 and spoken[0].kind == "text":
            out.clean(f"{at}.{names.MESSAGE_CONTENT}", spoken[0].text)
        else:
            for number, part in enumerate(spoken):
                for name, value in _content(part):
                    out.clean(f"{at}.{names.MESSAGE_CONTENTS}.{number}.{name}", value)
        calls = (part for part in said.parts if part.kind == "tool_call")
        for number, part in enumerate(calls):
            call = f"{at}.{names.MESSAGE_TOOL_CALLS}.{number}"
            out.clean(f"{call}.{names.TOOL_CALL_ID}", part.id)
            out.clean(f"{call}.{names.TOOL_CALL_NAME}", part.name)
            out.clean(f"{call}.{names.TOOL_CALL_ARGUMENTS}", part.text)


def _content(part: Part) -> tuple[tuple[str, str], ...]:
    return (
        (names.CONTENT_TYPE, part.kind),
        (names.CONTENT_TEXT, part.text),
        (names.CONTENT_SIGNATURE, part.signature),
    )


# GenAI: JSON of messages with parts


def _gen_ai(said: Said) -> dict[str, Json]:
    if said.role == "tool":
        response = cut("\n\n".join(part.text for part in said.parts), _LEAF)
        part = {"type": "tool_call_response", "id": said.tool_call_id, "response": response}
        return {"role": "tool", "parts": [part]}
    return {"role": said.role, "parts": [_gen_ai_part(part) for part in said.parts]}


def _gen_ai_part(part: Part) -> dict[str, Json]:
    text = cut(part.text, _LEAF)
    if part.kind == "tool_call":
        given = _decoded(text)
        return {
            "type": "tool_call",
            "id": part.id,
            "name": part.name,
            "arguments": text if given is None else given,
        }
    return {"type": part.kind, "content": text}


def _decoded(text: str) -> Json:
    """Arguments as the object they are, None if they were cut."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _fitting(items: Sequence[_Item], form: Callable[[_Item], dict[str, Json]]) -> str:
    """A JSON list of the last items that fit into one value, older ones told by their number."""
    kept: list[str] = []
    room = MAX_VALUE - 256
    for item in reversed(items):
        formed = form(item)
        text = as_json(formed)
        if len(text.encode()) >= room and len(formed.get("parts", ())) > 1:
            text = as_json(formed | {"parts": _within(formed["parts"], room)})
        room -= len(text.encode()) + 1
        if room < 0:
            break
        kept.append(text)
    left_out = len(items) - len(kept)
    if left_out:
        kept.append(as_json({"type": "text", "content": f"… [cut: {left_out} earlier ones left out]"}))
    return f"[{','.join(reversed(kept))}]" if items else ""


def _within(parts: list[dict[str, Json]], room: int) -> list[dict[str, Json]]:
    kept: list[dict[str, Json]] = []
    room -= 256
    for part in reversed(parts):
        room -= len(as_json(part).encode()) + 1
        if room < 0:
            break
        kept.append(part)
    cut = {"type": "text", "content": f"… [cut: {len(parts) - len(kept)} earlier parts left out]"}
    return [cut, *reversed(kept)]


def as_metadata(pairs: Attributes) -> dict[str, Json]:
    """What of some named values is there, for the `metadata` attribute."""
    return {name: value for name, value in pairs if value not in ("", 0)}
