"""Blobs: the unit that is stored, verified and compressed. Chunks and manifest nodes are blobs."""

from __future__ import annotations

import threading

import zstandard
from blake3 import blake3

from artfs.errors import Damaged, InvalidValue
from artfs.types import BlobRef

#: Raw bytes, at most: a chunk has 256 KiB, a node some 10 KB. What says that it is larger asks for
#: memory, and for nothing else.
MAX = 64 << 20
#: Only what compresses to less than this part of itself is stored compressed: below that the
#: saving does not pay for decoding at every read.
_WORTH = 0.9
_SAMPLE = 4096
#: zstd level 1 on incompressible data runs at 0.33 GB/s, a tenth of everything else done to a
#: chunk; a sample tells in 10 us.
_LEVEL = 1


class _Codecs(threading.local):
    # zstandard's objects are not safe for use from two threads at once.
    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_codecs = _Codecs()


def encode(data: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview:
    """The bytes to store for raw bytes: zstd where that helps, else the same bytes.

    Raises `InvalidValue` for more than a reader takes: a directory whose names were chosen for it.
    """
    size = len(data)
    if size > MAX:
        raise InvalidValue(f"a blob of {size} bytes", f"is larger than {MAX}")
    if size < 64:
        return data
    if size > 2 * _SAMPLE:
        middle = size // 2
        sample = data[middle : middle + _SAMPLE]
        if len(_codecs.compress(sample)) > _SAMPLE * _WORTH:
            return data
    packed = _codecs.compress(data)
    return packed if len(packed) < size * _WORTH else data


def decode(ref: BlobRef, stored: bytes) -> bytes:
    """The raw bytes of a blob, proved to be what `ref` says.

    Raises `Damaged` if they are anything else.
    """
    if len(stored) != ref.stored:
        raise _damaged(ref, f"{len(stored)} of {ref.stored} bytes there")
    data = stored
    if ref.stored != ref.size:
        try:
            # A frame that says how long it is gets that much memory, whatever the most is.
            if zstandard.frame_content_size(stored) not in (-1, ref.size):
                raise _damaged(ref, "it has another size")
            data = _codecs.decompress(stored, max_output_size=ref.size)
        except zstandard.ZstdError as error:
            raise _damaged(ref, str(error)) from error
    verify(ref, data)
    return data


def verify(ref: BlobRef, data: bytes | memoryview) -> None:
    """Raise `Damaged` unless these are a blob's raw bytes."""
    if len(data) != ref.size or blake3(data).digest() != ref.digest:
        raise _damaged(ref, "the bytes do not match their digest")


def _damaged(ref: BlobRef, why: str) -> Damaged:
    place = f"blob {ref.digest.hex()[:16]} in pack {ref.pack.hex()} at {ref.offset}"
    return Damaged(place, why, "artfs verify lists what else is damaged in a version")
