from loom_core.events import FileRead, RequestChunkReceived, TimerFired, UpstreamChunkReceived
from loom_core.values import ExchangeKey
from loom_shell.replay.happened import Happened

X = ExchangeKey("x")


def test_its_size_is_that_of_the_bytes_it_brings() -> None:
    assert Happened(X, UpstreamChunkReceived(1, b"abc")).size == 3
    assert Happened(X, RequestChunkReceived(1, b"ab")).size == 2
    assert Happened(X, FileRead(1, "f", 0, b"abcd", 4, is_current=True)).size == 4
    assert Happened(X, TimerFired(1, "t")).size == 0
    assert Happened(X, None).size == 0
