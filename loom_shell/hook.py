"""`loom hook`: what the client runs at its hooks. It answers in milliseconds, and never blocks the user.

Run as a script (`python -I -S …/hook.py || true`, what `loom install` writes) it costs an interpreter's
start and little more: everything here and below is of the standard library, and only what a hook
needs is imported. It is a program of its own, so it reads environment and clock itself. Rules:
contracts section 2 and specs/hook.md.
"""

import _thread
import os
import sys
import time
from collections.abc import Callable

BLOCK_EVENTS = frozenset({"UserPromptSubmit", "SessionStart"})
REPORTED_EVENTS = frozenset(
    {"Stop", "SubagentStop", "PreCompact", "PostCompact", "SessionEnd", "PreToolUse", "PostToolUse"}
)
INPUT_LIMIT = 4 * 1024 * 1024
"""Bytes of input; with more of them there is no block."""
INPUT_SECONDS = 2.0
NETWORK_SECONDS = 0.05
"""What the store, or the Loom, gets in all: name, connection, writing, answer."""
NOTHING = b"{}\n"

Answer = tuple[bytes, Callable[[], object] | None]
"""What to print, and what to do after it."""

if __name__ == "__main__":
    # Last, so that nothing of ours can stand in for a module of the standard library.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120


def main() -> None:
    """Answer one hook on standard output and exit with 0, whatever happens. Does not return."""
    output, afterwards = NOTHING, None
    try:
        began = time.time_ns()
        event = sys.argv[-1] if sys.argv[-1] in BLOCK_EVENTS | REPORTED_EVENTS else ""
        output, afterwards = answer(read(0), event, dict(os.environ), began)
    except BaseException:  # noqa: BLE001, S110 - a hook never blocks the user, and never tells its environment
        pass
    try:
        write(1, output)
        if afterwards is not None:
            within(NETWORK_SECONDS, afterwards)
    except BaseException:  # noqa: BLE001, S110 - as above
        pass
    # Not sys.exit: that would wait for a look-up that hangs, and could write to standard error.
    os._exit(0)


def answer(raw: bytes | None, event: str, environ: dict[str, str], began: int) -> Answer:
    """What a hook says to what it was given.

    `raw` is the client's JSON (None: too much of it), `event` counts where that names none, `began`
    is in nanoseconds since the epoch. Raises for what is not as it must be.
    """
    given = _input(raw)
    event = _text(given, "hook_event_name") or event
    if event in BLOCK_EVENTS:
        return _block(event, given, environ, began)
    if event in REPORTED_EVENTS:
        return _report(event, given, environ, began)
    return NOTHING, None


def _input(raw: bytes | None) -> dict[str, object]:
    import json  # noqa: PLC0415 - imported where it is needed: the start is what a hook costs

    given = json.loads(raw.decode()) if raw else None
    if not isinstance(given, dict):
        raise TypeError
    return given


def _text(given: dict[str, object], name: str) -> str:
    value = given.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError
    return value


def _block(event: str, given: dict[str, object], environ: dict[str, str], began: int) -> Answer:
    from loom_shell import machine_facts, turn_block  # noqa: PLC0415

    source = _text(given, "source")
    if event == "SessionStart" and source == "compact":
        # It comes in the middle of a turn, whose block it would take the place of.
        return _report(event, given, environ, began)
    fields = {name: _text(given, name) for name in ("prompt_id", "cwd", "transcript_path", "prompt")}
    session = _text(given, "session_id")
    if not session or len(session) > turn_block.ID_LIMIT:
        raise ValueError
    ids = turn_block.fresh_ids(os.urandom(32), environ.get("TRACEPARENT", ""))
    facts = machine_facts.gather()
    ended = time.time_ns()
    fields["source"] = _source(environ)
    text = turn_block.text(session, ids, (began, ended), fields, facts)
    output = turn_block.output(event, text)
    url = environ.get("LOOM_REDIS_URL", "")
    if event != "UserPromptSubmit" or not url or not turn_block.is_word(session):
        return output, None
    from loom_shell import address, redis_line  # noqa: PLC0415

    store = address.redis_place(url)
    if store is None:
        return output, None

    command = ("SET", f"turn_context:{session}", ids["traceparent"], "EX", "300")
    return output, lambda: redis_line.ask(store, NETWORK_SECONDS, command)


def _source(environ: dict[str, str]) -> str:
    """What the client says in `x-loom-source`, and nothing else of its headers."""
    for line in environ.get("ANTHROPIC_CUSTOM_HEADERS", "").split("\n"):
        name, _colon, value = line.partition(":")
        if name.strip().lower() == "x-loom-source":
            return value.strip()
    return ""


def _report(event: str, given: dict[str, object], environ: dict[str, str], at: int) -> Answer:
    from loom_shell import hook_report  # noqa: PLC0415

    place = hook_report.place(environ.get("LOOM_URL", ""), environ.get("ANTHROPIC_BASE_URL", ""))
    if place is None:
        return NOTHING, None
    told = {name: _text(given, name) for name in hook_report.FIELDS}
    sent = hook_report.request(place, environ.get("LOOM_HOOK_TOKEN", ""), event, told, at)
    return NOTHING, lambda: hook_report.send(place, sent, NETWORK_SECONDS)


# The world


def read(source: int) -> bytes | None:
    """Standard input to its end: None if there is more than `INPUT_LIMIT` or no end in `INPUT_SECONDS`.

    What is over the limit is read and dropped, so that the client need not meet a broken pipe.
    """
    import select  # noqa: PLC0415

    until = time.monotonic() + INPUT_SECONDS
    ready = select.poll()
    ready.register(source, select.POLLIN | select.POLLHUP)
    pieces: list[bytes] = []
    size = 0
    while (left := until - time.monotonic()) > 0 and ready.poll(left * 1000):
        piece = os.read(source, 1 << 20)
        if not piece:
            return b"".join(pieces) if size <= INPUT_LIMIT else None
        size += len(piece)
        if size <= INPUT_LIMIT:
            pieces.append(piece)
    return None


def write(target: int, output: bytes) -> None:
    while output:
        output = output[os.write(target, output) :]


def within(seconds: float, work: Callable[[], object]) -> None:
    """Do `work()` and wait for it, but no longer: a look-up of a name that hangs is left behind."""
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            work()
        except BaseException:  # noqa: BLE001, S110 - nobody waits for the answer, nobody is told
            pass
        finally:
            done.release()

    _thread.start_new_thread(run, ())
    done.acquire(timeout=seconds)


if __name__ == "__main__":
    main()
