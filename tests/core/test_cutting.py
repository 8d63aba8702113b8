"""What is kept of earlier calls changes nothing; the rules themselves are in `test_metadata.py`."""

import json
from functools import partial
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core import cutting
from loom_core.asked import Behind, as_asked
from loom_core.block import CANARY
from loom_core.cutting import find
from loom_core.wire import apply

MARK = CANARY.decode()
MARKER = {"type": "ephemeral"}


def block(number: int) -> str:
    words = json.dumps({"canary": MARK, "prompt": f"prompt {number}", "prompt_id": f"p{number}"})
    return f"UserPromptSubmit hook additional context: {MARK} {words} {MARK}"


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


broken = f"UserPromptSubmit hook additional context: {MARK} {{broken {MARK}"
texts = st.sampled_from(["hi", block(1), f"<system-reminder>\n{block(2)}\n</system-reminder>", broken, "ü\n"])
marked = st.sampled_from([{}, {"cache_control": MARKER}])
blocks = st.builds(lambda text, more: {"type": "text", "text": text, **more}, texts, marked)
messages = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "user", "system", "assistant"]),
    texts | st.lists(blocks, min_size=1, max_size=3),
)
conversations = st.lists(messages, min_size=1, max_size=14)
cuts = st.tuples(st.integers(0, 2), st.integers(1, 14), st.sampled_from(["", "s"]))


def body_of(told: list[object]) -> bytes:
    return json.dumps({"model": "m", "messages": told, "system": "s"}).encode()


@pytest.mark.spec("metadata.kept")
@given(st.lists(conversations, min_size=3, max_size=3), st.lists(cuts, min_size=2, max_size=8))
def test_what_is_known_of_earlier_calls_changes_no_result(
    told: list[list[object]], calls: list[tuple[int, int, str]]
) -> None:
    """Calls of three conversations: shorter, longer, and one that begins as another does."""
    sent = [(body_of([*told[0], *told[which]][:length]), session) for which, length, session in calls]
    expected = []
    for body, _ in sent:
        cutting.MEMO.clear()
        expected.append(find(body))
    expected *= 2
    cutting.MEMO.clear()
    for body, session in sent * 2:
        found = find(body, partial(str, session))
        assert evolve(found, behind=None) == expected.pop(0)
        if found.behind is not None:
            assert told_after(apply(body, found.edits), found.behind)


def told_after(body: bytes, behind: Behind) -> bool:
    """Whether a body without the messages behind is the whole body but for these."""
    whole, rest = as_asked(body), as_asked(body, behind)
    new = [bytes(raw) for raw in whole.messages[behind.count :]]
    assert 0 < behind.count <= len(whole.messages)
    assert bytes(rest.system) == bytes(whole.system)
    return [bytes(raw) for raw in rest.messages] == new


@pytest.mark.spec("metadata.kept")
def test_a_message_that_moved_is_cut_where_it_is_now() -> None:
    said = {"role": "user", "content": [{"type": "text", "text": block(1)}, {"type": "text", "text": "hi"}]}
    for before in (0, 3, 1):
        body = json.dumps({"messages": [{"role": "user", "content": "x"}] * before + [said]}).encode()
        assert json.loads(apply(body, find(body).edits))["messages"][-1]["content"] == said["content"][1:]


@pytest.mark.spec("metadata.kept")
def test_a_conversation_that_grows_is_looked_at_on_from_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    cutting.MEMO.clear()
    told = [
        message
        for number in range(20)
        for message in (
            {
                "role": "user",
                "content": [{"type": "text", "text": block(number)}, {"type": "text", "text": "hi"}],
            },
            {"role": "assistant", "content": "ok"},
        )
    ]
    whole = json.dumps({"messages": told}).encode()
    alone = find(json.dumps({"messages": told[:-2]}).encode(), lambda: "s")
    looked: list[object] = []
    real = cutting.blocks
    monkeypatch.setattr(cutting, "blocks", lambda text: (looked.append(text), real(text))[1])
    found = find(whole, lambda: "s")
    assert len(looked) <= 3
    assert found.edits[: len(alone.edits)] == alone.edits
    assert (found.cut, found.last and found.last.prompt) == (20, "prompt 19")
    assert found.behind is not None
    assert told_after(apply(whole, found.edits), found.behind)
    cutting.MEMO.clear()
    assert find(whole) == evolve(found, behind=None)


@pytest.mark.spec("metadata.kept", "metadata.last")
def test_in_a_tool_loop_the_words_of_a_known_prompt_still_speak() -> None:
    told: list[object] = [
        {"role": "user", "content": [{"type": "text", "text": block(5)}, {"type": "text", "text": "x"}]}
    ]
    for _ in range(12):
        told += [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]
        found = find(json.dumps({"messages": told}).encode(), lambda: "loop")
        assert found.last is not None
        assert found.last.prompt == "prompt 5"


@pytest.mark.spec("metadata.kept")
def test_threads_may_look_at_once() -> None:
    bodies = [
        json.dumps({"messages": [{"role": "user", "content": f"{n}" + block(n)}]}).encode() for n in range(9)
    ]
    wanted = [find(body) for body in bodies]
    found: list[bool] = []

    def look() -> None:
        found.append(all([find(body) for body in bodies] == wanted for _ in range(50)))

    threads = [Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
