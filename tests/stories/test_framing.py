"""Clients that speak HTTP/1 in their own way: one message of theirs is one message upstream, or none."""

import asyncio

import msgspec
import pytest

from loom_shell.simulator import Simulator
from tests.support.proxy import RunningLoom
from tests.support.wire import Answer, Ended, chunked, request

pytestmark = pytest.mark.anyio

HEAD = b"Host: loom.test\r\n"


async def asked(proxy: RunningLoom, *pieces: bytes) -> Answer:
    async with await proxy.dial() as caller:
        return await caller.ask(*pieces)


def kind_of(answer: Answer) -> str:
    """The type in an error of Anthropic's shape."""
    shape = msgspec.json.decode(answer.body)
    assert shape["type"] == "error"
    assert set(shape["error"]) == {"type", "message"}
    return str(shape["error"]["type"])


@pytest.mark.spec("relay.pipelined")
async def test_pipelined_requests_are_answered_in_order_and_each_once(
    sim: Simulator, proxy: RunningLoom
) -> None:
    bodies = [b"first", b"", b"third" * 1000, b"fourth"]
    async with await proxy.dial() as caller:
        await caller.send(b"".join(request("POST", f"/echo/{n}", body) for n, body in enumerate(bodies)))
        answers = [await caller.answer(b"POST") for _ in bodies]
    assert [answer.body for answer in answers] == bodies
    assert [received.target for received in sim.requests] == [b"/echo/0", b"/echo/1", b"/echo/2", b"/echo/3"]


@pytest.mark.spec("relay.keep-alive")
async def test_a_connection_carries_many_exchanges(sim: Simulator, proxy: RunningLoom) -> None:
    async with await proxy.dial() as caller:
        for n in range(20):
            answer = await caller.ask(request("POST", "/echo", b"%d" % n))
            assert answer.body == b"%d" % n
            assert answer.values(b"connection") == []


@pytest.mark.spec("relay.keep-alive")
async def test_many_exchanges_share_one_connection_upstream(sim: Simulator, proxy: RunningLoom) -> None:
    async with await proxy.dial() as caller:
        for n in range(20):
            assert (await caller.ask(request("GET", f"/echo/{n}"))).status == 200
    assert {received.connection for received in sim.requests} == {sim.requests[0].connection}


@pytest.mark.parametrize("path", ["/echo", "/v1/messages"])
@pytest.mark.spec("relay.chunked-upload")
async def test_a_chunked_upload_arrives_as_the_same_bytes(
    path: str, sim: Simulator, proxy: RunningLoom
) -> None:
    body = chunked(b'{"messages":', b"[1", b"]}", trailers=b"X-Trailer: t\r\n")
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n\r\n"
    answer = await asked(proxy, head.encode(), *[body[i : i + 7] for i in range(0, len(body), 7)])
    assert answer.status == 200
    received = await sim.received()
    assert received.body == b'{"messages":[1]}'
    # What is read whole goes up with its length, what streams up goes chunked; trailers end at this hop.
    framing = (received.values(b"content-length"), received.values(b"transfer-encoding"))
    assert framing == (([b"16"], []) if path == "/v1/messages" else ([], [b"chunked"]))
    assert (received.trailers, received.values(b"trailer")) == ((), [])


@pytest.mark.spec("relay.chunked-upload")
async def test_the_extensions_of_chunks_end_at_this_hop(sim: Simulator, proxy: RunningLoom) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await asked(proxy, head + b'3;a=1;b="2"\r\nabc\r\n0;last\r\n\r\n')
    assert answer.body == b"abc"


@pytest.mark.parametrize("path", ["/echo", "/v1/messages/count_tokens"])
@pytest.mark.spec("relay.expect")
async def test_a_client_that_waits_for_100_continue_gets_it_and_upstream_never_hears_of_it(
    path: str, sim: Simulator, proxy: RunningLoom
) -> None:
    body = b'{"messages":[1]}'
    whole = request("POST", path, body, ("Expect: 100-continue",))
    async with await proxy.dial() as caller:
        await caller.send(whole.removesuffix(body))
        assert await caller._until(b"\r\n\r\n") == b"HTTP/1.1 100 \r\n\r\n"
        await caller.send(body)
        answer = await caller.answer(b"POST")
    assert (answer.status, answer.interim) == (200, ())
    assert sim.requests[0].body == body
    assert sim.requests[0].values(b"expect") == []


@pytest.mark.parametrize("path", ["/echo", "/v1/messages"])
@pytest.mark.spec("relay.slow-writer")
async def test_a_client_that_writes_byte_by_byte_is_served_like_any_other(
    path: str, sim: Simulator, proxy: RunningLoom
) -> None:
    body = b'{"messages":[{"role":"user","content":"slow"}]}'
    whole = request("POST", path, body, ("x-api-key: dummy",))
    answer = await asked(proxy, *[whole[i : i + 1] for i in range(len(whole))])
    assert answer.status == 200
    assert len(sim.requests) == 1
    assert sim.requests[0].body == body


@pytest.mark.parametrize("connection", [b"", b"Connection: keep-alive\r\n"])
@pytest.mark.spec("relay.http-1.0")
async def test_an_http_1_0_client_gets_its_answer_ended_by_the_connection(
    connection: bytes, sim: Simulator, proxy: RunningLoom
) -> None:
    async with await proxy.dial() as caller:
        answer = await caller.ask(b"GET /x?simulate=ok-stream HTTP/1.0\r\n" + connection + b"\r\n")
        assert await caller.closed() == b""
    assert answer.status == 200
    assert answer.values(b"transfer-encoding") == []
    assert answer.body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert answer.ended is Ended.COMPLETE


@pytest.mark.parametrize("name", ["fin-mid-stream", "rst-mid-stream", "rst-close-delimited", "fin-mid-json"])
@pytest.mark.spec("relay.http-1.0")
async def test_an_http_1_0_client_is_reset_when_the_answer_broke_off(
    name: str, sim: Simulator, proxy: RunningLoom
) -> None:
    answer = await asked(proxy, f"GET /x?simulate={name} HTTP/1.0\r\n\r\n".encode())
    assert answer.ended is not Ended.COMPLETE


@pytest.mark.parametrize(
    ("target", "goes_up_as"),
    [
        ("http://elsewhere.test:1/echo/a?b=1&b=2", b"/echo/a?b=1&b=2"),
        ("HTTPS://user:pw@elsewhere.test/echo//", b"/echo//"),
        ("http://elsewhere.test?q=/echo", b"/?q=/echo"),
        ("http://elsewhere.test", b"/"),
        ("//elsewhere.test/echo", b"//elsewhere.test/echo"),
    ],
)
@pytest.mark.spec("relay.absolute-form")
async def test_an_absolute_target_never_decides_where_a_request_goes(
    target: str, goes_up_as: bytes, sim: Simulator, proxy: RunningLoom
) -> None:
    await asked(proxy, f"GET {target} HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n".encode())
    assert sim.requests[0].target == goes_up_as
    assert sim.requests[0].values(b"host") == [b"127.0.0.1:%d" % sim.port]


@pytest.mark.spec("relay.asterisk-form")
async def test_options_of_the_whole_server_goes_up_as_it_is(sim: Simulator, proxy: RunningLoom) -> None:
    await asked(proxy, b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (sim.requests[0].method, sim.requests[0].target) == ("OPTIONS", b"*")


METHODS = [
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "QUERY",
    "X-OWN!#$'*+.^_`|~1",
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.spec("relay.methods")
async def test_any_method_goes_up(method: str, sim: Simulator, proxy: RunningLoom) -> None:
    answer = await asked(proxy, request(method, "/echo", b"with a body"))
    assert (answer.status, answer.body) == (200, b"with a body")
    assert (sim.requests[0].method, sim.requests[0].body) == (method, b"with a body")


@pytest.mark.parametrize("path", ["/v1/messages", "/echo"])
@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"transfer-encoding:chunked\r\nCONTENT-LENGTH:0\r\n",
        b"Content-Length: 44\r\nTransfer-Encoding: Chunked\r\n",
    ],
)
@pytest.mark.spec("relay.two-framings")
async def test_a_request_with_two_framings_is_refused_and_none_goes_upstream(
    framing: bytes, path: str, sim: Simulator, proxy: RunningLoom
) -> None:
    smuggled = b"0\r\n\r\nGET /echo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    async with await proxy.dial() as caller:
        answer = await caller.ask(
            b"POST %b HTTP/1.1\r\n" % path.encode() + HEAD + framing + b"\r\n" + smuggled
        )
        assert await caller.closed() == b""
    assert (answer.status, kind_of(answer)) == (400, "invalid_request_error")
    assert answer.values(b"connection") == [b"close"]
    assert sim.requests == []


ODD = {
    "two lengths": (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "a list of lengths": (HEAD + b"Content-Length: 3, 4\r\n\r\nabcd", 400),
    "a length below zero": (HEAD + b"Content-Length: -1\r\n\r\n", 400),
    "a length with a sign": (HEAD + b"Content-Length: +3\r\n\r\nabc", 400),
    "an unknown coding": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "a space before the colon": (HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "a name with a space": (HEAD + b"X Y: 1\r\n\r\n", 400),
    "a nul in a value": (HEAD + b"X-Y: a\0b\r\n\r\n", 400),
    "no host": (b"\r\n", 400),
    "two hosts": (HEAD + HEAD + b"\r\n", 400),
    "a head without an end": (HEAD + b"X-Long: " + b"l" * 140_000, 431),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.spec("relay.malformed")
async def test_a_malformed_request_is_refused_and_closed_and_none_goes_upstream(
    odd: str, sim: Simulator, proxy: RunningLoom
) -> None:
    head, status = ODD[odd]
    async with await proxy.dial() as caller:
        answer = await caller.ask(b"POST /echo HTTP/1.1\r\n" + head)
        await caller.closed()
    assert answer.status == status
    assert sim.requests == []


@pytest.mark.parametrize(
    "line", [b"NONSENSE", b"GET /echo", b"GET /a b HTTP/1.1", b"GET /\xc3\xa9 HTTP/1.1", b"\x16\x03\x01\x02"]
)
@pytest.mark.spec("relay.malformed")
async def test_what_is_no_request_line_is_refused(line: bytes, sim: Simulator, proxy: RunningLoom) -> None:
    async with await proxy.dial() as caller:
        answer = await caller.ask(line + b"\r\n" + HEAD + b"\r\n")
        await caller.closed()
    assert answer.status == 400
    assert sim.requests == []


@pytest.mark.parametrize(
    "message",
    [
        b"POST /echo HTTP/1.1\nHost: x\nContent-Length: 3\n\nabc",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nX-Fold: a\r\n b\r\n\tc\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 003\r\n\r\nabc",
    ],
    ids=["bare LF", "obs-fold", "the same length twice", "leading zeros"],
)
@pytest.mark.spec("relay.lenient")
async def test_what_the_server_tolerates_becomes_one_clean_request_upstream(
    message: bytes, sim: Simulator, proxy: RunningLoom
) -> None:
    async with await proxy.dial() as caller:
        answer = await caller.ask(message)
        assert (await caller.ask(request("GET", "/echo/next"))).status == 200
    assert answer.body == b"abc"
    assert [received.target for received in sim.requests] == [b"/echo", b"/echo/next"]
    first = sim.requests[0]
    assert [int(length) for length in first.values(b"content-length")] == [3]
    assert first.values(b"x-fold") in ([], [b"a b c"])
    assert all(b"\r" not in line and line[:1] not in b" \t" for line in first.lines)


@pytest.mark.spec("relay.many-headers")
async def test_hundreds_of_header_lines_and_a_long_one_go_up_as_they_are(
    sim: Simulator, proxy: RunningLoom
) -> None:
    many = (f"X-{n % 7}: v{n}" for n in range(800))
    lines = (*many, "X-Long: " + "l" * 60_000, "x-odd: \xff\xfe \x80")
    answer = await asked(proxy, request("GET", "/echo", None, lines))
    assert answer.status == 200
    assert sim.requests[0].lines[1:] == tuple(line.encode("latin-1") for line in lines)


@pytest.mark.spec("relay.half-closed")
async def test_a_client_that_closes_its_side_counts_as_gone(sim: Simulator, proxy: RunningLoom) -> None:
    async with await proxy.dial() as caller:
        await caller.send(request("GET", "/x?simulate=stall-before-head"))
        await sim.arrived()
        caller.finish()
        assert (await sim.aborted()).aborted_at is not None
        assert await caller.closed() == b""


@pytest.mark.spec("relay.websocket")
async def test_a_websocket_is_refused_in_http(sim: Simulator, proxy: RunningLoom) -> None:
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    async with await proxy.dial() as caller:
        answer = await caller.ask(request("GET", "/v1/realtime", None, upgrade))
        await caller.closed()
    assert (answer.status, kind_of(answer)) == (400, "invalid_request_error")
    assert sim.requests == []


@pytest.mark.spec("relay.http-1-only")
async def test_an_upgrade_to_http_2_is_ignored(sim: Simulator, proxy: RunningLoom) -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    answer = await asked(proxy, request("GET", "/echo", None, upgrade))
    assert (answer.status, answer.interim) == (200, ())
    assert sim.requests[0].values(b"upgrade") + sim.requests[0].values(b"http2-settings") == []


@pytest.mark.spec("relay.http-1-only")
async def test_http_2_is_refused(sim: Simulator, proxy: RunningLoom) -> None:
    async with await proxy.dial() as caller:
        answer = await caller.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        await caller.closed()
    assert (answer.status, kind_of(answer)) == (505, "invalid_request_error")
    assert sim.requests == []


@pytest.mark.spec("relay.own-pages")
async def test_what_is_under_loom_is_our_own_and_nothing_else_is(sim: Simulator, proxy: RunningLoom) -> None:
    async with await proxy.dial() as caller:
        for target, status in [
            ("/loom/healthz", 200),
            ("/loom/readyz?x", 200),
            ("http://elsewhere.test/loom/healthz", 200),
            ("/loom", 404),
            ("/loom/", 404),
            ("/loom/healthz/", 404),
            ("/loom/..%2Fv1/messages", 404),
            ("/loom//healthz", 404),
        ]:
            answer = await caller.ask(request("GET", target))
            assert answer.status == status, target
            assert answer.values(b"content-type") == [b"application/json"]
            assert status == 200 or kind_of(answer) == "not_found_error"
        assert sim.requests == []
        for target in ["/loomx", "/", "/v1/loom/", "/%6Coom/healthz", "/Loom/healthz", "//loom/healthz"]:
            await caller.ask(request("GET", target))
    assert [received.target for received in sim.requests] == [
        b"/loomx",
        b"/",
        b"/v1/loom/",
        b"/%6Coom/healthz",
        b"/Loom/healthz",
        b"//loom/healthz",
    ]


@pytest.mark.spec("relay.own-pages")
async def test_a_body_sent_to_our_own_pages_is_dropped_and_the_connection_goes_on(
    sim: Simulator, proxy: RunningLoom
) -> None:
    head = b"POST /loom/healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with await proxy.dial() as caller:
        # More pieces in one read than the server's queue holds.
        answer = await caller.ask(head + chunked(*[b"x"] * 3000) + request("GET", "/loom/healthz"))
        assert (answer.status, kind_of(answer)) == (405, "invalid_request_error")
        assert sorted(answer.values(b"allow")[0].split(b", ")) == [b"GET", b"HEAD"]
        assert (await caller.answer()).body == b'{"status":"ok"}'


@pytest.mark.spec("relay.many-at-once")
async def test_a_hundred_clients_at_once_each_get_their_own_answer(
    sim: Simulator, proxy: RunningLoom
) -> None:
    bodies = [b"%d " % n * 5000 for n in range(100)]
    answers = await asyncio.gather(
        *(asked(proxy, request("POST", f"/echo/{n}", it)) for n, it in enumerate(bodies))
    )
    assert [answer.body for answer in answers] == bodies
    assert len(sim.requests) == 100
