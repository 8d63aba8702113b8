"""The model that is asked, over HTTP: by a deadline, its answer bounded, its troubles in words of our own.

No sentence about a trouble holds the key, or words of the other side.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import httpx
import msgspec
from msgspec import Struct

from loom_shell.config import Intro
from loom_shell.printable import printable

SECONDS = 90.0
"""A small model on a slow machine takes its time, and nobody waits for it."""
MAX_ANSWER = 1_000_000
"""Bytes of an answer."""
MOST_TOKENS = 1_024
"""Tokens of an answer; a model that thinks aloud needs more of them than its envelope has."""
CONTEXT = 8_192
"""Tokens of Ollama's window: its own default would cut the question in silence."""
SOURCE = "loom-intro"
"""Says to a Loom on the way whose request it is."""
ABOUT_THE_QUESTION = frozenset({400, 413, 422})


class ModelTroubleError(Exception):
    """Why the model said nothing. `is_ours`: the same question is likely to go wrong again."""

    def __init__(self, why: str, *, is_ours: bool = False) -> None:
        super().__init__(why)
        self.is_ours = is_ours


class Model(Protocol):
    async def ask(self, instructions: str, question: str) -> str:
        """The words of its answer. ModelTroubleError."""
        ...

    async def aclose(self) -> None:
        """Let go of connections; may be called twice."""
        ...


class _Block(Struct):
    type: str = ""
    text: str = ""


class _Messages(Struct):
    content: list[_Block]


class _Said(Struct):
    content: str


class _Ollama(Struct):
    message: _Said


class HttpModel:
    """Asks Ollama's `/api/chat`, or a Messages API, of Anthropic's form, such as a Loom relays."""

    def __init__(self, settings: Intro, seconds: float = SECONDS) -> None:
        self._settings, self._seconds = settings, seconds
        self._place = printable(settings.url, 200)
        # Not from the environment: neither its proxies nor a .netrc are meant for this.
        self._client = httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=2))

    async def ask(self, instructions: str, question: str) -> str:
        is_ollama = self._settings.kind == "ollama"
        path, body = (_to_ollama if is_ollama else _to_messages)(self._settings.model, instructions, question)
        answer = await self._asked(path, body, self._keyed(is_ollama=is_ollama))
        return self._read_ollama(answer) if is_ollama else self._read_messages(answer)

    async def aclose(self) -> None:
        await self._client.aclose()

    def _keyed(self, *, is_ollama: bool) -> dict[str, str]:
        key = self._settings.key
        if is_ollama:
            return {"authorization": f"Bearer {key.expose()}"} if key else {}
        lines = {"anthropic-version": "2023-06-01", "x-loom-source": SOURCE}
        return {**lines, "x-api-key": key.expose()} if key else lines

    def _read_ollama(self, answer: bytes) -> str:
        told: _Ollama = self._decoded(answer, _Ollama)
        return told.message.content

    def _read_messages(self, answer: bytes) -> str:
        told: _Messages = self._decoded(answer, _Messages)
        return "".join(block.text for block in told.content if block.type == "text")

    def _decoded(self, answer: bytes, kind: Any) -> Any:  # noqa: ANN401 - a form goes in, a value of it comes out
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise ModelTroubleError(
                f"what answers at {self._place} is no such model: correct intro.kind"
            ) from None

    async def _asked(self, path: str, body: bytes, lines: Mapping[str, str]) -> bytes:
        # Packed answers could unpack to anything before they are counted.
        lines = {"accept-encoding": "identity", "content-type": "application/json", **lines}
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream(
                    "POST", self._settings.url + path, content=body, headers=lines, timeout=None
                ) as response,
            ):
                answer = await self._read(response)
        except (TimeoutError, httpx.TimeoutException):
            why = f"the model at {self._place} did not answer within {self._seconds:g} s"
            raise ModelTroubleError(why, is_ours=True) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError):
            raise ModelTroubleError(f"no model answers at {self._place}: start it there") from None
        if response.status_code != 200:
            raise self._refused(response.status_code)
        return answer

    def _refused(self, status: int) -> ModelTroubleError:
        match status:
            case 401 | 403:
                told = "refuses the key: correct intro.key"
            case 404:
                told = "does not know it: correct intro.model or intro.url"
            case status:
                told = f"answered with status {status}"
        is_ours = status in ABOUT_THE_QUESTION
        return ModelTroubleError(f"the model's server at {self._place} {told}", is_ours=is_ours)

    async def _read(self, response: httpx.Response) -> bytes:
        content = bytearray()
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > MAX_ANSWER:
                why = f"the model at {self._place} sent more than {MAX_ANSWER} bytes"
                raise ModelTroubleError(why, is_ours=True)
        return bytes(content)


def _to_ollama(model: str, instructions: str, question: str) -> tuple[str, bytes]:
    body = {
        "model": model,
        "messages": [{"role": "system", "content": instructions}, {"role": "user", "content": question}],
        "stream": False,
        "options": {"temperature": 0, "num_predict": MOST_TOKENS, "num_ctx": CONTEXT},
    }
    return "/api/chat", msgspec.json.encode(body)


def _to_messages(model: str, instructions: str, question: str) -> tuple[str, bytes]:
    body = {
        "model": model,
        "max_tokens": MOST_TOKENS,
        "system": instructions,
        "messages": [{"role": "user", "content": question}],
    }
    return "/v1/messages", msgspec.json.encode(body)
