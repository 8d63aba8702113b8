import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.address import is_loopback, parts, redis_place


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://h", ("", "", "h", 80, "")),
        ("HTTP://H:8080/", ("", "", "h", 8080, "/")),
        ("http://[::1]:9/a/b", ("", "", "::1", 9, "/a/b")),
        ("http://[::1]", ("", "", "::1", 80, "")),
        ("http://u:p%40%2F@h:1", ("u", "p@/", "h", 1, "")),
        ("http://h:", ("", "", "h", 80, "")),
    ],
)
def test_the_parts_of_a_url(url: str, found: tuple[str, str, str, int, str]) -> None:
    assert parts(url, "http", 80) == found


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            "",
            "h",
            "https://h",
            "http:/h",
            "http://",
            "http://:80",
            "http://h:0",
            "http://h:65536",
            "http://h:x",
        ),
        *(
            "http://h:999999",
            "http://[::1",
            "http://[h]",
            "http://[::1]x",
            "http://a b",
            "http://h\n",
            "http://é",
        ),
        *("http://h?x", "http://a%41", "http://u:%4@h", "http://u:%zz@h", "http://u:%ff@h", "http://a:b:c"),
    ],
)
def test_what_is_no_url_of_the_scheme_is_none(wrong: str) -> None:
    assert parts(wrong, "http", 80) is None


@given(st.text())
def test_no_url_raises(wild: str) -> None:
    parts(wild, "http", 80)
    parts(f"http://{wild}", "http", 80)
    redis_place(f"redis://{wild}")
    is_loopback(wild)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("redis://h", ("", "", "h", 6379, 0)),
        ("redis://:pw@h:1/15", ("", "pw", "h", 1, 15)),
        ("redis://user:pw@[::1]/", ("user", "pw", "::1", 6379, 0)),
        ("redis://user@h", None),
        ("redis://h/x", None),
        ("redis://h/0/1", None),
        ("redis://h/99999", None),
        ("rediss://h", None),
    ],
)
def test_the_place_of_a_store(url: str, found: object) -> None:
    assert redis_place(url) == found


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_what_only_this_machine_reaches_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["127.1", "127.0.0.256", "127.0.0.1.example.org", "0.0.0.0", "h", "", "::2", "128.0.0.1"]
)
def test_nothing_else_is_loopback(host: str) -> None:
    assert not is_loopback(host)
