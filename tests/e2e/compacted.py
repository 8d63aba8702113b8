"""The client compacts: the summary is asked for in the profile's words, and so does it go on."""

import json
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from loom_core.meter import count_tokens
from loom_shell.simulator.summary import asks_for_summary
from tests.e2e.checks import ended_well
from tests.e2e.client import Installed, running
from tests.e2e.hooked import installed_hooks, version_of
from tests.e2e.profiled import (
    PROFILE,
    Block,
    Json,
    Pair,
    asked,
    cut,
    extends,
    flat,
    furnished,
    is_note,
    listed,
    pairs_of,
    read_from_cache,
    same_identity,
    woven_of,
)
from tests.e2e.stage import Wrong, stage

WISH = "keep the names"
HINTS = "CLAUDE_CODE_GATEWAY_HINT_HEADERS"
HINT = b"x-claude-code-compaction"
NEW_FORM = (2, 1, 328)
"""The first client seen to leave its system prompt and tools as they are when it compacts."""

LEAST_READ = 0.95
"""Part of the conversation that a compaction in the new form has to read from the cache."""

LONG = 25
"""Characters from which on a line of the client's instruction is its own, and not a heading."""

DEMANDED = ("text alone", "no tools", "<summary>", "</summary>")
"""Asked for whatever the profile says: without these the client would not take the answer."""

SUMMARISER = "You are a helpful AI assistant tasked with summarizing conversations."
CONTINUED = "This session is being continued from a previous conversation that ran out of context."
GOING_ON = "without asking the user any further questions"


@frozen
class Compacted:
    """A session of a profile that compacts after its first prompt (`typed`) or within it, and goes on."""

    name: str
    prompts: tuple[str, str, str]
    typed: bool = True
    scenario: str = "ok"
    summaries: int = 1
    """How often the client asks for a summary."""

    hints: bool = True
    """Whether the client keeps what `loom install` sets: that headers tell what a request is for."""

    model: str = ""
    since: tuple[int, ...] = ()

    async def run(self, client: Installed, say: Callable[[str], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="loom-e2e-") as folder:
            loom_home, home = Path(folder) / "loom", Path(folder) / "home"
            await furnished(loom_home)
            async with stage(self.scenario, loom_home) as it:
                await installed_hooks(client, home, it.front.port, "--source", PROFILE)
                if not self.hints:
                    _without_hints(home / ".claude" / "settings.json")
                for number, prompt in enumerate(self._said()):
                    further = [*(["--continue"] if number else []), *(self._with_model())]
                    async with running(client.program, prompt, it.front.port, home, *further) as process:
                        ended_well(await process.finished(), says=not prompt.startswith("/"))
                await it.close_loom()
                pairs = pairs_of(it)
            texts, is_new = Texts.of(loom_home), version_of(client) >= NEW_FORM
            before, compacting, after = _phases(pairs, self.summaries)
            say(_hinted(compacting, hints=self.hints and is_new))
            say(_asked_in_our_words(compacting, texts, WISH if self.typed else ""))
            say(_nothing_else(compacting, texts, is_new=is_new))
            say(_continues_the_conversation(before, compacting, is_new=is_new))
            say(_goes_on_in_our_words(after, texts, told=is_new or not self.typed))
            say(same_identity([*before, *after]))
            say(extends([*before, *after]))

    def _said(self) -> tuple[str, ...]:
        first, *others = self.prompts
        return (first, *((f"/compact {WISH}",) if self.typed else ()), *others)

    def _with_model(self) -> tuple[str, ...]:
        return ("--model", self.model) if self.model else ()


@frozen
class Texts:
    """The profile's own, with its slots filled."""

    identity: str
    prompt: str
    continuation: str

    @classmethod
    def of(cls, home: Path) -> "Texts":
        folder = home / "profiles" / PROFILE
        profile = tomllib.loads((folder / "profile.toml").read_text(encoding="utf-8"))

        def filled(name: str) -> str:
            text: str = (folder / profile["compaction"][name]).read_text(encoding="utf-8").strip()
            for slot, value in profile["slots"].items():
                text = text.replace("{{" + slot + "}}", value)
            return text

        return cls(filled("identity"), filled("prompt"), filled("continuation"))


def _without_hints(settings: Path) -> None:
    """As of a user who does not want these headers."""
    written: Json = json.loads(settings.read_text(encoding="utf-8"))
    del written["env"][HINTS]
    settings.write_text(json.dumps(written), encoding="utf-8")


def _phases(pairs: list[Pair], summaries: int) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """The woven calls before the summary was asked for, those that ask for it, and the woven ones after."""
    # 1.0.128 asks for a title, without tools, and quotes the conversation's metadata block in it.
    pairs = [(mine, its) for mine, its in pairs if asked(mine).get("tools")]
    places = [place for place, (mine, _) in enumerate(pairs) if asks_for_summary(asked(mine))]
    if len(places) != summaries:
        raise Wrong(f"the client asked for {len(places)} summaries, and should for {summaries}")
    compacting = [pairs[place] for place in places]
    after = woven_of(pairs[places[-1] + 1 :])
    if len(after) < 2:
        raise Wrong(f"after the summary came {len(after)} woven calls")
    return woven_of(pairs[: places[0]]), compacting, after


def _hinted(compacting: list[Pair], *, hints: bool) -> str:
    """Whether headers say that the requests compact."""
    named = [HINT in {name.lower() for name, _ in mine.request.lines} for mine, _ in compacting]
    if any(one is not hints for one in named):
        raise Wrong(f"{sum(named)} of {len(named)} requests for a summary have the header {HINT.decode()}")
    return "a header says that it compacts" if hints else "nothing but its words say that it compacts"


def _last_text(body: Json) -> tuple[int, int]:
    """Where the last text of the last user message is: number of message and block."""
    message = max(place for place, one in enumerate(body["messages"]) if one["role"] == "user")
    blocks = listed(body["messages"][message]["content"])
    return message, max(place for place, one in enumerate(blocks) if one["type"] == "text")


def _instruction(body: Json) -> str:
    message, block = _last_text(body)
    return str(listed(body["messages"][message]["content"])[block]["text"])


def _until_instruction(body: Json) -> Json:
    """The request up to the instruction, which is left out with all behind it."""
    message, block = _last_text(body)
    last = body["messages"][message]
    kept = {**last, "content": listed(last["content"])[:block]}
    return {**body, "messages": [*body["messages"][:message], kept]}


def _asked_in_our_words(compacting: list[Pair], texts: Texts, wish: str) -> str:
    """Contracts section 3, phase 2."""
    for mine, its in compacting:
        theirs, ours = _instruction(asked(mine)), _instruction(asked(its))
        if lacking := [it[:LONG] for it in (texts.prompt, wish, *DEMANDED) if it not in ours]:
            raise Wrong(f"the instruction upstream lacks {lacking}")
        lines = [line.strip() for line in theirs.splitlines() if len(line.strip()) >= LONG]
        if left := [line for line in lines if line in ours]:
            raise Wrong(f"the instruction upstream holds the client's own: {left[0][:80]!r}")
    sizes = [(len(_instruction(asked(mine))), len(_instruction(asked(its)))) for mine, its in compacting]
    return f"asked in our words, with what was typed; characters of theirs and ours: {sizes}"


def _nothing_else(compacting: list[Pair], texts: Texts, *, is_new: bool) -> str:
    """But for the instruction and our blocks it is what the client asked, markers included."""
    for mine, its in compacting:
        theirs, ours = cut(mine), asked(its)
        systems = listed(theirs.pop("system")), listed(ours.pop("system"))
        _check_system(*systems, texts, is_new=is_new)
        for body in (theirs, ours):
            for message in body["messages"]:
                message["content"] = [block for block in listed(message["content"]) if not is_note(block)]
            message, block = _last_text(body)
            body["messages"][message]["content"][block]["text"] = ""
        if ours != theirs:
            raise Wrong("a compaction differs from the client's in more than the instruction")
    where = "the system left as it is, the identity last" if is_new else "the summariser's prompt replaced"
    return f"nothing else is changed in it; {where}"


def _check_system(theirs: list[Json], ours: list[Json], texts: Texts, *, is_new: bool) -> None:
    """Contracts section 3, phase 1: replaced in the old form, in the new one left alone."""
    if is_new:
        if ours[:-1] != theirs or not ours[-1]["text"].startswith("You are Alpha"):
            raise Wrong("the system of a compaction is not the client's with the identity behind it")
        return
    place = next(number for number, block in enumerate(theirs) if block["text"] == SUMMARISER)
    theirs[place] = {**theirs[place], "text": texts.identity}
    if ours != theirs:
        raise Wrong(f"the system of a compaction is {[it['text'][:40] for it in ours]}")


def _continues_the_conversation(before: list[Pair], compacting: list[Pair], *, is_new: bool) -> str:
    """All before the instruction is the conversation so far, and read from the cache."""
    extended, parts = 0, []
    for mine, its in compacting:
        theirs, ours = flat(_until_instruction(cut(mine))), _until_instruction(asked(its))
        for earlier, woven in before:
            so_far, so_far_woven = _without_end(flat(cut(earlier))), _without_end(flat(asked(woven)))
            if theirs[: len(so_far)] == so_far:
                extended += 1
                if flat(ours)[: len(so_far_woven)] != so_far_woven:
                    raise Wrong("a compaction extends an earlier request, and its woven form does not")
        parts.append(read_from_cache(its) / count_tokens(ours))
    if is_new and (extended < len(compacting) * len(before) or min(parts) < LEAST_READ):
        raise Wrong(f"of {len(before)} requests {extended} are extended; read from the cache: {parts}")
    shown = ", ".join(f"{part:.1%}" for part in parts)
    return f"{extended} times a compaction extends an earlier request; of it is read from the cache: {shown}"


def _without_end(blocks: list[Block]) -> list[Block]:
    """Without a system message at the end: the instruction stands before it."""
    while blocks[-1][0] == "system":
        blocks = blocks[:-1]
    return blocks


def _goes_on_in_our_words(after: list[Pair], texts: Texts, *, told: bool) -> str:
    """Contracts section 3, phase 3: one whole line of the client's is replaced, identically in all."""
    both = [(_continued(asked(mine)), _continued(asked(its))) for mine, its in after]
    if len({ours for _, ours in both}) != 1:
        raise Wrong("the continuation changed between two requests")
    for theirs, ours in both:
        if GOING_ON in ours:
            raise Wrong("the client's continuation reached upstream")
        if not told:
            if ours != theirs:
                raise Wrong("a summary without a continuation was changed")
            continue
        head, found, tail = ours.partition(texts.continuation)
        replaced = theirs.removeprefix(head).removesuffix(tail)
        if not found or head + replaced + tail != theirs or "\n" in replaced or GOING_ON not in replaced:
            raise Wrong("the client's continuation, whole and nothing else, is not replaced by ours")
    how = "with our continuation" if told else "with the client's summary, which has no continuation"
    return f"the client took the summary, and goes on {how}, the same in {len(both)} requests"


def _continued(body: Json) -> str:
    """The text of the first message that holds the summary."""
    blocks = listed(body["messages"][0]["content"])
    found = [block["text"] for block in blocks if block.get("text", "").startswith(CONTINUED)]
    if len(found) != 1:
        raise Wrong(f"the first message holds {len(found)} summaries")
    return str(found[0])
