"""A remote store whose immutable objects are kept on the local disk as they are read."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from artfs.store.base import ObjectInfo, ObjectReader, ObjectWriter, Store
from artfs.store.cached.blockfile import BLOCK
from artfs.store.cached.counts import Counter
from artfs.store.cached.flights import Flights
from artfs.store.cached.objects import SmallObjects
from artfs.store.cached.reader import CachedReader, Memory, Shared
from artfs.store.cached.room import COUNTS, OBJECTS, PACKS, Room
from artfs.store.keys import check_key

#: Bytes of blocks in memory that the disk could not take.
_MEMORY = 64 << 20


class CachedStore(Store):
    """`inner`, with a cache in `directory`, one of its own below that of all caches.

    Objects below `packs` are read in blocks, those of which `is_fixed` is true are kept whole;
    neither ever change under their key. The rest is passed on. Closes `inner` with itself.
    """

    is_remote = True

    def __init__(
        self,
        inner: Store,
        directory: Path,
        packs: str,
        is_fixed: Callable[[str], bool],
        *,
        size: int,
        requests: int,
    ) -> None:
        """`size`: bytes that the caches of all stores take together; 0 for none. `requests`: so
        many at once for parts of packs."""
        self.url = inner.url
        self.directory = inner.directory
        self.refresh = inner.refresh
        self.inner = inner
        self._packs = packs
        self._is_fixed = is_fixed
        room = Room(directory.parent, size)
        self._objects = SmallObjects(directory / OBJECTS, room)
        self._counter = Counter(directory / COUNTS)
        self._flights = Flights(requests, BLOCK, self._counter.flush)
        self._shared = Shared(
            directory / PACKS, inner.reader, room, self._flights, self._counter, Memory(_MEMORY)
        )

    def get(self, key: str) -> bytes:
        if not self._is_fixed(key):
            return self._ask().get(key)
        data = self._objects.get(key)
        if data is None:
            data = self._ask().get(key)
            self._objects.put(key, data)
        return data

    def _ask(self) -> Store:
        """The store, about to be sent a request that reads."""
        self._counter.add(requests=1)
        return self.inner

    def check_writing(self) -> None:
        self.inner.check_writing()

    def open(self, key: str) -> ObjectReader:
        if not key.startswith(self._packs):
            return self._ask().open(key)
        self.info(key)
        return self.reader(key)

    def reader(self, key: str) -> ObjectReader:
        if not key.startswith(self._packs):
            return self.inner.reader(key)
        return CachedReader(self._shared, check_key(key))

    def info(self, key: str) -> ObjectInfo:
        return self._ask().info(key)

    def exists(self, key: str) -> bool:
        return self._ask().exists(key)

    def existing(self, keys: Iterable[str]) -> set[str]:
        asked = [*keys]
        self._counter.add(requests=len(asked))
        return self.inner.existing(asked)

    def get_all(self, keys: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        asked = []
        for key in keys:
            data = self._objects.get(key) if self._is_fixed(key) else None
            if data is None:
                asked.append(key)
            else:
                found[key] = data
        self._counter.add(requests=len(asked))
        fetched = self.inner.get_all(asked)
        for key, data in fetched.items():
            if self._is_fixed(key):
                self._objects.put(key, data)
        return found | fetched

    def last_of(self, key: Callable[[int], str], after: int = -1, hint: int = -1) -> int:
        return self._ask().last_of(key, after, hint)

    def writer(self, key: str) -> ObjectWriter:
        return self.inner.writer(key)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self.inner.put_if_absent(key, data)

    def read_record(self, key: str) -> tuple[bytes, str]:
        return self._ask().read_record(key)

    def compare_and_set(self, key: str, data: bytes, revision: str | None) -> str:
        return self.inner.compare_and_set(key, data, revision)

    def delete_record(self, key: str, revision: str) -> None:
        self.inner.delete_record(key, revision)

    def delete(self, key: str) -> None:
        self.inner.delete(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._ask().list(prefix)

    def list_names(self, prefix: str, after: str = "") -> builtins.list[str]:
        return self._ask().list_names(prefix, after)

    def free_bytes(self) -> int | None:
        return self.inner.free_bytes()

    def close(self) -> None:
        self._flights.close()
        self._counter.flush()
        self.inner.close()
