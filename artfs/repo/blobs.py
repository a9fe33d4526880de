"""Reading blobs: from pack to proven bytes. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from cachetools import LRUCache

from artfs.errors import Damaged, ObjectNotFound
from artfs.format import blob, keys, node, pack
from artfs.format.node import Node
from artfs.format.pack import BlobKind
from artfs.store.base import ObjectReader, Store
from artfs.types import BlobRef

#: Open packs; each holds a file descriptor of a directory store.
_OPEN_PACKS = 256
#: Decoded nodes kept. A node of a directory has 64 entries on average and takes some 30 KB.
_NODES = 2048


class Blobs:
    """The blobs of a store. What it returns has been checked against its digest."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._readers: _Readers = _Readers(maxsize=_OPEN_PACKS)
        self._nodes: LRUCache[bytes, Node] = LRUCache(maxsize=_NODES)

    def read(self, ref: BlobRef) -> bytes:
        """A blob's raw bytes; waits for the store.

        Raises `Damaged`, `ObjectNotFound` (its pack is gone), `Unreachable`.
        """
        return blob.decode(ref, self.reader(ref.pack).read(ref.offset, ref.stored))

    def read_cached(self, ref: BlobRef, patience: float = 0.0) -> bytes | None:
        """The same if it can be had without waiting, or within `patience` seconds, a fraction of a
        millisecond; else None. Raises `Damaged`."""
        stored = self._stored_cached(ref.pack, ref.offset, ref.stored, patience)
        return None if stored is None else blob.decode(ref, stored)

    def _stored_cached(
        self, pack_id: bytes, offset: int, length: int, patience: float = 0.0
    ) -> bytes | None:
        with self._lock:
            reader = self._readers.get(pack_id)
        return None if reader is None else reader.read_cached(offset, length, patience)

    def span(self, refs: Sequence[BlobRef]) -> bytes:
        """The raw bytes of blobs that are neighbours in a pack, one after the other; waits for the
        store. Raises as `read`, `Damaged` naming the blob.

        They are not put together again if they are stored as they are: at 1 GB/s every copy counts.
        """
        start, end = _extent(refs)
        return _raw(refs, self.reader(refs[0].pack).read(start, end - start))

    def span_cached(self, refs: Sequence[BlobRef]) -> bytes | None:
        """The same if it can be had without waiting, else None. Raises `Damaged`."""
        start, end = _extent(refs)
        stored = self._stored_cached(refs[0].pack, start, end - start)
        return None if stored is None else _raw(refs, stored)

    def node(self, ref: BlobRef) -> Node:
        """A decoded manifest node; waits for the store. Raises as `read`."""
        with self._lock:
            found = self._nodes.get(ref.digest)
        return found if found is not None else self._keep(ref, self.read(ref))

    def node_cached(self, ref: BlobRef) -> Node | None:
        """The same if it can be had without waiting, else None. Raises `Damaged`."""
        with self._lock:
            found = self._nodes.get(ref.digest)
        if found is not None:
            return found
        data = self.read_cached(ref)
        return None if data is None else self._keep(ref, data)

    def _keep(self, ref: BlobRef, data: bytes) -> Node:
        decoded = node.decode(data)
        with self._lock:
            self._nodes[ref.digest] = decoded
        return decoded

    def reader(self, pack_id: bytes) -> ObjectReader:
        """The reader of a pack. Raises `ObjectNotFound`, `Unreachable`."""
        with self._lock:
            reader = self._readers.get(pack_id)
        if reader is None:
            opened = self._store.reader(keys.pack(pack_id))
            with self._lock:
                reader = self._readers.setdefault(pack_id, opened)
            if reader is not opened:
                opened.close()
        return reader

    def prefetch(self, ref: BlobRef, length: int) -> None:
        """Ask for `length` stored bytes from a blob on to be at hand soon. May wait briefly."""
        try:
            self.reader(ref.pack).prefetch(ref.offset, length)
        except ObjectNotFound:
            return

    def pack_index(self, pack_id: bytes) -> Iterator[tuple[BlobKind, BlobRef]]:
        """What a pack says it holds. Raises `Damaged`, `ObjectNotFound`, `Unreachable`."""
        reader = self.reader(pack_id)
        size = self._store.info(keys.pack(pack_id)).size
        if size < len(pack.HEADER) + pack.TRAILER_SIZE:
            raise Damaged(f"pack {pack_id.hex()}", f"has only {size} bytes: it is truncated")
        trailer = reader.read(size - pack.TRAILER_SIZE, pack.TRAILER_SIZE)
        offset, length, digest = pack.decode_trailer(pack_id, trailer)
        if offset + length + pack.TRAILER_SIZE != size:
            raise Damaged(f"pack {pack_id.hex()}", "its trailer does not fit its size")
        yield from pack.decode_index(pack_id, reader.read(offset, length), digest)

    def close(self) -> None:
        """Close all packs."""
        with self._lock:
            while self._readers:
                self._readers.popitem()


def neighbours(refs: Sequence[BlobRef]) -> Iterator[Sequence[BlobRef]]:
    """Blobs in runs that lie one after the other in one pack."""
    at = 0
    for stop in range(1, len(refs) + 1):
        if stop == len(refs) or not _adjacent(refs[stop - 1], refs[stop]):
            yield refs[at:stop]
            at = stop


def _adjacent(one: BlobRef, other: BlobRef) -> bool:
    return one.pack == other.pack and one.offset + one.stored == other.offset


def _extent(refs: Sequence[BlobRef]) -> tuple[int, int]:
    return refs[0].offset, refs[-1].offset + refs[-1].stored


def _raw(refs: Sequence[BlobRef], stored: bytes) -> bytes:
    """What neighbours hold, from what is stored of them."""
    places = [slice(at := ref.offset - refs[0].offset, at + ref.stored) for ref in refs]
    if all(ref.stored == ref.size for ref in refs):
        view = memoryview(stored)
        for ref, place in zip(refs, places, strict=True):
            blob.verify(ref, view[place])
        return stored
    return b"".join([blob.decode(r, stored[place]) for r, place in zip(refs, places, strict=True)])


class _Readers(LRUCache[bytes, ObjectReader]):
    """Open packs, least recently used closed first.

    A reader that another thread still uses when it is evicted is closed by that thread's last
    reference (`ObjectReader.close` is left to the object), so nobody reads a reused descriptor.
    """
