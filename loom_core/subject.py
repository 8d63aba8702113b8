"""Whose request it is, and what part of weaving it may take."""

from hashlib import blake2b

import msgspec
from msgspec import Struct

from loom_core.block import decoded
from loom_core.call import Call, CallKind
from loom_core.chain import Conversation
from loom_core.headers import first
from loom_core.outgoing import Taken
from loom_core.profile import Profile
from loom_core.reading import as_dict, as_text
from loom_core.system import ATTRIBUTION
from loom_core.values import Request
from loom_core.wire import UNREADABLE

CLIENT = b"claude-cli/"


class Subject(Struct, frozen=True):
    """A request that is being woven: what it says of itself, its conversation, and where its ledger is."""

    taken: Taken
    call: Call
    conversation: Conversation
    scope: str
    began_at: int

    @property
    def names(self) -> tuple[str, ...]:
        """The ledger's fields of the conversation's anchors, in their order."""
        return self.conversation.names

    @property
    def newest(self) -> str:
        """The field of the newest anchor, which is the last one; "" if there is none."""
        return self.names[-1] if self.conversation.newest else ""

    @property
    def unanswered(self) -> tuple[str, ...]:
        """The fields of the newest anchor, and of those before it in the same message."""
        newest = self.conversation.newest
        pairs = zip(self.names, self.conversation.anchors, strict=True)
        return tuple([name for name, it in pairs if newest and it.message == newest.message])

    @property
    def answered(self) -> tuple[str, ...]:
        return self.names[: len(self.names) - len(self.unanswered)]

    @property
    def earlier(self) -> tuple[str, ...]:
        """The fields of the other anchors."""
        return self.names[:-1] if self.conversation.newest else self.names


def scope_of(call: Call) -> str:
    """The session, and neither agent nor account: a fork, a compaction and a count inherit what was woven.

    A count of tokens says nothing of an account (observed: 2.1.328), and must find the same ledger.
    """
    return blake2b(call.session.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def decides(call: Call, request: Request, profile: Profile) -> bool:
    """Whether something may be decided for this call; all others only replay."""
    if call.kind is CallKind.SUBAGENT or (call.kind is CallKind.MAIN and call.agent):
        return profile.agents
    return call.kind is CallKind.MAIN and not _is_aside(call, request)


def _is_aside(call: Call, request: Request) -> bool:
    """A client that sends no request class asks small things beside the loop: one message, and no tools."""
    if call.messages != 1 or call.offers or call.metadata:
        return False
    agent = first(request.headers, b"user-agent") or b""
    return agent.startswith(CLIENT) and first(request.headers, b"x-claude-code-request-class") is None


def system_mark(conversation: Conversation) -> str:
    """A short hash of the client's system prompt, but for its attribution block and markers.

    It tells a call of the same conversation from one that begins with the same words.
    """
    try:
        told = decoded(conversation.system.raw) if conversation.system.raw else None
    except UNREADABLE:
        told = None
    blocks = told if isinstance(told, list) else [{"type": "text", "text": told}]
    texts = [as_text(as_dict(block).get("text")) for block in blocks]
    if texts and texts[0].startswith(ATTRIBUTION):
        texts = texts[1:]
    words = msgspec.json.encode([text.encode("utf-8", "replace").decode() for text in texts])
    return blake2b(words, digest_size=8).hexdigest()
