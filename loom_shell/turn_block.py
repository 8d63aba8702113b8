"""The metadata block that a hook puts into the conversation: ids first, always under 4 KB.

Standard library only, and little of it: it is imported by `loom_shell/hook.py`. The form is that of
contracts section 2: `<canary> <one JSON object> <canary>`.
"""

import json
import re

CANARY = "LOOM_METADATA_UlVCQkVSRFVDSw"
LIMIT = 4096
"""Bytes of UTF-8 that no block reaches. (Over 10,000 characters the client writes a file instead.)"""
ID_LIMIT = 200
"""Characters of a session id."""
ROOM = {"prompt_id": 200, "source": 100, "cwd": 600, "transcript_path": 900}
"""Bytes that a field may take as JSON; the prompt gets what is left."""

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_WORD = re.compile(r"[A-Za-z0-9_.:-]+")
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def is_word(text: str) -> bool:
    """Whether a text is fit to be part of a key of the store."""
    return _WORD.fullmatch(text) is not None


def joined(traceparent: str) -> tuple[str, str] | None:
    """Trace id and span id of a W3C `traceparent`, None if it is not valid (trace context, section 3.2)."""
    found = _TRACEPARENT.fullmatch(traceparent.strip()) if len(traceparent) <= 512 else None
    if found is None or found[1] == "ff" or (found[1] == "00" and found[4]):
        return None
    if not found[2].strip("0") or not found[3].strip("0"):
        return None
    return found[2], found[3]


def fresh_ids(chance: bytes, traceparent: str) -> dict[str, str]:
    """The ids of a turn, from 32 random bytes; in the trace of `traceparent` if that is valid."""
    parent = joined(traceparent)
    trace = parent[0] if parent else _id(chance[:16])
    root, hook = _id(chance[16:24]), _id(chance[24:32])
    ids = {"trace_id": trace, "traceparent": f"00-{trace}-{root}-01", "hook_span_id": hook}
    if parent:
        ids["parent_span_id"] = parent[1]
    return ids


def _id(chance: bytes) -> str:
    # Ids of zeros are invalid.
    return chance.hex() if any(chance) else "1".rjust(2 * len(chance), "0")


def text(
    session: str,
    ids: dict[str, str],
    times: tuple[int, int],
    fields: dict[str, str],
    facts: dict[str, str | int],
) -> str:
    """The block. `times` are the hook's begin and end, in nanoseconds since the epoch.

    `fields` are prompt, prompt_id, cwd, transcript_path, source; those that are empty are left out.
    What is too long ends in `…`, the prompt with a count of what is missing.
    """
    told: dict[str, object] = {"canary": CANARY, "session_id": session}
    told["trace_id"], told["traceparent"] = ids["trace_id"], ids["traceparent"]
    if fields.get("prompt_id"):
        told["prompt_id"] = clipped(fields["prompt_id"], ROOM["prompt_id"])
    told["hook_span_id"] = ids["hook_span_id"]
    if "parent_span_id" in ids:
        told["parent_span_id"] = ids["parent_span_id"]
    began, ended = times
    told |= {"started_at": began, "hook_started_at": began, "hook_ended_at": ended, "sent_at": ended}
    for name in ("source", "cwd", "transcript_path"):
        if fields.get(name):
            told[name] = clipped(fields[name], ROOM[name])
    if facts:
        told["machine"] = facts
    head = _written(told)
    prompt = fields.get("prompt", "")
    if prompt:
        # LIMIT is not reached; `,"prompt":` and two canaries with a space each are around.
        room = LIMIT - 1 - len(head.encode()) - len(',"prompt":') - 2 * (len(CANARY) + 1)
        head = f'{head[:-1]},"prompt":{_escaped(_ENCODE(clipped(whole(prompt), room, counted=True)))}}}'
    return f"{CANARY} {head} {CANARY}"


def _written(told: dict[str, object]) -> str:
    # The first value is the canary itself, which must be found as it is.
    canary, rest = told["canary"], {name: value for name, value in told.items() if name != "canary"}
    return f'{{"canary":"{canary}",{_escaped(whole(_ENCODE(rest)))[1:]}'


def whole(value: str) -> str:
    """A text that can be written as UTF-8: lone surrogates are replaced."""
    return value.encode("utf-8", "replace").decode()


def _escaped(written: str) -> str:
    """JSON that says the same, but holds no tag and no canary for a reader to trip over."""
    return written.replace("<", "\\u003c").replace(CANARY, "\\u004c" + CANARY[1:])


def size(value: str) -> int:
    """Bytes of a text as JSON in the block."""
    return len(_escaped(whole(_ENCODE(value))).encode())


def clipped(value: str, room: int, *, counted: bool = False) -> str:
    """The text, or as much of its beginning as fits into `room` bytes of JSON, visibly cut."""
    if len(value) <= room and size(value) <= room:
        return value

    def cut(kept: int) -> str:
        # Half of a surrogate pair cannot be left over: these are characters, not UTF-16.
        return value[:kept] + (f"… ({len(value) - kept} more characters)" if counted else "…")

    fits, too_long = 0, min(len(value), room)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        fits, too_long = (middle, too_long) if size(cut(middle)) <= room else (fits, middle)
    return cut(fits)


def output(event: str, block: str) -> bytes:
    """What a hook prints so that the client puts the block into the conversation. Plain ASCII."""
    return (
        json.dumps({"hookSpecificOutput": {"hookEventName": event, "additionalContext": block}}).encode(
            "ascii"
        )
        + b"\n"
    )
