import asyncio

import pytest

from loom_shell.upload import HIGH_WATER, Upload
from tests.support.sockets import both_loops


async def collect(upload: Upload) -> list[bytes]:
    return [piece async for piece in upload]


@pytest.mark.spec("transport.upload-order")
@both_loops
async def test_what_is_fed_comes_out_in_order_as_soon_as_it_is_there() -> None:
    upload = Upload()
    taking = asyncio.get_running_loop().create_task(collect(upload))
    for piece in (b"a", b"b", b"", b"c"):
        await asyncio.sleep(0)
        upload.feed(piece)
    await asyncio.sleep(0)
    assert not taking.done()
    upload.end()
    assert b"".join(await taking) == b"abc"
    assert b"" not in taking.result()


@pytest.mark.spec("transport.upload-order")
@both_loops
async def test_what_waits_is_taken_in_one_piece_and_before_the_end() -> None:
    upload = Upload()
    upload.feed(b"a")
    upload.feed(b"b")
    upload.end()
    assert await collect(upload) == [b"ab"]
    assert await collect(upload) == []


@pytest.mark.spec("transport.upload-bounded")
@both_loops
async def test_there_is_room_up_to_the_high_water_mark_and_again_once_it_was_taken() -> None:
    upload = Upload()
    upload.feed(b"x" * HIGH_WATER)
    await upload.room()
    upload.feed(b"x")
    waiting = asyncio.get_running_loop().create_task(upload.room())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    assert len(await anext(upload)) == HIGH_WATER + 1
    await waiting


@pytest.mark.spec("transport.upload-again")
@both_loops
async def test_an_upload_nothing_was_taken_from_can_be_sent_again_whole() -> None:
    upload = Upload()
    first = asyncio.get_running_loop().create_task(collect(upload))
    await asyncio.sleep(0)
    # The attempt ends in the same turn in which the first bytes come.
    upload.feed(b"abc")
    first.cancel()
    await asyncio.wait([first])
    assert not upload.taken
    upload.feed(b"def")
    upload.end()
    assert await collect(upload) == [b"abcdef"]
    assert upload.taken


@pytest.mark.spec("transport.upload-again")
@both_loops
async def test_an_empty_upload_counts_as_not_taken_however_often_it_was_sent() -> None:
    upload = Upload()
    upload.end()
    for _ in range(2):
        assert await collect(upload) == []
    assert not upload.taken


@pytest.mark.spec("transport.upload-closed")
@both_loops
async def test_a_closed_upload_makes_room_and_keeps_nothing() -> None:
    upload = Upload()
    upload.feed(b"x" * (HIGH_WATER + 1))
    waiting = asyncio.get_running_loop().create_task(upload.room())
    await asyncio.sleep(0)
    upload.close()
    await waiting
    for _ in range(3):
        upload.feed(b"x" * HIGH_WATER)
        await upload.room()
    assert not upload._chunks
    upload.end()
    assert await collect(upload) == []
