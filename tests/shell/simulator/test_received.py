from loom_shell.simulator.received import Received

LINES = (b"Host: a", b"X-Odd:  caf\xe9 ", b"x-odd: two", b"Empty:")


def received(target: bytes = b"/v1/messages?a=1&b=%20&a=2&c") -> Received:
    return Received(1, "POST", target, b"HTTP/1.1", LINES)


def test_headers_keep_order_case_and_bytes_and_lose_the_space_around_values() -> None:
    assert received().headers == (
        (b"Host", b"a"),
        (b"X-Odd", b"caf\xe9"),
        (b"x-odd", b"two"),
        (b"Empty", b""),
    )


def test_values_are_found_in_any_case() -> None:
    assert received().values(b"X-ODD") == [b"caf\xe9", b"two"]
    assert received().values(b"none") == []


def test_the_target_is_cut_into_path_and_query() -> None:
    assert received().path == b"/v1/messages"
    assert received().query == {"a": "2", "b": " ", "c": ""}
    assert received(b"/").query == {}


def test_a_client_that_leaves_is_noted_once_and_only_before_the_end() -> None:
    left = received()
    assert left.open
    left.client_left()
    first = left.aborted_at
    left.client_left()
    assert left.aborted_at == first is not None
    assert not left.open
    done = received()
    done.answered = True
    done.client_left()
    assert done.aborted_at is None
