import asyncio
from collections.abc import AsyncIterator

import pytest

from loom_shell.config import Intro
from loom_shell.intro import model as module
from loom_shell.intro.model import HttpModel, ModelTroubleError
from loom_shell.secret import Secret
from loom_shell.simulator import Simulator
from tests.support.model import SimulatedModel, simulated_model

pytestmark = pytest.mark.anyio
KEY = "intro-key-1234567890"


@pytest.fixture
async def model() -> AsyncIterator[SimulatedModel]:
    async with simulated_model() as it:
        it.says = lambda _: "what it says"
        yield it


async def asked(settings: Intro, seconds: float = 10.0) -> str:
    one = HttpModel(settings, seconds)
    try:
        return await one.ask("Read along.", "<new>…</new>")
    finally:
        await one.aclose()
        await one.aclose()


async def trouble(settings: Intro, seconds: float = 10.0) -> tuple[str, bool]:
    with pytest.raises(ModelTroubleError) as failed:
        await asked(settings, seconds)
    assert failed.value.__cause__ is None
    return str(failed.value), failed.value.is_ours


@pytest.mark.spec("intro.ollama")
async def test_ollama_is_asked_by_its_chat(model: SimulatedModel) -> None:
    assert await asked(model.settings()) == "what it says"
    (one,) = model.asked
    assert (one.path, "authorization" in one.headers) == ("/api/chat", False)
    assert one.body == {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Read along."},
            {"role": "user", "content": "<new>…</new>"},
        ],
        "stream": False,
        "options": {"temperature": 0, "num_predict": module.MOST_TOKENS, "num_ctx": module.CONTEXT},
    }
    await asked(model.settings(key=KEY))
    assert model.asked[1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.spec("intro.messages")
async def test_a_messages_api_is_asked_by_its_own_form(model: SimulatedModel) -> None:
    assert await asked(model.settings("messages", KEY)) == "what it says"
    (one,) = model.asked
    assert one.path == "/v1/messages"
    assert (one.headers["x-api-key"], one.headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert one.headers["x-loom-source"] == "loom-intro"
    assert one.body == {
        "model": "small",
        "max_tokens": module.MOST_TOKENS,
        "system": "Read along.",
        "messages": [{"role": "user", "content": "<new>…</new>"}],
    }
    await asked(model.settings("messages"))
    assert "x-api-key" not in model.asked[1].headers


@pytest.mark.spec("intro.messages")
async def test_the_simulated_api_of_anthropic_takes_the_question() -> None:
    async with Simulator() as upstream:
        assert await asked(Intro("messages", upstream.origin, "claude-haiku-4-5", Secret(KEY)))


@pytest.mark.spec("intro.trouble", "intro.key")
@pytest.mark.parametrize("kind", ["ollama", "messages"])
@pytest.mark.parametrize(
    ("status", "told", "is_ours"),
    [
        (401, "refuses the key: correct intro.key", False),
        (403, "refuses the key: correct intro.key", False),
        (404, "does not know it: correct intro.model or intro.url", False),
        (400, "answered with status 400", True),
        (413, "answered with status 413", True),
        (429, "answered with status 429", False),
        (500, "answered with status 500", False),
        (302, "answered with status 302", False),
    ],
)
async def test_each_status_is_a_trouble_of_its_own(
    model: SimulatedModel,
    kind: str,
    status: int,
    told: str,
    is_ours: bool,  # noqa: FBT001 - a value of the table
) -> None:
    model.status, model.lines = status, {"location": f"{model.url}/elsewhere"}
    expected = f"the model's server at {model.url} {told}"
    assert await trouble(model.settings(kind, KEY)) == (expected, is_ours)
    assert len(model.asked) == 1, "a redirect is not followed"


@pytest.mark.spec("intro.trouble")
@pytest.mark.parametrize("kind", ["ollama", "messages"])
@pytest.mark.parametrize(
    "raw", [b"", b"<html>", b"[]", b"{}", b'{"message": 1, "content": 1}', b"\xff", b"[" * 9_999, b"\x1f\x8b"]
)
async def test_what_is_no_such_answer_is_told(model: SimulatedModel, kind: str, raw: bytes) -> None:
    model.raw = raw
    told = f"what answers at {model.url} is no such model: correct intro.kind"
    assert await trouble(model.settings(kind)) == (told, False)


@pytest.mark.spec("intro.messages")
async def test_an_answer_without_text_says_nothing(model: SimulatedModel) -> None:
    model.raw = b'{"content": [{"type": "thinking", "thinking": "x"}, {}]}'
    assert await asked(model.settings("messages")) == ""


@pytest.mark.spec("intro.deadline")
async def test_a_silent_model_and_one_that_trickles_are_left_at_the_deadline(model: SimulatedModel) -> None:
    model.is_silent = True
    told = f"the model at {model.url} did not answer within 0.05 s"
    assert await trouble(model.settings(), 0.05) == (told, True)
    model.is_silent, model.lines = False, {"content-length": "99999"}
    assert await trouble(model.settings(), 0.05) == (told, True)


@pytest.mark.spec("intro.deadline", "intro.bounded")
async def test_an_answer_without_end_is_not_read(model: SimulatedModel) -> None:
    model.raw = b" " * (module.MAX_ANSWER + 1)
    told = f"the model at {model.url} sent more than 1000000 bytes"
    assert await trouble(model.settings()) == (told, True)
    assert model.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.spec("intro.trouble")
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://256.0.0.1:99999", "http://[::1]:1/x"])
async def test_a_model_that_cannot_be_reached_is_told(url: str) -> None:
    assert await trouble(Intro("ollama", url, "small", None)) == (
        f"no model answers at {url}: start it there",
        False,
    )


@pytest.mark.spec("intro.key")
async def test_the_key_is_in_no_repr(model: SimulatedModel) -> None:
    one = HttpModel(model.settings("messages", KEY))
    assert KEY not in repr(vars(one)) + repr(one)
    await one.aclose()


@pytest.mark.spec("intro.deadline")
async def test_asking_can_be_cancelled(model: SimulatedModel) -> None:
    model.is_silent = True
    asking = asyncio.create_task(asked(model.settings()))
    await model.until(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
