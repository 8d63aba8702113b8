"""What the simulated model says when a client compacts: a short summary of the conversation.

A request asks for one when its last user message speaks of `<summary>` tags, whatever its other words are.
"""

from collections.abc import Iterator, Mapping

TAG = "<summary>"
LONGEST = 120
"""Characters of a prompt that are told again."""

NOTHING = "nothing that was typed"


def asks_for_summary(body: Mapping[str, object]) -> bool:
    """Whether the text of the last user message asks for `<summary>` tags."""
    own = [content for role, content in _messages(body) if role == "user"]
    return bool(own) and any(TAG in text for text in _texts(own[-1]))


def summary(body: Mapping[str, object]) -> str:
    """The analysis and the summary, in their tags."""
    return f"<analysis>\nI look for what has to be kept.\n</analysis>\n\n<summary>\n{facts(body)}\n</summary>"


def facts(body: Mapping[str, object]) -> str:
    """Three facts of the conversation: its first prompt, its length, and the tools that ran."""
    messages = list(_messages(body))
    tools = ", ".join(dict.fromkeys(name for _, content in messages for name in _called(content))) or "none"
    first = next(_prompts(messages), NOTHING)
    return f"1. It began with: {first}\n2. Messages so far: {len(messages)}\n3. Tools that ran: {tools}"


def _prompts(messages: list[tuple[object, object]]) -> Iterator[str]:
    """The first line of each text of the user's, without what the client wraps in tags of its own."""
    for role, content in messages:
        for text in _texts(content) if role == "user" else ():
            line = text.strip().partition("\n")[0][:LONGEST]
            if line and not line.startswith("<") and TAG not in text:
                # A lone surrogate can stand in a request, and not in the answer's UTF-8.
                yield line.encode("utf-8", "replace").decode()


def _messages(body: Mapping[str, object]) -> Iterator[tuple[object, object]]:
    """Role and content of each message."""
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, Mapping):
            yield message.get("role"), message.get("content")


def _texts(content: object) -> Iterator[str]:
    blocks = [{"text": content}] if isinstance(content, str) else content
    for block in blocks if isinstance(blocks, list) else []:
        text = block.get("text") if isinstance(block, Mapping) else None
        if isinstance(text, str):
            yield text


def _called(content: object) -> Iterator[str]:
    for block in content if isinstance(content, list) else []:
        name = block.get("name") if isinstance(block, Mapping) and block.get("type") == "tool_use" else None
        if isinstance(name, str):
            yield name.encode("utf-8", "replace").decode()
