"""The client's end of the wire, kept as it was."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from loom_shell.demo.tap import Instead, Passed, Tap
from loom_shell.simulator import Simulator

ASKED = {"stream": True, "messages": [{"role": "user", "content": "hi"}]}


def _tapped(
    scenario: str, ask: Callable[[httpx2.AsyncClient, str], Awaitable[bytes]]
) -> tuple[Passed, bytes, int]:
    news: list[Passed] = []

    async def run() -> tuple[Passed, bytes, int]:
        async with Simulator(scenario) as simulator:
            tap = Tap(httpx2.AsyncHTTPTransport(trust_env=False), news.append)
            async with httpx2.AsyncClient(transport=tap, trust_env=False) as client:
                got = await ask(client, f"{simulator.origin}/v1/messages?a=1")
            assert set(news) == set(tap.passed)
            return tap.passed[0], got, len(news)

    return asyncio.run(run())


async def _read(client: httpx2.AsyncClient, url: str) -> bytes:
    return (await client.post(url, json=ASKED)).content


async def _read_until_it_breaks(client: httpx2.AsyncClient, url: str) -> bytes:
    got = bytearray()

    async def read(answer: httpx2.Response) -> None:
        async for chunk in answer.aiter_raw():
            got.extend(chunk)

    async with client.stream("POST", url, json=ASKED) as answer:
        with pytest.raises(httpx2.TransportError):
            await read(answer)
    return bytes(got)


@pytest.mark.spec("demo.honest")
def test_bytes_frames_and_times_are_those_of_the_wire() -> None:
    passed, got, told = _tapped("ok", _read)
    assert passed.down == got
    assert (passed.method, passed.target, passed.status) == ("POST", b"/v1/messages?a=1", 200)
    assert b'"stream":true' in passed.up
    assert passed.frames["message_start"] == passed.frames["message_stop"] == 1
    assert passed.frames.total() == got.count(b"\n\n")
    assert passed.newest == "message_stop"
    assert passed.first_byte is not None
    assert passed.ended is not None
    assert passed.began <= passed.first_byte <= passed.ended
    assert passed.broken == ""
    assert told > 1


def test_header_lines_are_kept_in_order_and_case() -> None:
    passed, _, _ = _tapped("many-headers", _read)
    assert [name for name, _ in passed.lines if name.startswith(b"X-Loom-")] == [
        b"X-Loom-%d" % number for number in range(87)
    ]
    assert not passed.is_stream
    assert passed.frames.total() == 0


@pytest.mark.spec("demo.broken")
def test_a_stream_that_breaks_is_kept_up_to_there_and_the_error_goes_on() -> None:
    passed, got, _ = _tapped("rst-mid-stream", _read_until_it_breaks)
    assert passed.broken
    assert passed.down == got
    assert passed.frames["message_stop"] == 0
    assert passed.ended is not None


@pytest.mark.spec("demo.woven-equal")
def test_another_body_goes_instead_of_the_calls_own_and_nothing_else_is_changed() -> None:
    async def run() -> None:
        async with Simulator() as simulator:
            instead = Instead(httpx2.AsyncHTTPTransport(trust_env=False))
            tap = Tap(instead, lambda _: None)
            async with httpx2.AsyncClient(transport=tap, trust_env=False) as client:
                for body in (None, b'{"messages":[],"stream":true}'):
                    instead.body = body
                    await client.post(f"{simulator.origin}/v1/messages", json=ASKED, headers={"X-One": "1"})
            own, other = simulator.requests
            assert tap.passed[0].up == tap.passed[1].up == own.body
            assert other.body == b'{"messages":[],"stream":true}'
            length = b"%d" % len(own.body)
            assert [
                (name, length if name.lower() == b"content-length" else value)
                for name, value in other.headers
            ] == list(own.headers)
            assert other.values(b"content-length") == [b"%d" % len(other.body)]

    asyncio.run(run())
