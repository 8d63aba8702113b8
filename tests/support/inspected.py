"""A recorded session as `loom inspect` reads it, made by the core from events told in few words."""

import json
from typing import Any

from attrs import define, field
from msgspec.structs import replace as evolve

from loom_core.actions import Decide, LookUp, Recall, Remember, SetTimer
from loom_core.events import (
    Event,
    HookReported,
    RequestChunkReceived,
    RequestEnded,
    RequestReceived,
    TimerFired,
    UpstreamChunkReceived,
    UpstreamEnded,
    UpstreamFailed,
    UpstreamHeadReceived,
)
from loom_core.exchange import BACK_OFF
from loom_core.profile import CompactionRules, Life, Piece
from loom_core.rules import Rules
from loom_core.values import Admission, Cause, ExchangeKey, Headers, Key, Request, TurnKey
from loom_shell.inspect.shown import Recording
from loom_shell.inspect.timeline import Timeline
from loom_shell.replay.record import Recorded
from loom_shell.replay.running import Running, Stepped
from tests.support.compactions import CONTINUATION, NEW_CLIENT, PROMPT, Case, continued
from tests.support.conversations import Message, Sent, answer, body, prompt, result, text
from tests.support.samples import SSE_HEAD
from tests.support.weaving import AGENT, ANN, AT, COMPACTION, MAIN, MS, SESSION, SIDE, WHOSE, Sources, rules

PROFILE = evolve(
    ANN,
    pieces=(*ANN.pieces, Piece("clock-2", Life.EPHEMERAL, text="Three letters are unread.")),
    compaction=CompactionRules(prompt=PROMPT, continuation=CONTINUATION),
)
SYSTEM = [
    text("x-anthropic-billing-header: cc_version=1;"),
    {**text("You are a coder."), "cache_control": {"type": "ephemeral"}},
]
USAGE = {"input_tokens": 40, "cache_read_input_tokens": 18_000, "cache_creation_input_tokens": 900}
HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "--><svg/onload=document.title='owned'>",
    "]]>{{7*7}}${document.title='owned'}",
    "\u2028\u2029\ud83d\u202egnp.exe\x1b[2J\x00",
    "\"'`&lt;/script&gt;<!--<script>",
)
"""What would do something if a page read it as markup, or drew it as it is."""


def use(name: str, tool: str, **given: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": tool, "name": name, "input": given}


def frames(*blocks: dict[str, Any], stop: str = "end_turn", out: int = 60, **usage: int) -> list[bytes]:
    """An answer as it streams: a frame for each word of its texts."""
    began = {"id": "msg_1", "model": "claude-opus-5", "usage": {**USAGE, "output_tokens": 1, **usage}}
    told: list[dict[str, Any]] = [{"type": "message_start", "message": began}]
    for index, block in enumerate(blocks):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        told.append({"type": "content_block_start", "index": index, "content_block": empty})
        said = block["text"].split(" ") if is_text else [json.dumps(block["input"])]
        kind, name = ("text_delta", "text") if is_text else ("input_json_delta", "partial_json")
        for number, word in enumerate(said):
            delta = {"type": kind, name: word if number == 0 else f" {word}"}
            told.append({"type": "content_block_delta", "index": index, "delta": delta})
        told.append({"type": "content_block_stop", "index": index})
    told.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": out}})
    told.append({"type": "message_stop"})
    return [f"event: {it['type']}\ndata: {json.dumps(it)}\n\n".encode() for it in told]


@define
class Story:
    """Events as they came, and each step that followed. Times go on by themselves."""

    at: int = AT
    of: Rules = field(factory=lambda: rules(PROFILE, traces=True))
    sources: Sources = field(factory=Sources)
    records: list[Recorded] = field(factory=list)
    steps: list[Stepped] = field(factory=list)
    session: str = SESSION
    _running: Running = field(factory=Running)

    def waits(self, milliseconds: float) -> "Story":
        self.at += int(milliseconds * MS)
        return self

    def happens(self, key: Key, event: Event) -> list[Stepped]:
        """One event from outside; what it asks of store and memory is answered."""
        then = (key,) * 8 if isinstance(key, ExchangeKey) else ()
        record = Recorded(len(self.records) + 1, self.at, key, event, session=self.session, then=then)
        self.records.append(record)
        steps = list(self._running.happens(record))
        self.steps += steps
        for action in [action for step in steps for action in step.actions]:
            if isinstance(action, LookUp | Recall | Decide):
                self.waits(14 if isinstance(action, Recall) else 3)
                self.happens(key, self.sources.answer(action, self.at))
            elif isinstance(action, Remember):
                self.sources.remembers(action.fields)
            elif isinstance(action, SetTimer) and action.timer == BACK_OFF:
                self.at = action.at
                self.happens(key, TimerFired(self.at, BACK_OFF))
        return steps

    def asks(
        self,
        name: str,
        messages: list[Message],
        headers: Headers = (*WHOSE, MAIN),
        target: bytes = b"/v1/messages?beta=true",
        system: Any = None,  # noqa: ANN401 - JSON
    ) -> ExchangeKey:
        """Up to the order that sends it upstream."""
        key = ExchangeKey(name)
        told = body(messages, Sent(system=SYSTEM if system is None else system, markers=(0,), ascii=True))
        told = told.replace(
            b'"model":"m"', b'"model":"claude-opus-5","tools":[{"name":"Bash"},{"name":"Read"}]'
        )
        secret = (b"x-api-key", b"a-credential-of-somebody")
        self.happens(
            key,
            RequestReceived(
                self.at,
                Request("POST", target, (*headers, secret)),
                self.of,
                Admission.OWN,
                len(self.records),
            ),
        )
        self.happens(key, RequestChunkReceived(self.waits(1).at, told))
        self.happens(key, RequestEnded(self.waits(0.4).at))
        return key

    def gets(
        self, key: ExchangeKey, *chunks: bytes, status: int = 200, headers: Headers = SSE_HEAD
    ) -> "Story":
        self.happens(key, UpstreamHeadReceived(self.waits(420).at, status, headers))
        for chunk in chunks:
            self.happens(key, UpstreamChunkReceived(self.waits(35).at, chunk))
        self.happens(key, UpstreamEnded(self.waits(2).at))
        return self

    def calls(self, name: str, messages: list[Message], *blocks: dict[str, Any], **how: Any) -> "Story":  # noqa: ANN401
        """A whole call, answered with these blocks."""
        asked = {key: how.pop(key) for key in ("headers", "target", "system") if key in how}
        return self.gets(self.asks(name, messages, **asked), *frames(*blocks, **how))

    def fails(self, key: ExchangeKey, cause: Cause) -> "Story":
        self.happens(key, UpstreamFailed(self.waits(90).at, cause, replayable=True, detail="errno 104"))
        return self

    def probes(self, name: str) -> "Story":
        key = ExchangeKey(name)
        self.happens(
            key,
            RequestReceived(
                self.at, Request("HEAD", b"/api/hello", ()), self.of, Admission.OWN, len(self.records)
            ),
        )
        self.happens(key, RequestEnded(self.waits(0.2).at))
        return self.gets(key, headers=())

    def hook(self, name: str, prompt_id: str = "") -> "Story":
        self.happens(TurnKey(self.session, ""), HookReported(self.waits(5).at, name, prompt_id, ""))
        return self

    def recording(self, session: str = "") -> Recording:
        """What a page is told of it."""
        timeline = Timeline(session)
        for step in self.steps:
            timeline.take(step)
        return timeline.recording("a journal")


def told() -> Story:
    """A session with all there is to see: tools, a subagent, retries, a failure, weaves, a compaction."""
    story = Story()
    first = prompt("Why is the build red? Please look, and mend it.")
    both = [
        text("I look at both."),
        use("Bash", "t1", command="just ci"),
        use("Read", "t2", path="justfile"),
    ]
    asking = {"role": "assistant", "content": both}
    story.probes("x-hello")
    story.waits(300).calls("x-1", [first], *both, stop="tool_use", out=85)
    story.calls(
        "x-title",
        [prompt("A title for this, in five words.")],
        text("Mending the build"),
        headers=(*WHOSE, SIDE),
        system="Titles only.",
    )
    done = {"role": "user", "content": [*result("t1")["content"], *result("t2")["content"]]}
    loop = [first, asking, done]
    story.waits(1_900).calls(
        "x-2",
        loop,
        text("A subagent shall look for it."),
        use("Task", "t3", prompt="Find the test."),
        stop="tool_use",
    )
    apart = (*WHOSE[:1], *AGENT, (b"x-claude-code-agent-type", b"Explore"))
    story.waits(60).calls(
        "x-3",
        [prompt("Find the test.")],
        use("Bash", "t4", command="rg test"),
        headers=apart,
        stop="tool_use",
    )
    found = [
        prompt("Find the test."),
        {"role": "assistant", "content": [use("Bash", "t4", command="rg test")]},
        result("t4"),
    ]
    story.waits(700).calls("x-4", found, text("It is tests/test_tea.py."), headers=apart)
    loop = [
        *loop,
        {"role": "assistant", "content": [use("Task", "t3", prompt="Find the test.")]},
        result("t3"),
    ]
    key = story.waits(30).asks("x-5", loop)
    story.fails(key, Cause.RESET).gets(
        key, *frames(text("The kettle was not closed.  It is mended, and the build is green again."), out=240)
    )
    story.hook("Stop")
    hostile = "\n".join(HOSTILE)
    more = [*loop, answer("It is mended."), prompt(f"What does this do?\n{hostile}")]
    story.waits(8_000).calls(
        "x-6", more, text(f"It does nothing: {hostile}"), use(HOSTILE[0], "t5", path=HOSTILE[1])
    )
    story.hook("Stop")
    key = story.waits(4_000).asks("x-7", [*more, answer("Nothing."), prompt("And now?")])
    error = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    story.gets(key, error, status=529, headers=((b"content-type", b"application/json"),))
    compacts = Case(NEW_CLIENT, "own").messages
    story.waits(9_000).calls(
        "x-8",
        [*more, *compacts[1:]],
        text("<summary>Ann asked for tea.</summary>"),
        headers=(*WHOSE, COMPACTION),
        out=700,
    )
    going_on = [prompt(continued(NEW_CLIENT)), answer("Yes."), prompt("Tea, then?")]
    story.waits(900).calls(
        "x-9",
        going_on,
        text("Here is your tea."),
        cache_read_input_tokens=0,
        cache_creation_input_tokens=4_000,
    )
    return story
