"""What Phoenix must tell of the turn: one root with both texts, right parents, session, tokens."""

from collections import Counter
from typing import Any

from tests.e2e_phoenix.program import Wrong
from tests.e2e_phoenix.turn import MODEL, PROMPT, Turn

Spans = list[dict[str, Any]]
CALL = "loom: POST /v1/messages"
CHAT = f"chat {MODEL}"
TOOL = "execute_tool Bash"
HOOK = "hook:collect-metadata"


def expected(turn: Turn) -> Counter[str]:
    """The spans of the turn, by name."""
    calls = len(turn.calls)
    return Counter({root_name(turn): 1, HOOK: 1, CALL: calls, CHAT: calls, TOOL: len(turn.tools)})


def root_name(turn: Turn) -> str:
    return f"user-turn:{turn.session[:8]}"


def is_whole(spans: Spans, turn: Turn) -> bool:
    return not expected(turn) - Counter(span["name"] for span in spans)


def one_trace(spans: Spans, turn: Turn) -> str:
    _equal("spans", Counter(span["name"] for span in spans), expected(turn))
    _equal("traces", {span["context"]["trace_id"] for span in spans}, {turn.trace_id})
    return f"{len(spans)} spans in one trace, the one the hook began"


def one_root(spans: Spans, turn: Turn) -> str:
    roots = [span for span in spans if not span["parent_id"]]
    _equal("roots", [span["name"] for span in roots], [root_name(turn)])
    (root,) = roots
    _equal("the root's id", root["context"]["span_id"], turn.root_id)
    _equal("the root's kind", root["span_kind"], "AGENT")
    _equal("the root's input", root["attributes"].get("input.value"), PROMPT)
    _equal("the root's output", root["attributes"].get("output.value"), turn.answer)
    _equal("the root's status", root["status_message"], "")
    return f"one root, {root['name']}: the prompt is its input, the final text its output"


def right_parents(spans: Spans, turn: Turn) -> str:
    calls = [span["context"]["span_id"] for span in spans if span["name"] == CALL]
    for name in (HOOK, CALL, TOOL):
        parents = {span["parent_id"] for span in spans if span["name"] == name}
        _equal(f"parents of {name}", parents, {turn.root_id})
    chats = [span["parent_id"] for span in spans if span["name"] == CHAT]
    _equal(f"parents of {CHAT}", sorted(chats), sorted(calls))
    kinds = {span["name"]: span["span_kind"] for span in spans if span["name"] != root_name(turn)}
    _equal("kinds", kinds, {HOOK: "CHAIN", CALL: "CHAIN", CHAT: "LLM", TOOL: "TOOL"})
    return "hook, calls and tools hang on the root, each chat on its call"


def tokens_with_cache(spans: Spans, turn: Turn) -> str:
    if not any(call.read for call in turn.calls) or not any(call.written for call in turn.calls):
        raise Wrong(f"upstream cached nothing, so nothing is shown: {turn.calls}")
    chats = sorted((span for span in spans if span["name"] == CHAT), key=lambda span: str(span["start_time"]))
    names = ("prompt", "prompt_details.cache_write", "prompt_details.cache_read", "completion")
    for span, call in zip(chats, turn.calls, strict=True):
        told = tuple(span["attributes"].get(f"llm.token_count.{name}") for name in names)
        _equal("tokens of a chat", told, (call.prompt, call.written, call.read, call.completion))
    shown = ", ".join(f"{it.prompt} = {it.uncached} + {it.written} + {it.read}" for it in turn.calls)
    return f"prompt tokens include those of the cache: {shown}"


def session_listed(sessions: Spans, turn: Turn) -> str:
    _equal("sessions", [one["session_id"] for one in sessions], [turn.session])
    (session,) = sessions
    _equal("traces of the session", [one["trace_id"] for one in session["traces"]], [turn.trace_id])
    prompt = sum(call.prompt for call in turn.calls)
    if "token_count_prompt" in session:
        _equal("prompt tokens of the session", session["token_count_prompt"], prompt)
    return f"the session is listed with this one trace and {prompt} prompt tokens"


def _equal(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Wrong(f"{what}: {found!r}, and not {wanted!r}")
