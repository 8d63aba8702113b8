import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from loom_core import encoding
from loom_core.encoding import MAX_DECODED, MAX_MEMBERS, decoded

Encode = Callable[[bytes], bytes]

TEXT = "event: ping – 😀\n\n".encode() * 400


def raw_deflate(text: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(text) + squeeze.flush()


def wide_zstd(text: bytes, window_log: int) -> bytes:
    """A frame that asks for a window of 2**window_log bytes: its length is unknown when it begins."""
    asks = zstandard.ZstdCompressionParameters(window_log=window_log)
    squeeze = zstandard.ZstdCompressor(compression_params=asks).compressobj()
    return squeeze.compress(text) + squeeze.flush()


def quick_brotli(text: bytes) -> bytes:
    return brotli.compress(text, quality=1)


# Each way to encode, and the name it has on the wire.
WAYS = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate, bare": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
    "identity": ("identity", bytes),
}
EACH_WAY = pytest.mark.parametrize(("coding", "encode"), WAYS.values(), ids=WAYS)
COMPRESSING = {name: way for name, way in WAYS.items() if name != "identity"}
BOMBS = {**COMPRESSING, "br": ("br", quick_brotli)}
EACH_COMPRESSING = pytest.mark.parametrize(("coding", "encode"), COMPRESSING.values(), ids=COMPRESSING)


@EACH_WAY
@pytest.mark.spec("observer.codings")
def test_a_coding_is_undone(coding: str, encode: Encode) -> None:
    assert decoded((coding,), encode(TEXT)) == TEXT


@EACH_WAY
@pytest.mark.spec("observer.codings")
def test_an_empty_text_is_undone(coding: str, encode: Encode) -> None:
    assert decoded((coding,), encode(b"")) == b""


def test_no_coding_leaves_the_bytes() -> None:
    assert decoded((), TEXT) == TEXT


@pytest.mark.spec("observer.codings")
def test_codings_are_undone_in_the_reverse_of_their_order() -> None:
    assert decoded(("gzip", "br", "identity"), brotli.compress(gzip.compress(TEXT))) == TEXT


@pytest.mark.spec("observer.codings")
def test_a_series_of_gzip_members_and_of_zstd_frames_is_one_text() -> None:
    assert (
        decoded(("gzip",), gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")) == b"one two"
    )
    assert decoded(("zstd",), zstandard.compress(b"one ") + zstandard.compress(b"two")) == b"one two"


@pytest.mark.parametrize("codings", [("snappy",), ("gzip", "snappy"), ("",), ("GZIP",)])
@pytest.mark.spec("observer.coding-unknown")
def test_an_unknown_coding_gives_nothing(codings: tuple[str, ...]) -> None:
    assert decoded(codings, gzip.compress(TEXT)) is None


@EACH_COMPRESSING
@pytest.mark.spec("observer.coding-unknown")
def test_bytes_that_are_not_of_the_coding_give_nothing(coding: str, encode: Encode) -> None:
    assert decoded((coding,), b"\x07 plain text, nothing else") is None
    other = gzip.compress if coding == "deflate" else zlib.compress
    assert decoded((coding,), other(TEXT)) is None


@EACH_COMPRESSING
@pytest.mark.spec("observer.coding-cut")
def test_bytes_that_break_off_give_what_can_be_decoded(coding: str, encode: Encode) -> None:
    noise = b"".join(b"%d " % (number * 7919 % 104_729) for number in range(80_000))
    whole = encode(noise)
    part = decoded((coding,), whole[: len(whole) // 2])
    assert part is not None
    assert len(part) > len(noise) // 4
    assert noise.startswith(part)


@EACH_WAY
@pytest.mark.spec("observer.bomb")
def test_no_more_comes_out_than_the_limit(coding: str, encode: Encode) -> None:
    assert decoded((coding,), encode(TEXT), limit=1_000) == TEXT[:1_000]
    assert decoded((coding,), encode(TEXT), limit=len(TEXT)) == TEXT


@pytest.mark.spec("observer.bomb")
def test_a_series_of_members_shares_one_limit() -> None:
    assert decoded(("gzip",), gzip.compress(b"abc") * 3, limit=5) == b"abcab"
    assert decoded(("gzip",), gzip.compress(b"abc") * 3, limit=6) == b"abcabc"


@pytest.mark.parametrize("kept", [slice(None), slice(-2)], ids=["whole", "broken off"])
@pytest.mark.parametrize(("coding", "encode"), BOMBS.values(), ids=BOMBS)
@pytest.mark.spec("observer.bomb")
def test_a_bomb_costs_no_more_memory_than_the_limit_allows(coding: str, encode: Encode, kept: slice) -> None:
    limit = 4 * 1024 * 1024
    bomb = encode(bytes(5 * limit))[kept]
    tracemalloc.start()
    try:
        found = decoded((coding,), bomb, limit)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == bytes(limit)
    assert most < 3 * limit


@pytest.mark.spec("observer.bomb")
def test_what_comes_out_piece_by_piece_shares_one_limit() -> None:
    noise = b"".join(b"%d " % (number * 7919 % 104_729) for number in range(80_000))
    broken_off = quick_brotli(noise)[:-3]
    tracemalloc.start()
    try:
        found = decoded(("br",), broken_off, 100_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == noise[:100_000]
    assert most < 500_000


@pytest.mark.spec("observer.bomb")
def test_the_usual_limit_holds_a_long_answer_and_no_bomb() -> None:
    assert decoded(("gzip",), gzip.compress(bytes(MAX_DECODED + 1), compresslevel=1)) == bytes(MAX_DECODED)
    assert MAX_DECODED == 8 * 1024 * 1024


@pytest.mark.spec("observer.bomb-effort")
def test_more_layers_than_any_sender_has_are_not_undone() -> None:
    data = TEXT
    for _ in range(5):
        data = gzip.compress(data)
    assert decoded(("gzip",) * 5, data) is None
    assert decoded(("gzip",) * 4, data) == gzip.compress(TEXT)


@pytest.mark.spec("observer.bomb-effort")
def test_of_a_long_series_of_members_the_first_are_read() -> None:
    assert decoded(("gzip",), gzip.compress(b"a") * (MAX_MEMBERS + 7)) == b"a" * MAX_MEMBERS


@pytest.mark.spec("observer.bomb-effort")
def test_a_window_wider_than_the_standard_allows_is_refused() -> None:
    assert decoded(("zstd",), wide_zstd(TEXT, 23)) == TEXT
    assert decoded(("zstd",), wide_zstd(TEXT, 24)) is None


@given(st.binary(), st.lists(st.sampled_from([*encoding._CODINGS, "other"]), max_size=5))
@pytest.mark.spec("observer.no-raise", "exchange.total")
def test_any_bytes_under_any_codings_give_bytes_or_nothing(data: bytes, codings: list[str]) -> None:
    found = decoded(tuple(codings), data, limit=100)
    assert found is None or codings == [] or len(found) <= 100


@given(st.binary(max_size=2_000), st.sampled_from(list(WAYS)), st.data())
@pytest.mark.spec("observer.no-raise", "exchange.total")
def test_encoded_bytes_with_one_changed_give_bytes_or_nothing(
    text: bytes, way: str, choose: st.DataObject
) -> None:
    coding, encode = WAYS[way]
    changed = bytearray(encode(text) or b"\0")
    changed[choose.draw(st.integers(0, len(changed) - 1))] ^= choose.draw(st.integers(1, 255))
    found = decoded((coding,), bytes(changed), limit=4_000)
    assert found is None or len(found) <= 4_000
