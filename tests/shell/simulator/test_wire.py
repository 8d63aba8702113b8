import asyncio
import socket
from collections.abc import Callable

import pytest

from loom_shell.simulator.wire import HEAD_LIMIT, ClientLeft, Wire
from tests.shell.simulator.pairs import pair

pytestmark = pytest.mark.anyio


async def test_lines_are_read_with_either_line_end() -> None:
    async with pair() as it:
        it.writer.write(b"one\r\ntwo\n\r\nrest")
        assert [await it.wire.line() for _ in range(3)] == [b"one", b"two", b""]
        assert await it.wire.some(100) == b"rest"


async def test_a_line_without_end_is_bounded() -> None:
    async with pair() as it:
        it.writer.write(b"x" * (2 * HEAD_LIMIT))
        with pytest.raises(ClientLeft):
            await it.wire.line()


@pytest.mark.parametrize("read", [lambda wire: wire.line(), lambda wire: wire.some(9)], ids=["line", "some"])
@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_goes_ends_reading(read: Callable[[Wire], object], *, reset: bool) -> None:
    gone: list[Wire] = []
    async with pair(gone.append) as it:
        if reset:
            it.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            it.leave()
        else:
            it.writer.close()
        with pytest.raises(ClientLeft):
            await read(it.wire)
        assert it.wire.left.is_set()
        assert gone == [it.wire]


async def test_a_client_that_goes_ends_writing_and_waiting() -> None:
    async with pair() as it:
        await it.wire.send(b"here")
        assert await it.reader.readexactly(4) == b"here"
        waiting = asyncio.ensure_future(it.wire.stay(60))
        await asyncio.sleep(0)
        it.leave()
        with pytest.raises(ClientLeft):
            await waiting
        with pytest.raises(ClientLeft):
            await it.wire.send(b"gone")


async def test_a_client_that_goes_while_it_reads_nothing_ends_a_long_write() -> None:
    async with pair() as it:
        writing = asyncio.ensure_future(it.wire.send(b"x" * 32_000_000))
        await it.reader.readexactly(1)
        it.leave()
        with pytest.raises(ClientLeft):
            await writing


async def test_waiting_ends_with_its_time() -> None:
    async with pair() as it:
        await it.wire.stay(0.001)
        assert not it.wire.left.is_set()


async def test_a_clean_end_is_an_end_of_file() -> None:
    async with pair() as it:
        await it.wire.send(b"all")
        await it.wire.finish(discard=False)
        assert await it.reader.read() == b"all"


async def test_an_upload_under_way_is_dropped_before_the_close() -> None:
    async with pair() as it:
        it.writer.write(b"x" * 1_000_000)
        ending = asyncio.ensure_future(it.wire.finish(discard=True))
        assert await it.reader.read() == b""
        it.writer.write_eof()
        await ending
        assert it.wire.transport.is_closing()


async def test_dropping_an_upload_has_an_end() -> None:
    async with pair() as it:
        await it.wire.finish(discard=True, within=0.01)
        assert it.wire.transport.is_closing()


async def test_a_reset_is_a_reset() -> None:
    async with pair() as it:
        it.wire.reset()
        with pytest.raises(ConnectionResetError):
            await it.reader.read()
        it.wire.reset()
        await it.wire.finish(discard=True)


async def test_a_narrow_wire_takes_in_little_unread() -> None:
    async with pair() as it:
        it.wire.narrow(1 << 16)
        sock = it.wire.transport.get_extra_info("socket")
        # The kernel doubles what is asked for, for its own book-keeping (socket(7)).
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 1 << 17
