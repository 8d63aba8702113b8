import asyncio
from collections.abc import Callable

import pytest
from starlette.requests import Request
from starlette.types import Message

from loom_shell.cortex import body
from loom_shell.cortex.body import BodyRefusedError, whole

pytestmark = pytest.mark.anyio


def request(
    *pieces: bytes, ends: bool = True, then: Callable[[], Message] | None = None
) -> tuple[Request, list[int]]:
    """A request that brings these pieces, and how many of them were read, piece by piece."""
    read: list[int] = []
    left = list(pieces)

    async def receive() -> Message:
        if left:
            read.append(len(left[0]))
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or not ends}
        if then is not None:
            return then()
        await asyncio.Event().wait()
        raise AssertionError

    return Request({"type": "http", "method": "POST", "headers": []}, receive), read


@pytest.mark.spec("cortex.body")
@pytest.mark.parametrize("size", [0, 1, body.MOST])
async def test_a_body_within_its_bounds_is_read_in_any_pieces(size: int) -> None:
    content = b"x" * size
    for cut in (0, size // 3, size):
        made, _ = request(content[:cut], b"", content[cut:])
        assert await whole(made) == content


@pytest.mark.spec("cortex.body")
async def test_what_is_too_long_is_read_to_its_end_within_reason() -> None:
    for pieces in (3, 17):
        made, read = request(*[b"x" * body.MOST] * pieces)
        with pytest.raises(BodyRefusedError, match="at most 524288 bytes") as refused:
            await whole(made)
        assert (refused.value.status, len(read)) == (413, pieces)
    made, read = request(*[b"x" * body.MOST] * 99)
    with pytest.raises(BodyRefusedError):
        await whole(made)
    assert sum(read) == body.MOST_DROPPED + body.MOST


@pytest.mark.spec("cortex.body")
async def test_one_that_stops_or_breaks_off_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = request(b"x", ends=False, then=lambda: {"type": "http.disconnect"})
    with pytest.raises(BodyRefusedError) as refused:
        await whole(made)
    assert refused.value.status == 400
    monkeypatch.setattr(body, "SECONDS", 0.01)
    made, _ = request(b"x", ends=False)
    with pytest.raises(BodyRefusedError) as refused:
        await whole(made)
    assert refused.value.status == 408
