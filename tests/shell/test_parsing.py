from pathlib import Path

import pytest

from loom_shell.parsing import RefusedError, integer, is_address, one_of, path, project, switch, web_place


@pytest.mark.parametrize("value", ["loom", " My project ", "ü-1", "x" * 128])
def test_a_project_is_a_name_people_read(value: str) -> None:
    assert project(value) == value.strip()


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "x" * 129, 5, None, "a\x1b[31m"])
def test_anything_else_is_no_project(value: object) -> None:
    with pytest.raises(ValueError):
        project(value)


@pytest.mark.parametrize("value", ["0.0.0.0", "::1", "fe80::1%eth0"])
def test_an_address_is_one(value: str) -> None:
    assert is_address(value)
    assert not is_address(f"x{value}")


@pytest.mark.spec("config.memory")
@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("http://h", "http://h"),
        ("https://h.example:8443/", "https://h.example:8443"),
        ("http://[::1]:9/a/b//", "http://[::1]:9/a/b"),
    ],
)
def test_a_web_place_has_no_slash_at_its_end(value: str, place: str) -> None:
    assert web_place(value) == place == web_place(place)


@pytest.mark.spec("config.memory", "config.secret-errors")
@pytest.mark.parametrize(
    "value", ["http://u:dummy@h", "http://dummy@h", "http://h/?k=dummy", "http://h#", "http://h?"]
)
def test_what_else_a_web_place_could_hold_is_refused_unseen(value: str) -> None:
    with pytest.raises(RefusedError, match=r"^it must not hold a (user or password|query or fragment)$"):
        web_place(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "h",
        "//h",
        "ftp://h",
        "http://",
        "http:///a",
        "http://h:0",
        "http://h:99999",
        "http://[x",
        "http://a b",
        5,
        None,
    ],
)
def test_anything_else_is_no_web_place(value: object) -> None:
    with pytest.raises(ValueError):
        web_place(value)


def test_what_is_wrong_is_a_value_error() -> None:
    assert issubclass(RefusedError, ValueError)
    for parse, wrong in ((integer(1, 3), "4"), (switch, "maybe"), (one_of("a"), "b"), (path, " ")):
        with pytest.raises(ValueError):
            parse(wrong)
    assert path("/a") == Path("/a")
