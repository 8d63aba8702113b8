from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_shell.replay.blobs import BlobMissingError, Contents, Pack, pieces


@pytest.mark.spec("journal.blobs")
@given(st.lists(st.binary(max_size=2_000) | st.just(b'{"role":"user"}' * 3_000), max_size=8))
def test_what_was_put_is_there(tmp_path_factory: pytest.TempPathFactory, many: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("pack") / "a.blobs"
    pack = Pack(path)
    names = [pack.put(content) for content in many]
    pack.close()
    assert pack.size == path.stat().st_size
    contents = Contents(path)
    assert [contents.get(name) for name in names] == many


@pytest.mark.spec("journal.blobs")
def test_a_conversation_that_grows_keeps_once_what_it_began_with(tmp_path: Path) -> None:
    pack = Pack(tmp_path / "a.blobs")
    messages = [b'{"role":"user","content":"%b"}' % bytes(range(97, 123)).hex().encode() * 20] * 40
    messages = [b'{"role":"user","content":"%d %b"}' % (it, one) for it, one in enumerate(messages)]
    pack.put(b",".join(messages))
    size = pack.size
    pack.put(b",".join([*messages, b'{"role":"user","content":"more"}']))
    assert pack.size - size < size / 4
    pack.put(b",".join(messages))


@given(st.lists(st.sampled_from([b'{"role":', b"x" * 5_000, b"y"]), max_size=12).map(b"".join))
def test_pieces_are_the_whole(content: bytes) -> None:
    assert b"".join(pieces(content)) == content


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_torn_last_entry_is_none(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.blobs"
    pack = Pack(path)
    first, second = pack.put(b"tea" * 100), pack.put(bytes(range(200)))
    pack.close()
    path.write_bytes(path.read_bytes()[:-cut])
    contents = Contents(path)
    assert contents.get(first) == b"tea" * 100
    with pytest.raises(BlobMissingError, match="does not hold"):
        contents.get(second)


def test_a_content_that_is_not_as_it_was_is_not_given(tmp_path: Path) -> None:
    path = tmp_path / "a.blobs"
    pack = Pack(path)
    name = pack.put(b"tea" * 100)
    pack.close()
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(damaged)
    for asked in (name, "zz", ""):
        with pytest.raises(BlobMissingError):
            Contents(path).get(asked)
