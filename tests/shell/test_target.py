import pytest

from loom_shell.target import target_of


@pytest.mark.parametrize(
    ("raw_path", "query", "path", "target"),
    [
        (b"/v1/messages", b"", b"/v1/messages", b"/v1/messages"),
        (b"/v1/messages", b"a=1&a=2&&b", b"/v1/messages", b"/v1/messages?a=1&a=2&&b"),
        (b"/a%2Fb//c/../d", b"%zz", b"/a%2Fb//c/../d", b"/a%2Fb//c/../d?%zz"),
        (b"http://elsewhere.test/v1/x", b"q", b"/v1/x", b"/v1/x?q"),
        (b"https://u:p@elsewhere.test:8/", b"", b"/", b"/"),
        (b"http://elsewhere.test", b"q=/x", b"/", b"/?q=/x"),
        (b"*", b"", b"*", b"*"),
        (b"//two/slashes", b"", b"//two/slashes", b"//two/slashes"),
        (b"elsewhere.test:443", b"", b"elsewhere.test:443", b"elsewhere.test:443"),
    ],
)
@pytest.mark.spec("relay.absolute-form", "relay.target")
def test_the_target_is_what_was_sent_without_scheme_and_authority(
    raw_path: bytes, query: bytes, path: bytes, target: bytes
) -> None:
    assert target_of({"raw_path": raw_path, "query_string": query}) == (path, target)
