"""Writing gzip on all cores."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

BLOCK_BYTES = 4 * 2**20
MOST_THREADS = 8
# RFC 1952: deflate, no file name, no time (equal contents give equal bytes), fastest, unknown system.
HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
LAST_BLOCK = b"\x03\x00"  # RFC 1951: an empty block that is marked as the last


class GzipWriter(io.RawIOBase):
    """Compress what is written, block by block in threads, into one gzip member that any reader takes.

    Each block is a deflate stream of its own that ends on a byte's border, so that the blocks can be joined (as pigz
    does it); the bytes don't depend on the number of threads.

    Args:
        raw: where the compressed bytes go; stays open.
        level: zlib's.
    """

    def __init__(self, raw: BinaryIO, level: int) -> None:
        self.raw = raw
        self.level = level
        self.pool = ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1))
        self.waiting: deque[Future[bytes]] = deque()
        self.block = bytearray()
        self.size = self.checksum = 0
        raw.write(HEADER)

    def writable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Bytes taken so far, before compression."""
        return self.size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go forward, over zeros: nibabel does it to where the voxels start."""
        if whence != io.SEEK_SET or offset < self.size:
            raise io.UnsupportedOperation(f"seek to {offset} from {self.size}: what is written can't be changed")
        self.write(bytes(offset - self.size))
        return self.size

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Take bytes; they are compressed by and by."""
        taken = memoryview(data).cast("B")
        self.block += taken
        self.size += len(taken)
        self.checksum = zlib.crc32(taken, self.checksum)
        while len(self.block) >= BLOCK_BYTES:
            self._compress(bytes(self.block[:BLOCK_BYTES]))
            del self.block[:BLOCK_BYTES]
        return len(taken)

    def _compress(self, block: bytes) -> None:
        self.waiting.append(self.pool.submit(_deflate, block, self.level))
        if len(self.waiting) > 2 * MOST_THREADS:
            self.raw.write(self.waiting.popleft().result())

    def close(self) -> None:
        """Write what is left, and the sums that readers check."""
        if self.closed:
            return
        try:
            self._compress(bytes(self.block))
            while self.waiting:
                self.raw.write(self.waiting.popleft().result())
            self.raw.write(LAST_BLOCK + struct.pack("<II", self.checksum, self.size % 2**32))
        finally:
            self.pool.shutdown(cancel_futures=True)
            super().close()


def _deflate(block: bytes, level: int) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
