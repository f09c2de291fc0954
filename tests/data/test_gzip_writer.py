from __future__ import annotations

import gzip
import io
import os
import random
import zlib

import pytest

from ncct_cta.data import gzip_writer
from ncct_cta.data.gzip_writer import BLOCK_BYTES, GzipWriter


def packed(content: bytes, step: int = 1_000_003) -> bytes:
    raw = io.BytesIO()
    with GzipWriter(raw, 1) as writer:
        for start in range(0, len(content), step):
            assert writer.write(content[start : start + step]) == len(content[start : start + step])
        assert writer.tell() == len(content)
    return raw.getvalue()


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 17])
def test_pythons_reader_gives_the_content_back(size: int) -> None:
    content = random.Random(0).randbytes(size // 2) + bytes(size - size // 2)
    assert gzip.decompress(packed(content)) == content


def test_all_blocks_are_one_member() -> None:
    # Some viewers read the first member alone.
    reader = zlib.decompressobj(zlib.MAX_WBITS + 16)
    content = bytes(3 * BLOCK_BYTES)
    assert reader.decompress(packed(content)) == content
    assert reader.eof
    assert not reader.unused_data


def test_the_bytes_depend_neither_on_the_threads_nor_on_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    content = random.Random(0).randbytes(BLOCK_BYTES) * 3
    expected = packed(content)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert packed(content, step=len(content)) == expected


def test_many_blocks_are_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_writer, "BLOCK_BYTES", 64)
    raw = io.BytesIO()
    with GzipWriter(raw, 1) as writer:
        for _ in range(100):
            writer.write(bytes(64))
            assert len(writer.waiting) <= 2 * gzip_writer.MOST_THREADS
    assert gzip.decompress(raw.getvalue()) == bytes(6400)


def test_seeking_forward_writes_zeros_and_backward_is_refused() -> None:
    raw = io.BytesIO()
    with GzipWriter(raw, 1) as writer:
        writer.write(b"a")
        assert writer.seek(4) == 4
        with pytest.raises(io.UnsupportedOperation, match="seek to 0 from 4"):
            writer.seek(0)
    assert gzip.decompress(raw.getvalue()) == b"a\0\0\0"


def test_a_full_disk_is_an_error_of_the_system() -> None:
    class Full(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            if self.tell():
                raise OSError(28, "No space left on device")
            return super().write(data)

    with pytest.raises(OSError, match="No space left"), GzipWriter(Full(), 1) as writer:
        writer.write(bytes(BLOCK_BYTES))
