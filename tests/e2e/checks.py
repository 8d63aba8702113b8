"""What must hold of every run: both sides of the Loom saw the same, and its log says so."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from loom_core import sse
from loom_shell.simulator.answers import LAST_WORDS
from tests.e2e.client import Ran
from tests.e2e.stage import Loom, Wrong
from tests.e2e.tee import Exchange


def ended_well(ran: Ran, *, says: bool = True) -> None:
    """Exit code 0, and the final text if the client `says` what was answered."""
    if ran.code != 0:
        raise Wrong(f"the client left with exit code {ran.code}: {ran.err.strip() or ran.out.strip()}")
    if says and LAST_WORDS not in ran.out:
        raise Wrong(f"the client did not print the final text, but {ran.out.strip()!r}")


def same_on_both_sides(front: list[Exchange], back: list[Exchange]) -> str:
    """Every request and response of the client's side is on upstream's side, to the byte.

    Left over upstream may be attempts without an answer only: those the Loom retried unseen.
    """
    left = list(back)
    for asked in front:
        twin = next((it for it in left if _same(asked, it)), None)
        if twin is None:
            raise Wrong(f"{_named(asked)} differs from what passed upstream: {_nearest(asked, left)}")
        left.remove(twin)
    if any(it.answer is not None for it in left):
        raise Wrong(f"upstream saw {_named(left[0])}, which the client never sent")
    up = sum(len(it.request.body) for it in front)
    down = sum(len(it.answer.body) for it in front if it.answer)
    extra = f", {len(left)} retried unseen" if left else ""
    return (
        f"{len(front)} requests ({up:,} bytes) and their answers ({down:,} bytes) equal on both sides{extra}"
    )


def _same(front: Exchange, back: Exchange) -> bool:
    """A client that left in the middle of an answer has the beginning of what upstream sent."""
    if _request(front) != _request(back):
        return False
    mine, its = front.answer, back.answer
    if mine is None or its is None or mine.complete:
        return _answer(front) == _answer(back)
    is_head = (mine.status, mine.beyond_the_hop()) == (its.status, its.beyond_the_hop())
    return is_head and its.body.startswith(mine.body)


def _request(exchange: Exchange) -> tuple[object, ...]:
    request = exchange.request
    # `host` names the hop's own server (RFC 9110 section 7.2).
    return request.start, request.beyond_the_hop(b"host"), request.body, request.complete


def _answer(exchange: Exchange) -> tuple[object, ...] | None:
    answer = exchange.answer
    return (answer.status, answer.beyond_the_hop(), answer.body, answer.complete) if answer else None


def _named(exchange: Exchange) -> str:
    status = exchange.answer.status if exchange.answer else "no answer"
    return f"{exchange.request.start.decode()} ({status})"


def _nearest(asked: Exchange, candidates: Iterable[Exchange]) -> str:
    """Where the likeliest counterpart differs; never a value, for it may be long or a key."""
    for other in candidates:
        if other.request.start == asked.request.start and other.request.body == asked.request.body:
            if (mine := _request(asked)) != (its := _request(other)):
                names = {name for name, _ in set(mine[1]) ^ set(its[1])}  # type: ignore[call-overload]
                return f"request lines {sorted(names)} or their order"
            if asked.answer is None or other.answer is None:
                return "one side has no answer"
            lines = set(asked.answer.beyond_the_hop()) ^ set(other.answer.beyond_the_hop())
            return (
                f"status {asked.answer.status} and {other.answer.status}, "
                f"{len(asked.answer.body)} and {len(other.answer.body)} bytes, "
                f"complete {asked.answer.complete} and {other.answer.complete}, "
                f"lines {sorted({name for name, _ in lines})}"
            )
    return "no request with this start line and body"


def log_is_whole(front: list[Exchange], loom: Loom, *, left: bool = False) -> str:
    """One line for each exchange, with its method, path, status and byte counts.

    `left`: the client went away; those it left unfinished are told as such.
    """
    if loom.code != 0:
        raise Wrong(f"`loom serve` left with exit code {loom.code} after SIGTERM")
    if odd := [line for line in loom.lines if "not JSON" in line]:
        raise Wrong(f"the log holds a line that is not JSON: {odd[0]}")
    passed = Counter(_figures(it) for it in front)
    told = Counter(_told(line) for line in loom.exchanges)
    missing = Counter(it[:-1] for it in (passed - told).elements())
    spare = Counter(it[:-1] for it in (told - passed).elements())
    if missing != spare or missing - _left(front, loom):
        raise Wrong(f"the log does not tell what passed: missing {passed - told}, too much {told - passed}")
    gone = sum(line["outcome"] == "client gone" for line in loom.exchanges)
    abandoned = sum(it.answer is None or not it.answer.complete for it in front) if left else 0
    if gone != abandoned:
        raise Wrong(f"{gone} exchanges are logged as left by the client, {abandoned} were")
    return f"{len(loom.exchanges)} log lines, one for each exchange; exit code 0 after SIGTERM"


def _figures(it: Exchange) -> tuple[object, ...]:
    status, down = (it.answer.status, len(it.answer.body)) if it.answer else (None, 0)
    return it.request.method.decode(), it.request.path.decode(), status, len(it.request.body), down


def _told(line: dict[str, object]) -> tuple[object, ...]:
    return tuple(line.get(name) for name in ("method", "path", "status", "bytes_up", "bytes_down"))


def _left(front: list[Exchange], loom: Loom) -> Counter[tuple[object, ...]]:
    """Of clients that left in the middle of an answer, the figures without the bytes that came down.

    What was on its way then, nobody has counted on the client's side.
    """
    lines = [line for line in loom.exchanges if line.get("outcome") == "client gone" and line.get("status")]
    cut = [it for it in front if it.answer and not it.answer.complete]
    return Counter(_told(line)[:-1] for line in lines) & Counter(_figures(it)[:-1] for it in cut)


def tools_ran(front: list[Exchange], outputs: set[str]) -> str:
    """The client ran the calls: a request carries exactly what they print, and no error.

    One of them is enough: old clients lose the output of the second of two at once.
    """
    came = {result for exchange in front for result in _tool_results(exchange.request.body)} & outputs
    if not came:
        raise Wrong(f"no request carries one of the tool results {sorted(outputs)}")
    return f"the tools ran, and their output came back: {', '.join(sorted(came))}"


def _tool_results(body: bytes) -> Iterable[str]:
    try:
        asked = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return
    for message in asked.get("messages", []):
        blocks = message["content"] if isinstance(message["content"], list) else []
        for block in blocks:
            if block["type"] == "tool_result" and not block.get("is_error"):
                content = block["content"]
                yield (
                    content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
                )


def was_streamed(front: list[Exchange]) -> str:
    """Some answers were event streams; those that ended cleanly did so with their last frame."""
    streams = [it.answer for it in front if it.answer and it.answer.is_stream and it.answer.complete]
    if not streams:
        raise Wrong("no answer was a complete event stream")
    count = 0
    for answer in streams:
        _, frames = sse.feed(sse.Reader(), answer.body)
        count += len(frames)
        if frames[-1].event not in {b"message_stop", b"error"}:
            raise Wrong(f"a stream ended cleanly after {frames[-1].event!r}")
    return f"{len(streams)} event streams, {count} frames"
