import pickle

import attrs
import pytest

from loom_shell.scribe_url import postgres


@pytest.mark.spec("scribe.url")
def test_a_url_names_a_database() -> None:
    one = postgres("postgresql://loom:p%40ss%2Fw@db.example:5433/transcripts?sslmode=require")
    assert (one.host, one.port, one.database, one.user) == ("db.example", 5433, "transcripts", "loom")
    assert one.password is not None
    assert one.password.expose() == "p@ss/w"
    assert one.options == (("sslmode", "require"),)
    assert one.shown == "db.example:5433/transcripts"


@pytest.mark.spec("scribe.url")
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres:///loom", "localhost:5432/loom"),
        ("postgresql://[::1]/loom", "[::1]:5432/loom"),
        ("postgresql://loom@/loom?host=/run/postgresql", "/run/postgresql:5432/loom"),
    ],
)
def test_host_and_port_may_be_left_out(url: str, shown: str) -> None:
    assert postgres(url).shown == shown


@pytest.mark.spec("scribe.url")
@pytest.mark.parametrize(
    "url",
    [
        None,
        5432,
        "",
        "transcripts.sqlite",
        "sqlite:///x",
        "mysql://u:secret@h/d",
        "postgresql://u:secret@h",
        "postgresql://u:secret@h/",
        "postgresql://u:secret@h:0/d",
        "postgresql://u:secret@h:99999/d",
        "postgresql://u:secret@h:x/d",
        "postgresql://u:secret@h/d#part",
        "postgresql://u:secret@h/d?password=secret",
        "postgresql://u:secret@h/d?options=-c%20x",
        "postgresql://u:secret@h/d?sslmode",
        "postgresql://u:secret@h/d?sslmode=a&sslmode=b",
        "postgresql://u:secret@h/d%00",
        "postgresql://u:secret@h/d d",
        "postgresql://u:secret@[::1/d",
        "postgresql://h/" + "d" * 300,
    ],
)
def test_anything_else_is_refused_without_being_quoted(url: object) -> None:
    with pytest.raises(ValueError) as refused:
        postgres(url)
    assert "secret" not in str(refused.value)


@pytest.mark.spec("scribe.url")
def test_nothing_shows_the_password() -> None:
    one = postgres("postgresql://loom:hunter2hunter2@h/d")
    for text in (repr(one), str(one), one.shown, repr(attrs.asdict(one))):
        assert "hunter2" not in text
    with pytest.raises(TypeError):
        pickle.dumps(one)
