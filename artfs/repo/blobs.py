"""Reading blobs: from pack to proven bytes. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeVar

from cachetools import LRUCache

from artfs.errors import Damaged, ObjectNotFound
from artfs.format import blob, keys, node, pack
from artfs.format.node import Node
from artfs.format.pack import BlobKind
from artfs.store.base import ObjectReader, Store
from artfs.types import BlobRef

T = TypeVar("T")

#: Open packs; each holds a file descriptor of a directory store.
_OPEN_PACKS = 256
#: Bytes of an index and a trailer, at most: of 32 MiB of blobs that are hardly larger than a row.
_INDEX_MAX = 32 << 20
#: Decoded nodes kept. A node of a directory has 64 entries on average and takes some 30 KB.
_NODES = 2048


class Blobs:
    """The blobs of a store. What it returns has been checked against its digest."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._readers: _Readers = _Readers(maxsize=_OPEN_PACKS)
        self._nodes: LRUCache[bytes, Node] = LRUCache(maxsize=_NODES)
        self._made: LRUCache[bytes, bytes] = LRUCache(maxsize=_NODES)

    @property
    def is_remote(self) -> bool:
        """Whether reading may wait for a network: see `fetch`."""
        return self._store.is_remote

    def read(self, ref: BlobRef) -> bytes:
        """A blob's raw bytes; waits for the store.

        Raises `Damaged`, `ObjectNotFound` (its pack is gone), `Unreachable`.
        """
        return self._proved((ref,), lambda stored: blob.decode(ref, stored))

    def _proved(self, refs: Sequence[BlobRef], decode: Callable[[bytes], T]) -> T:
        """What `decode`, which proves it, makes of neighbours; of a damaged copy of them, none."""
        (start, end), reader = _extent(refs), self.reader(refs[0].pack)
        try:
            return decode(reader.read(start, end - start))
        except Damaged:
            if not reader.distrust(start, end - start):
                raise
        return decode(reader.read(start, end - start))

    def read_cached(self, ref: BlobRef, patience: float = 0.0) -> bytes | None:
        """The same if it can be had without waiting, or within `patience` seconds, a fraction of a
        millisecond; else None. Raises `Damaged`."""
        return self._proved_cached((ref,), lambda stored: blob.decode(ref, stored), patience)

    def _proved_cached(
        self, refs: Sequence[BlobRef], decode: Callable[[bytes], bytes], patience: float = 0.0
    ) -> bytes | None:
        reader = self.open_reader(refs[0].pack)
        if reader is None:
            return None
        start, end = _extent(refs)
        stored = reader.read_cached(start, end - start, patience)
        if stored is None:
            return None
        try:
            return decode(stored)
        except Damaged:
            if not reader.distrust(start, end - start):
                raise
            return None

    def span(self, refs: Sequence[BlobRef]) -> bytes:
        """The raw bytes of blobs that are neighbours in a pack, one after the other; waits for the
        store. Raises as `read`, `Damaged` naming the blob.

        They are not put together again if they are stored as they are: at 1 GB/s every copy counts.
        """
        return self._proved(refs, lambda stored: _raw(refs, stored))

    def span_cached(self, refs: Sequence[BlobRef]) -> bytes | None:
        """The same if it can be had without waiting, else None. Raises `Damaged`."""
        return self._proved_cached(refs, lambda stored: _raw(refs, stored))

    def fetch(self, refs: Sequence[BlobRef]) -> Future[None] | None:
        """Have neighbours of a pack that is open brought here, as `ObjectReader.fetch`."""
        reader = self.open_reader(refs[0].pack)
        start, end = _extent(refs)
        return None if reader is None else reader.fetch(start, end - start)

    def node(self, ref: BlobRef) -> Node:
        """A decoded manifest node; waits for the store. Raises as `read`."""
        with self._lock:
            found = self._nodes.get(ref.digest)
            made = None if found is not None else self._made.pop(ref.digest, None)
        if found is not None:
            return found
        if made is not None:
            return self._keep(ref, made)
        self.reader(ref.pack).expect_all()
        return self._keep(ref, self.read(ref))

    def node_cached(self, ref: BlobRef) -> Node | None:
        """The same if it can be had without waiting, else None. Raises `Damaged`."""
        with self._lock:
            found = self._nodes.get(ref.digest)
        if found is not None:
            return found
        data = self.read_cached(ref)
        return None if data is None else self._keep(ref, data)

    def made(self, ref: BlobRef, data: bytes) -> None:
        """A node was made of `data` here: it need not be read back, which takes requests. It is
        decoded only if it is asked for."""
        with self._lock:
            self._made[ref.digest] = data

    def _keep(self, ref: BlobRef, data: bytes) -> Node:
        decoded = node.decode(data)
        with self._lock:
            self._nodes[ref.digest] = decoded
        return decoded

    def reader(self, pack_id: bytes) -> ObjectReader:
        """The reader of a pack. Raises `ObjectNotFound`, `Unreachable`."""
        reader = self.open_reader(pack_id)
        if reader is None:
            opened = self._store.reader(keys.pack(pack_id))
            with self._lock:
                reader = self._readers.setdefault(pack_id, opened)
            if reader is not opened:
                opened.close()
        return reader

    def open_reader(self, pack_id: bytes) -> ObjectReader | None:
        """The reader of a pack that is open."""
        with self._lock:
            return self._readers.get(pack_id)

    def prefetch(self, ref: BlobRef, length: int) -> None:
        """Ask for `length` stored bytes from a blob on to be at hand soon. May wait briefly."""
        try:
            self.reader(ref.pack).prefetch(ref.offset, length)
        except ObjectNotFound:
            return

    def pack_index(
        self, pack_id: bytes, size: int | None = None
    ) -> Iterator[tuple[BlobKind, BlobRef]]:
        """What a pack says it holds; `size` is its own, if a listing has told.

        Raises `Damaged`, `ObjectNotFound`, `Unreachable`.
        """
        reader = self.reader(pack_id)
        if size is None:
            size = self._store.info(keys.pack(pack_id)).size
        if size < len(pack.HEADER) + pack.TRAILER_SIZE:
            raise Damaged(f"pack {pack_id.hex()}", f"has only {size} bytes: it is truncated")
        try:
            found = _index(pack_id, reader, size)
        except Damaged:
            begin = max(0, size - _INDEX_MAX)
            if not reader.distrust(begin, size - begin):
                raise
            found = _index(pack_id, reader, size)
        yield from found

    def close(self) -> None:
        """Close all packs."""
        with self._lock:
            while self._readers:
                self._readers.popitem()


def _index(pack_id: bytes, reader: ObjectReader, size: int) -> list[tuple[BlobKind, BlobRef]]:
    trailer = reader.read(size - pack.TRAILER_SIZE, pack.TRAILER_SIZE)
    offset, length, digest = pack.decode_trailer(pack_id, trailer)
    if offset + length + pack.TRAILER_SIZE != size:
        raise Damaged(f"pack {pack_id.hex()}", "its trailer does not fit its size")
    return list(pack.decode_index(pack_id, reader.read(offset, length), digest))


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
