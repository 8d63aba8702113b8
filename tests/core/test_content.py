import json

import pytest

from loom_core.attributes import Writer
from loom_core.content import as_metadata, write_answer, write_input, write_output, write_value
from loom_core.conversation import Part, Said, answer, read
from loom_core.redaction import MAX_VALUE
from loom_core.rules import Content
from loom_core.trace import AttributeValue
from tests.support.facts import SEEN, TOOLS, body

HELLO = {"role": "user", "content": "hello"}
LOOP = (
    HELLO,
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
            {"type": "tool_use", "id": "t2", "name": "Read", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "a b"},
            {"type": "tool_result", "tool_use_id": "t2", "content": "c", "is_error": True},
        ],
    },
)


def written(
    *messages: object,
    shown: int = 0,
    content: Content = Content.FULL,
    system_shown: bool = False,
    **fields: object,
) -> dict[str, AttributeValue]:
    out = Writer("LLM", "s")
    write_input(out, read(body(*messages, **fields), shown), content, system_shown=system_shown)
    return dict(out.attributes())


def answered(said: Said, content: Content = Content.FULL) -> dict[str, AttributeValue]:
    out = Writer("LLM", "s")
    write_output(out, said, "end_turn", content)
    return dict(out.attributes())


@pytest.mark.spec("spans.tool-results", "spans.messages")
def test_messages_are_numbered_as_openinference_has_them() -> None:
    told = written(*LOOP)
    messages = {
        name.removeprefix("llm.input_messages."): it for name, it in told.items() if "input_m" in name
    }
    assert messages == {
        "0.message.role": "system",
        "0.message.content": "You are terse.",
        "1.message.role": "user",
        "1.message.content": "hello",
        "2.message.role": "assistant",
        "2.message.contents.0.message_content.type": "reasoning",
        "2.message.contents.0.message_content.text": "hm",
        "2.message.contents.0.message_content.signature": "sig",
        "2.message.contents.1.message_content.type": "text",
        "2.message.contents.1.message_content.text": "I look.",
        "2.message.tool_calls.0.tool_call.id": "t1",
        "2.message.tool_calls.0.tool_call.function.name": "Bash",
        "2.message.tool_calls.0.tool_call.function.arguments": '{"command":"ls"}',
        "2.message.tool_calls.1.tool_call.id": "t2",
        "2.message.tool_calls.1.tool_call.function.name": "Read",
        "2.message.tool_calls.1.tool_call.function.arguments": "{}",
        "3.message.role": "tool",
        "3.message.tool_call_id": "t1",
        "3.message.content": "a b",
        "4.message.role": "tool",
        "4.message.tool_call_id": "t2",
        "4.message.content": "c",
    }
    assert told["llm.tools.0.tool.name"] == "Bash"
    assert json.loads(str(told["llm.tools.0.tool.json_schema"])) == TOOLS[0]


@pytest.mark.spec("spans.messages")
def test_messages_are_json_as_the_genai_conventions_have_them() -> None:
    told = written(*LOOP)
    assert json.loads(str(told["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": "hello"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "hm"},
                {"type": "text", "content": "I look."},
                {"type": "tool_call", "id": "t1", "name": "Bash", "arguments": {"command": "ls"}},
                {"type": "tool_call", "id": "t2", "name": "Read", "arguments": {}},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "t1", "response": "a b"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "t2", "response": "c"}]},
    ]
    assert json.loads(str(told["gen_ai.system_instructions"])) == [
        {"type": "text", "content": "You are terse."}
    ]


@pytest.mark.spec("spans.linear")
def test_what_earlier_spans_have_shown_is_counted() -> None:
    told = written(*LOOP, shown=2, system_shown=True)
    assert told["loom.input.messages.total"] == 3
    assert told["loom.input.messages.earlier"] == 2
    assert told["llm.input_messages.0.message.role"] == "tool"
    assert told["input.value"] == "c"
    assert "gen_ai.system_instructions" not in told
    assert told["llm.tools.0.tool.name"] == "Bash"
    assert "llm.tools.0.tool.json_schema" not in told
    assert "hello" not in repr(told)
    assert "terse" not in repr(told)


def test_parameters_are_told_in_both_conventions() -> None:
    told = written(
        HELLO, top_k=5, top_p=0.9, temperature=1, stop_sequences=["X"], thinking={"type": "enabled"}
    )
    assert json.loads(str(told["llm.invocation_parameters"])) == {
        "max_tokens": 1_000,
        "temperature": 1,
        "top_p": 0.9,
        "top_k": 5,
        "stop_sequences": ["X"],
        "stream": True,
        "thinking": {"type": "enabled"},
    }
    assert told["gen_ai.request.max_tokens"] == 1_000
    assert told["gen_ai.request.top_k"] == 5
    assert told["gen_ai.request.top_p"] == 0.9
    assert told["gen_ai.request.temperature"] == 1.0
    assert told["gen_ai.request.stop_sequences"] == ("X",)
    assert told["gen_ai.request.stream"] is True
    odd = written(HELLO, max_tokens="x", temperature=True, top_p=10**400, stop_sequences=5, stream=None)
    assert not {name for name in odd if name.startswith("gen_ai.request")}


def test_an_answer_is_told_in_both_conventions() -> None:
    told = answered(answer(SEEN))
    assert told["output.value"] == "I shall look."
    assert told["output.mime_type"] == "text/plain"
    assert told["llm.output_messages.0.message.contents.0.message_content.signature"] == "c2ln"
    assert told["llm.output_messages.0.message.tool_calls.0.tool_call.function.name"] == "Bash"
    (message,) = json.loads(str(told["gen_ai.output.messages"]))
    assert message["finish_reason"] == "end_turn"
    assert [part["type"] for part in message["parts"]] == ["reasoning", "text", "tool_call"]


def test_an_answer_without_words_is_the_tools_it_asks_for() -> None:
    told = answered(Said("assistant", (Part("tool_call", '{"a":1}', id="t", name="N"),)))
    assert told["output.mime_type"] == "application/json"
    assert json.loads(str(told["output.value"])) == [
        {"type": "tool_call", "id": "t", "name": "N", "arguments": {"a": 1}}
    ]
    out = Writer("LLM", "s")
    write_answer(out, Said("assistant", (Part("reasoning", "hm"),)))
    write_value(out, "input", "")
    assert len(out.attributes()) == 2
    assert answered(Said("assistant", ())).keys() == {"openinference.span.kind", "session.id"}


@pytest.mark.spec("spans.content")
def test_metadata_only_has_no_word_of_what_was_said() -> None:
    told = written(*LOOP, content=Content.METADATA, stop_sequences=["hello"])
    told |= answered(answer(SEEN), Content.METADATA)
    text = repr(told)
    for word in ("hello", "terse", "hm", "I look", "'ls'", "command", "a b", "I shall", "sig", "Runs a"):
        assert word not in text
    assert told["llm.input_messages.1.message.tool_calls.0.tool_call.function.name"] == "Bash"
    assert told["llm.input_messages.2.message.tool_call_id"] == "t1"
    assert told["llm.tools.0.tool.name"] == "Bash"
    assert "gen_ai.input.messages" not in told


@pytest.mark.spec("spans.content")
def test_off_has_counts_only() -> None:
    told = written(*LOOP, content=Content.OFF) | answered(answer(SEEN), Content.OFF)
    assert told == {
        "openinference.span.kind": "LLM",
        "session.id": "s",
        "loom.input.messages.total": 3,
        "loom.input.messages.earlier": 0,
        "loom.tools.count": 1,
    }


@pytest.mark.spec("spans.capped")
@pytest.mark.parametrize("text", ["x" * 9_000, "é" * 9_000, "\x00" * 9_000, '"' * 9_000])
def test_json_that_is_too_long_stays_json_and_keeps_the_newest(text: str) -> None:
    told = written(*[{"role": "user", "content": f"{number}{text}"} for number in range(20)])
    value = str(told["gen_ai.input.messages"])
    assert len(value.encode()) <= MAX_VALUE
    messages = json.loads(value)
    assert "earlier ones left out" in messages[0]["content"]
    if text[0] != "\x00":  # Each of these is six bytes of JSON: not one message fits.
        assert messages[-1]["parts"][0]["content"].startswith("19")
    parts = [{"type": "text", "text": f"{number}{text}"} for number in range(20)]
    value = str(written({"role": "user", "content": parts})["gen_ai.input.messages"])
    assert len(value.encode()) <= MAX_VALUE
    assert "left out" in value
    json.loads(value)


def test_metadata_leaves_out_what_is_not_there() -> None:
    assert as_metadata((("a", ""), ("b", 0), ("c", "x"))) == {"c": "x"}


def test_arguments_that_were_cut_are_told_as_text() -> None:
    given = {"type": "tool_use", "id": "t", "name": "Write", "input": {"text": "x" * 20_000}}
    told = written({"role": "assistant", "content": [given]})
    ((part,),) = (message["parts"] for message in json.loads(str(told["gen_ai.input.messages"])))
    assert part["arguments"].endswith("characters in all]")
