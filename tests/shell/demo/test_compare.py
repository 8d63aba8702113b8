"""What counts as a difference."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from loom_shell.demo.compare import differences
from loom_shell.demo.places import Part
from loom_shell.demo.tap import Passed
from loom_shell.simulator import Received


def _passed(**changed: Any) -> Passed:  # noqa: ANN401 - any field of it
    given: dict[str, Any] = {
        "status": 200,
        "lines": ((b"Request-Id", b"req_1"), (b"Connection", b"close")),
        "down": bytearray(b"answer"),
        "frames": Counter(),
    }
    return evolve(Passed("POST", b"/v1/messages", b"asked", 1.0), **(given | changed))


def _received(*lines: bytes, target: bytes = b"/v1/messages", body: bytes = b"asked") -> Received:
    received = Received(1, "POST", target, b"HTTP/1.1", lines)
    received.content += body
    return received


@pytest.mark.spec("demo.equal")
@pytest.mark.parametrize(
    ("through", "behind", "found"),
    [
        (_passed, lambda: _received(b"X-App: cli"), ()),
        (_passed, lambda: _received(b"Host: b", b"X-App: cli", b"Connection: x"), ()),
        (lambda: _passed(lines=((b"Request-Id", b"req_1"),)), lambda: _received(b"X-App: cli"), ()),
        (_passed, lambda: _received(b"X-App: cli", target=b"/v1/messages?a"), ("request line",)),
        (_passed, lambda: _received(b"x-app: cli"), ("request headers",)),
        (_passed, lambda: _received(b"X-App: cli", b"X-More: 1"), ("request headers",)),
        (_passed, lambda: _received(b"X-App: cli", body=b"asked "), ("request body",)),
        (lambda: _passed(status=500), lambda: _received(b"X-App: cli"), ("status",)),
        (lambda: _passed(lines=()), lambda: _received(b"X-App: cli"), ("answer headers",)),
        (lambda: _passed(down=bytearray(b"answe")), lambda: _received(b"X-App: cli"), ("answer body",)),
        (lambda: _passed(broken="reset"), lambda: _received(b"X-App: cli"), ("ending",)),
        (
            lambda: _passed(status=502, down=bytearray()),
            lambda: _received(b"X-App: cli"),
            ("status", "answer body"),
        ),
    ],
)
def test_every_part_of_request_and_answer_counts_but_what_belongs_to_the_hop(
    through: Callable[[], Passed], behind: Callable[[], Received], found: tuple[str, ...]
) -> None:
    twin = _received(b"Host: a", b"X-App: cli")
    assert differences(through(), _passed(), behind(), twin) == found


SELF = Part("system[0]", {"type": "text", "text": "I am Ann."})
WOVEN = b'{"a":[1,{"type":"text","text":"I am Ann."}]}'


@pytest.mark.spec("demo.woven-equal")
@pytest.mark.parametrize(
    ("up", "sent", "found"),
    [
        (b'{"a":[1]}', WOVEN, ()),
        (b'{"a":[1]}', WOVEN + b" ", ("request body",)),
        (b'{"a":[2]}', WOVEN, ("request body",)),
        (WOVEN, WOVEN, ("request body",)),
    ],
)
def test_a_woven_request_is_its_clients_and_the_woven_blocks_and_nothing_else(
    up: bytes, sent: bytes, found: tuple[str, ...]
) -> None:
    told = ((b"Request-Id", b"req_1"), (b"x-loom-exchange", b"1"), (b"x-loom-woven", b"tokens=3"))
    through, direct = _passed(up=up, lines=told), _passed(up=up, lines=told[:1])
    behind, twin = _received(b"content-length: 9", body=sent), _received(b"Content-Length: 9", body=WOVEN)
    assert differences(through, direct, behind, twin, (SELF,)) == found
    assert "answer headers" in differences(through, direct, behind, twin)
