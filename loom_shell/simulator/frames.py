"""Answers as bytes: server-sent events, the JSON message, and HTTP chunks.

The order of frames is the documented one ("Streaming messages"): message_start, pings anywhere,
for each block start, deltas and stop, then message_delta with the usage so far, message_stop.
"""

from collections.abc import Iterator, Mapping

import msgspec

from loom_shell.simulator.answers import Answer, Block

TEXT_STEP = 12
"""Characters in one text or JSON delta."""


def frame(name: str, payload: object) -> bytes:
    """One server-sent event: `event:` line, `data:` line, empty line."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(payload))


def typed(name: str, **fields: object) -> bytes:
    """A frame whose payload repeats its name under `type`, as all of the API's do."""
    return frame(name, {"type": name, **fields})


PING = typed("ping")


def message_frames(answer: Answer) -> list[bytes]:
    """The whole stream of an answer, one element a frame."""
    first = {**_message(answer), "content": [], "stop_reason": None}
    first["usage"] = {**_usage(answer), "output_tokens": 1}
    frames = [typed("message_start", message=first), PING]
    for index, block in enumerate(answer.blocks):
        frames += block_frames(index, block)
    last = {name: value for name, value in _usage(answer).items() if isinstance(value, int)}
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    return [*frames, typed("message_delta", delta=delta, usage=last), typed("message_stop")]


def block_frames(index: int, block: Block) -> list[bytes]:
    start, deltas = _parts(block)
    return [
        typed("content_block_start", index=index, content_block=start),
        *(typed("content_block_delta", index=index, delta=delta) for delta in deltas),
        typed("content_block_stop", index=index),
    ]


def _parts(block: Block) -> tuple[Block, list[Block]]:
    """A block's empty beginning and the deltas that fill it."""
    match block["type"]:
        case "thinking":
            steps = [{"type": "thinking_delta", "thinking": part} for part in _cut(block["thinking"])]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*steps, signed]
        case "tool_use":
            written = ["", *_cut(msgspec.json.encode(block["input"]).decode())]
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": part} for part in written
            ]
        case _:
            return {**block, "text": ""}, [
                {"type": "text_delta", "text": part} for part in _cut(block["text"])
            ]


def _cut(text: object) -> Iterator[str]:
    whole = str(text)
    return (whole[i : i + TEXT_STEP] for i in range(0, len(whole), TEXT_STEP))


def message_json(answer: Answer) -> bytes:
    """The answer of a request without `stream`."""
    return msgspec.json.encode(_message(answer))


def _message(answer: Answer) -> dict[str, object]:
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": list(answer.blocks),
        "stop_reason": answer.stop_reason,
        "stop_sequence": None,
        "usage": _usage(answer),
    }


def _usage(answer: Answer) -> Mapping[str, object]:
    figures = answer.figures
    return {
        "input_tokens": figures.input_tokens,
        "cache_creation_input_tokens": figures.cache_creation_input_tokens,
        "cache_read_input_tokens": figures.cache_read_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": figures.ephemeral_5m_input_tokens,
            "ephemeral_1h_input_tokens": figures.ephemeral_1h_input_tokens,
        },
        "output_tokens": answer.output_tokens,
        "service_tier": "standard",
    }


def chunk(piece: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112 section 7.1); an empty piece would end it."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


LAST_CHUNK = b"0\r\n\r\n"
