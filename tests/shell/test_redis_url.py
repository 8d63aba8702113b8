import attrs
import pytest

from loom_shell.redis_url import Redis, redis
from loom_shell.secret import Secret

PASSWORD = "dummy-password"


def test_a_url_is_read() -> None:
    assert redis("redis://h/2") == Redis("h", 6379, 2, "", None)
    assert redis("redis://u:dummy%2Dpassword@[::1]:7") == Redis("::1", 7, 0, "u", Secret(PASSWORD))


@pytest.mark.parametrize(
    "wrong", ["", "h", "none", 1, None, ["redis://h"], "redis://", f"redis://:{PASSWORD}@h/x"]
)
def test_what_is_no_url_is_refused_without_being_shown(wrong: object) -> None:
    with pytest.raises(ValueError) as refused:
        redis(wrong)
    assert PASSWORD not in str(refused.value)


@pytest.mark.spec("config.secret")
def test_the_password_is_not_shown() -> None:
    found = redis(f"redis://u:{PASSWORD}@[::1]:7/3")
    assert found.shown == "[::1]:7/3"
    assert redis("redis://h").shown == "h:6379/0"
    assert PASSWORD not in f"{found!r}{found}{attrs.asdict(found)}"
    assert found.place == ("u", PASSWORD, "::1", 7, 3)
    assert redis("redis://h").place == ("", "", "h", 6379, 0)
