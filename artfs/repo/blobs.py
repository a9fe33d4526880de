"""Reading blobs: from pack to proven bytes. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Iterator

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

    def read_cached(self, ref: BlobRef) -> bytes | None:
        """The same if it can be had without waiting, else None. Raises `Damaged`."""
        with self._lock:
            reader = self._readers.get(ref.pack)
        if reader is None:
            return None
        stored = reader.read_cached(ref.offset, ref.stored)
        return None if stored is None else blob.decode(ref, stored)

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
            opened = self._store.open(keys.pack(pack_id))
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


class _Readers(LRUCache[bytes, ObjectReader]):
    """Open packs, least recently used closed first.

    A reader that another thread still uses when it is evicted is closed by that thread's last
    reference (`ObjectReader.close` is left to the object), so nobody reads a reused descriptor.
    """
