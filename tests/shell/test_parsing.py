from pathlib import Path

import pytest

from loom_shell.parsing import RefusedError, integer, is_address, one_of, path, project, switch


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


def test_what_is_wrong_is_a_value_error() -> None:
    assert issubclass(RefusedError, ValueError)
    for parse, wrong in ((integer(1, 3), "4"), (switch, "maybe"), (one_of("a"), "b"), (path, " ")):
        with pytest.raises(ValueError):
            parse(wrong)
    assert path("/a") == Path("/a")
