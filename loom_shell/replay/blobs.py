"""Large values beside the lines of a journal: content-addressed, compressed, one pack for one file of lines.

A pack is appended to, and an entry is `address (16 bytes), length (4 bytes, big-endian), zstd frame`. The
address is the BLAKE2b digest of the content. A value is one entry or several in a row, so that a conversation
that grows keeps but once what it began with.
"""

import os
import re
from hashlib import blake2b
from pathlib import Path

import zstandard

ADDRESS, LENGTH = 16, 4
MOST = 256 * 1024 * 1024
"""Bytes of one entry's content; what says it is larger is no entry."""
_MESSAGE = re.compile(rb'\{"role":')
_WHOLE, _PIECE = 16_384, 8_192
"""Bytes up to which a value stays one piece, and that a piece has at least."""
_KEPT = 4_096
"""Contents of a pack that are kept in memory, so many as are small."""


class BlobMissingError(KeyError):
    """A content that a pack does not hold, or not as it was."""

    def __str__(self) -> str:
        return str(self.args[0])


def address(content: bytes) -> bytes:
    return blake2b(content, digest_size=ADDRESS).digest()


def pieces(content: bytes) -> list[bytes]:
    """A large request in pieces that end where a message begins."""
    if len(content) <= _WHOLE:
        return [content]
    cuts = [0]
    for found in _MESSAGE.finditer(content):
        if found.start() - cuts[-1] >= _PIECE:
            cuts.append(found.start())
    return [content[begin:end] for begin, end in zip(cuts, [*cuts[1:], len(content)], strict=True)]


class Pack:
    """Written by one process. OSError as it comes."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._known: set[bytes] = set()
        self._compressor = zstandard.ZstdCompressor(level=3)
        self.size = 0

    def put(self, content: bytes) -> str:
        return " ".join(self._put(piece) for piece in pieces(content))

    def _put(self, content: bytes) -> str:
        name = address(content)
        if name not in self._known:
            packed = self._compressor.compress(content)
            entry = name + len(packed).to_bytes(LENGTH, "big") + packed
            written = os.write(self._file, entry)
            if written < len(entry):
                raise OSError(28, "No space left on device")
            self._known.add(name)
            self.size += len(entry)
        return name.hex()

    def close(self) -> None:
        os.close(self._file)


class Contents:
    """What a pack holds. A torn last entry is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = path.read_bytes() if path.exists() else b""
        self._places: dict[bytes, tuple[int, int]] = {}
        self._kept: dict[str, bytes] = {}
        at = 0
        while at + ADDRESS + LENGTH <= len(self._data):
            begin = at + ADDRESS + LENGTH
            end = begin + int.from_bytes(self._data[at + ADDRESS : begin], "big")
            if end > len(self._data):
                break
            self._places[self._data[at : at + ADDRESS]] = (begin, end)
            at = end

    def get(self, name: str) -> bytes:
        """`BlobMissingError` with a sentence."""
        if (kept := self._kept.get(name)) is not None:
            return kept
        content = b"".join(map(self._one, name.split(" ")))
        if len(content) < _PIECE and len(self._kept) < _KEPT:
            self._kept[name] = content
        return content

    def _one(self, name: str) -> bytes:
        try:
            begin, end = self._places[bytes.fromhex(name)]
            content = zstandard.ZstdDecompressor().decompress(self._data[begin:end], max_output_size=MOST)
        except (KeyError, ValueError, zstandard.ZstdError):
            content = None
        if content is None or address(content).hex() != name:
            raise BlobMissingError(f"{self._path.name} does not hold {name[:12]} whole")
        return content
