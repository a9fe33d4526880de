"""A store in memory that stands for one far away: counted, as slow as it is told, and with objects
that never answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from artfs.store.base import ObjectReader, Store
from artfs.store.memory import MemoryStore
from tests.support.faulty import FaultyStore

T = TypeVar("T")


class RemoteStore(FaultyStore):
    """`ranges` are the reads of objects, as (key, offset, length), in the order in which they were
    asked for; `most` is how many were under way at once. `hanging` keys answer when `let_go` is
    set."""

    is_remote = True

    def __init__(self, inner: Store | None = None, latency: float = 0.0) -> None:
        super().__init__(inner or MemoryStore())
        self.latency = latency
        self.ranges: list[tuple[str, int, int]] = []
        self.most = 0
        self.hanging: set[str] = set()
        self.let_go = threading.Event()
        self._under_way = 0
        self._count = threading.Lock()

    def open(self, key: str) -> ObjectReader:
        return _Reader(self, key, super().open(key))

    def reader(self, key: str) -> ObjectReader:
        return self.open(key)

    def asked(self, key: str, offset: int, length: int, call: Callable[[], bytes]) -> bytes:
        """Make a read as slow as it has to be."""
        with self._count:
            self.ranges.append((key, offset, length))
            self._under_way += 1
            self.most = max(self.most, self._under_way)
        try:
            if key in self.hanging:
                assert self.let_go.wait(30)
            if self.latency:
                time.sleep(self.latency)
            return call()
        finally:
            with self._count:
                self._under_way -= 1

    @property
    def requests(self) -> int:
        """All calls so far that a server would have to answer."""
        names = ("get", "info", "read_record", "list", "list_names", "reader.read")
        return sum(self.calls[name] for name in names)


class _Reader(ObjectReader):
    def __init__(self, store: RemoteStore, key: str, inner: ObjectReader) -> None:
        self._store = store
        self._key = key
        self._inner = inner

    def read(self, offset: int, length: int) -> bytes:
        read = lambda: self._inner.read(offset, length)  # noqa: E731  # one line, used once
        return self._store.asked(self._key, offset, length, read)

    def read_cached(self, offset: int, length: int, patience: float = 0.0) -> bytes | None:
        return None

    def prefetch(self, offset: int, length: int) -> None:
        """Nothing is fetched ahead: whoever keeps what was fetched does that."""

    def close(self) -> None:
        self._inner.close()
