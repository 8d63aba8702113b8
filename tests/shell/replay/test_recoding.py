import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from loom_core.encoding import MAX_DECODED, MAX_MEMBERS, decoded
from loom_shell.replay.recoding import done, recoded, undone
from loom_shell.replay.scrubbing import Scrubber

KEY = b"sk-ant-api03-AAAAbbbbCCCCdddd"
CODINGS = ("gzip", "x-gzip", "deflate", "br", "zstd")
BARE = zlib.compressobj(wbits=-15)
BODIES = {
    ("gzip",): gzip.compress(b"so it is %b, said he" % KEY, mtime=0),
    ("x-gzip",): gzip.compress(b"so it is ", mtime=0) + gzip.compress(b"%b, said he" % KEY, mtime=0),
    ("deflate",): zlib.compress(b"so it is %b, said he" % KEY),
    ("deflate", "identity"): BARE.compress(b"so it is %b, said he" % KEY) + BARE.flush(),
    ("br",): brotli.compress(b"so it is %b, said he" % KEY),
    ("zstd",): zstandard.compress(b"so it is ") + zstandard.compress(b"%b, said he" % KEY),
    ("br", "gzip"): gzip.compress(brotli.compress(b"so it is %b, said he" % KEY), mtime=0),
}


def scrubber() -> Scrubber:
    return Scrubber(b"k" * 32)


@pytest.mark.spec("journal.encoded")
@pytest.mark.parametrize("codings", BODIES, ids=str)
def test_a_body_with_a_secret_says_the_same_without_it_in_the_same_codings(codings: tuple[str, ...]) -> None:
    clean = recoded(codings, BODIES[codings], scrubber())
    assert clean is not None
    token = scrubber().token(KEY.decode()).encode()
    assert decoded(codings, clean) == b"so it is %b, said he" % token
    assert clean == recoded(codings, BODIES[codings], scrubber())


NAMED = b"\x1f\x8b\x08\x08" + bytes(6) + b"x-%b\0" % KEY + gzip.compress(b"tea")[10:]
SKIPPED = b"\x50\x2a\x4d\x18" + len(KEY).to_bytes(4, "little") + KEY + zstandard.compress(b"tea")


@pytest.mark.spec("journal.encoded", "journal.secrets")
@pytest.mark.parametrize(
    ("codings", "body"),
    [
        (("gzip",), NAMED),
        (("zstd",), SKIPPED),
        (("gzip", "br"), brotli.compress(NAMED)),
        (("identity", "gzip"), NAMED),
    ],
    ids=str,
)
def test_a_secret_beside_the_text_goes(codings: tuple[str, ...], body: bytes) -> None:
    assert undone(codings, body) == (b"tea", True)
    assert recoded(codings, body, scrubber()) == done(codings, b"tea")


@pytest.mark.spec("journal.encoded")
@given(st.binary(max_size=300), st.lists(st.sampled_from(CODINGS), max_size=3).map(tuple))
def test_a_body_without_a_secret_is_kept_byte_for_byte(text: bytes, codings: tuple[str, ...]) -> None:
    body = done(codings, text)
    assert undone(codings, body) == (text, True)
    assert recoded(codings, body, scrubber()) == body


@pytest.mark.spec("journal.encoded")
@pytest.mark.parametrize("codings", [("gzip",), ("deflate",), ("br",)])
def test_a_body_that_breaks_off_is_kept_only_without_a_secret(codings: tuple[str, ...]) -> None:
    plain = done(codings, b"".join(b"tea %d " % it for it in range(200)))
    assert recoded(codings, plain[:-9], scrubber()) == plain[:-9]
    body = done(codings, b"tea " * 9 + KEY + b" tea" * 9)
    for size in range(len(body)):
        says = decoded(codings, body[:size])
        assert says is not None
        assert recoded(codings, body[:size], scrubber()) == (None if b"sk-" in says else body[:size])


def test_a_block_that_breaks_off_is_not_kept() -> None:
    assert recoded(("zstd",), zstandard.compress(b"tea" * 200)[:-1], scrubber()) is None


@pytest.mark.spec("journal.encoded")
@pytest.mark.parametrize(
    ("codings", "body"),
    [
        (("lzw",), b"tea"),
        (("gzip",), b"tea"),
        (("gzip",) * 5, b"tea"),
        (("gzip",), gzip.compress(b"tea", mtime=0) + b"tea"),
        (("deflate",), zlib.compress(b"tea") + b"tea"),
        (("br",), brotli.compress(b"tea") + b"tea"),
        (("zstd",), zstandard.compress(b"tea") + b"tea"),
        (("gzip",), gzip.compress(b"", mtime=0) * (MAX_MEMBERS + 1)),
        *((it, done(it, b"\0" * MAX_DECODED)) for it in BODIES),
        (("gzip", "br"), done(("gzip", "br"), b"\0" * (64 << 20))),
    ],
    ids=lambda it: str(it)[:20],
)
def test_what_cannot_be_read_to_its_end_is_not_kept(codings: tuple[str, ...], body: bytes) -> None:
    assert recoded(codings, body, scrubber()) is None
