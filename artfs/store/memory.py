"""A store in this process's memory: for tests, and the shortest proof of the contract."""

from __future__ import annotations

import builtins
import threading
import time
from collections.abc import Iterator, Sequence

from blake3 import blake3

from artfs.errors import AlreadyExists, Conflict, ObjectNotFound
from artfs.store.base import BytesLike, ObjectInfo, ObjectReader, ObjectWriter, Store
from artfs.store.keys import check_key, check_prefix


class MemoryStore(Store):
    """Objects in a dict, guarded by one lock."""

    def __init__(self, url: str = "memory:") -> None:
        self.url = url
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes:
        return self._find(key)[0]

    def open(self, key: str) -> ObjectReader:
        return _Reader(self.get(key))

    def info(self, key: str) -> ObjectInfo:
        data, modified = self._find(key)
        return ObjectInfo(key, len(data), modified)

    def writer(self, key: str) -> ObjectWriter:
        return _Writer(self, check_key(key))

    def put(self, key: str, data: bytes) -> None:
        """Make an object visible, whatever was there."""
        with self._lock:
            self._objects[check_key(key)] = (data, time.time())

    def put_if_absent(self, key: str, data: bytes) -> None:
        with self._lock:
            if check_key(key) in self._objects:
                raise AlreadyExists(key, "exists already")
            self._objects[key] = (data, time.time())

    def read_record(self, key: str) -> tuple[bytes, str]:
        data = self.get(key)
        return data, _revision(data)

    def compare_and_set(self, key: str, data: bytes, revision: str | None) -> str:
        with self._lock:
            self._require(key, revision)
            self._objects[key] = (data, time.time())
        return _revision(data)

    def delete_record(self, key: str, revision: str) -> None:
        with self._lock:
            self._require(key, revision)
            del self._objects[key]

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(check_key(key), None)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        with self._lock:
            found = sorted(item for item in self._objects.items() if item[0].startswith(prefix))
        return (ObjectInfo(key, len(data), modified) for key, (data, modified) in found)

    def list_names(self, prefix: str, after: str = "") -> builtins.list[str]:
        names = {o.key[len(prefix) :].partition("/")[0] for o in self.list(prefix)}
        return sorted(name for name in names if name > after)

    def free_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        pass

    def _find(self, key: str) -> tuple[bytes, float]:
        with self._lock:
            try:
                return self._objects[check_key(key)]
            except KeyError:
                raise ObjectNotFound(key) from None

    def _require(self, key: str, revision: str | None) -> None:
        found = self._objects.get(check_key(key))
        if (None if found is None else _revision(found[0])) != revision:
            raise Conflict(key, "somebody else changed this record", "read it again, and retry")


class _Reader(ObjectReader):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def read_cached(self, offset: int, length: int, patience: float = 0.0) -> bytes | None:
        return self.read(offset, length)

    def prefetch(self, offset: int, length: int) -> None:
        pass

    def close(self) -> None:
        pass


class _Writer(ObjectWriter):
    def __init__(self, store: MemoryStore, key: str) -> None:
        self._store = store
        self._key = key
        self._parts: list[bytes] | None = []

    def write(self, parts: Sequence[BytesLike]) -> None:
        self._open_parts().extend(map(bytes, parts))

    def commit(self) -> None:
        self._store.put(self._key, b"".join(self._open_parts()))
        self._parts = None

    def abort(self) -> None:
        self._parts = None

    def _open_parts(self) -> list[bytes]:
        if self._parts is None:
            raise ValueError(f"the writer of {self._key} has failed or is finished")
        return self._parts


def _revision(data: bytes) -> str:
    return blake3(data).hexdigest()
