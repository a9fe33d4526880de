"""Packs: many blobs, an index, a trailer. See artfs-format(5), PACKS.

header   8 bytes  b"ARTFSPK1"
blobs    back to back, each `stored` bytes
index    45 bytes a blob: digest 32, kind 1, offset 4, stored 4, size 4 (big endian)
trailer  56 bytes: BLAKE3 of the index 32, index offset 8, blob count 4, reserved 4, b"1KPSFTRA"
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator

from blake3 import blake3

from artfs.errors import Damaged
from artfs.types import BlobRef

HEADER = b"ARTFSPK1"
TARGET_SIZE = 32 << 20
#: A blob's offset is 32 bits; packs close long before.
MAX_SIZE = 1 << 31

_ENTRY = struct.Struct(">32sBIII")
_TRAILER = struct.Struct(">32sQII8s")
_MAGIC = b"1KPSFTRA"
TRAILER_SIZE = _TRAILER.size


class BlobKind(enum.IntEnum):
    """What a blob of a pack is, so that a checker can follow nodes."""

    CHUNK = 1
    NODE = 2


def encode_index(blobs: Iterable[tuple[BlobKind, BlobRef]], offset: int) -> bytes:
    """Index and trailer of a pack whose blobs end at `offset`."""
    rows = [_ENTRY.pack(b.digest, kind, b.offset, b.stored, b.size) for kind, b in blobs]
    index = b"".join(rows)
    trailer = _TRAILER.pack(blake3(index).digest(), offset, len(rows), 0, _MAGIC)
    return index + trailer


def decode_trailer(pack_id: bytes, trailer: bytes) -> tuple[int, int, bytes]:
    """(index offset, index length, index digest). Raises `Damaged`."""
    if len(trailer) != TRAILER_SIZE or trailer[-8:] != _MAGIC:
        raise Damaged(f"pack {pack_id.hex()}", "has no trailer: it is truncated or overwritten")
    digest, offset, count, _, _ = _TRAILER.unpack(trailer)
    return offset, count * _ENTRY.size, digest


def decode_index(pack_id: bytes, index: bytes, digest: bytes) -> Iterator[tuple[BlobKind, BlobRef]]:
    """The blobs of a pack. Raises `Damaged` before the first one if the index is not right."""
    if blake3(index).digest() != digest:
        raise Damaged(f"pack {pack_id.hex()}", "its index does not match its digest")
    for raw, kind, offset, stored, size in _ENTRY.iter_unpack(index):
        yield BlobKind(kind), BlobRef(raw, size, pack_id, offset, stored)
