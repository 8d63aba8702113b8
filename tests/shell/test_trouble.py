import errno

import pytest
from redis import exceptions as redis
from redis._parsers.base import BaseParser

from loom_shell.trouble import MOST, told, words

SECRET = "dummy-password"


def chained(beneath: Exception) -> Exception:
    """As redis-py raises it: a text of its own over what the system said."""
    try:
        try:
            raise beneath
        except OSError as below:
            raise redis.ConnectionError(f"Error connecting with {SECRET}") from below
    except redis.ConnectionError as error:
        return error


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", "the user or the password"),
        ("NOAUTH Authentication required.", "the user or the password"),
        ("LOADING Valkey is loading the dataset in memory", "still loading"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "no memory left"),
        ("READONLY You can't write against a read only replica.", "read-only"),
        ("NOPERM User x has no permissions to run the 'get' command", "may not do this"),
        ("MOVED 3999 127.0.0.1:6381", "another node"),
        ("CLUSTERDOWN The cluster is down", "cluster is down"),
        ("MASTERDOWN Link with MASTER is down", "cluster is down"),
        ("WRONGTYPE Operation against a key", "refuses (WRONGTYPE)"),
        ("MISCONF Errors writing to the AOF file", "refuses (MISCONF)"),
        (f"ERR unknown command '{SECRET}'", "refuses (ERR)"),
        (f"{SECRET} is what you sent", "refuses (ERR)"),
        ("", "refuses (ERR)"),
    ],
)
@pytest.mark.spec("store.never-raises", "store.secret")
def test_what_a_server_refuses_is_said_in_our_words(line: str, said: str) -> None:
    found = words(BaseParser.parse_error(line))
    assert said in found
    assert SECRET not in found


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (chained(ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {SECRET}")), "refused"),
        (chained(FileNotFoundError(errno.ENOENT, "No such file or directory")), "no such socket"),
        (chained(PermissionError(errno.EACCES, "Permission denied")), "may not be used"),
        (chained(ConnectionResetError(errno.ECONNRESET, "reset")), "closed"),
        (chained(OSError(errno.EHOSTUNREACH, f"{SECRET}")), "no route to host"),
        (chained(OSError(-2, f"Name or service not known {SECRET}")), "cannot be reached"),
        (redis.ConnectionError("Connection closed by server."), "closed"),
        (redis.TimeoutError("Timeout connecting to server"), "in time"),
        (redis.InvalidResponse(f"Protocol Error: {SECRET}"), "protocol of Redis"),
        (ValueError(f"invalid literal for int(): {SECRET}"), "protocol of Redis"),
    ],
)
@pytest.mark.spec("store.never-raises", "store.secret")
def test_what_a_connection_meets_is_said_in_our_words(error: Exception, said: str) -> None:
    found = words(error)
    assert said in found
    assert SECRET not in found


def test_several_troubles_are_one_line_each_once_and_bounded() -> None:
    assert told([]) == ""
    assert told(["a", "b", "a"]) == "a; b"
    assert told([f"{n}" for n in range(MOST + 2)]) == "0; 1; 2; and 2 more"
