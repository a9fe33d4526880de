"""A store that fails when it is told to.

A test scripts faults with `FaultyStore.fail`, and ends with `verify_all_hit`: a fault that no call
met proves nothing, and usually means that the code under test has changed its calls.
"""

from __future__ import annotations

import builtins
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from artfs.store.base import BytesLike, ObjectInfo, ObjectReader, ObjectWriter, Store

_T = TypeVar("_T")

METHODS = frozenset(
    list(Store.__abstractmethods__)
    + [f"reader.{name}" for name in ObjectReader.__abstractmethods__]
    + [f"writer.{name}" for name in ObjectWriter.__abstractmethods__]
)


@dataclass
class _Fault:
    method: str
    call: int
    error: BaseException
    after: bool
    hit: bool = False


class FaultyStore(Store):
    """`inner`, with scripted faults and a count of the calls in `calls`.

    The methods of readers and writers are named `reader.read`, `writer.commit` and so on, and
    counted over all readers and writers of this store. `exists` counts as `info`.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.url = inner.url
        self.calls: Counter[str] = Counter()
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()

    def fail(
        self,
        method: str,
        nth: int = 1,
        error: BaseException | type[BaseException] = OSError,
        after: bool = False,
    ) -> None:
        """Let the nth call of a method from now on raise `error`, once.

        With `after` the inner call takes effect first: a change that was made, but whose answer
        was lost.
        """
        if method not in METHODS or nth < 1:
            raise ValueError(f"no call {nth} of {method}")
        raised = error() if isinstance(error, type) else error
        with self._lock:
            self._faults.append(_Fault(method, self.calls[method] + nth, raised, after))

    def verify_all_hit(self) -> None:
        """Raise AssertionError if a scripted fault was not met by a call."""
        missed = [f"{f.method} (call {f.call})" for f in self._faults if not f.hit]
        if missed:
            raise AssertionError("faults never hit: " + ", ".join(missed))

    def run(self, method: str, call: Callable[[], _T]) -> _T:
        """Make the inner call, counted, with what faults are due."""
        with self._lock:
            self.calls[method] += 1
            number = self.calls[method]
            due = [f for f in self._faults if (f.method, f.call) == (method, number)]
            for fault in due:
                fault.hit = True
        for fault in due:
            if not fault.after:
                raise fault.error
        result = call()
        for fault in due:
            raise fault.error
        return result

    def get(self, key: str) -> bytes:
        return self.run("get", lambda: self.inner.get(key))

    def open(self, key: str) -> ObjectReader:
        return _FaultyReader(self, self.run("open", lambda: self.inner.open(key)))

    def info(self, key: str) -> ObjectInfo:
        return self.run("info", lambda: self.inner.info(key))

    def writer(self, key: str) -> ObjectWriter:
        return _FaultyWriter(self, self.run("writer", lambda: self.inner.writer(key)))

    def put_if_absent(self, key: str, data: bytes) -> None:
        self.run("put_if_absent", lambda: self.inner.put_if_absent(key, data))

    def read_record(self, key: str) -> tuple[bytes, str]:
        return self.run("read_record", lambda: self.inner.read_record(key))

    def compare_and_set(self, key: str, data: bytes, revision: str | None) -> str:
        return self.run("compare_and_set", lambda: self.inner.compare_and_set(key, data, revision))

    def delete_record(self, key: str, revision: str) -> None:
        self.run("delete_record", lambda: self.inner.delete_record(key, revision))

    def delete(self, key: str) -> None:
        self.run("delete", lambda: self.inner.delete(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self.run("list", lambda: self.inner.list(prefix))

    def list_names(self, prefix: str, after: str = "") -> builtins.list[str]:
        return self.run("list_names", lambda: self.inner.list_names(prefix, after))

    def free_bytes(self) -> int | None:
        return self.run("free_bytes", self.inner.free_bytes)

    def close(self) -> None:
        self.run("close", self.inner.close)


class _FaultyReader(ObjectReader):
    def __init__(self, store: FaultyStore, inner: ObjectReader) -> None:
        self._store = store
        self._inner = inner

    def read(self, offset: int, length: int) -> bytes:
        return self._store.run("reader.read", lambda: self._inner.read(offset, length))

    def read_cached(self, offset: int, length: int, patience: float = 0.0) -> bytes | None:
        return self._store.run(
            "reader.read_cached", lambda: self._inner.read_cached(offset, length, patience)
        )

    def prefetch(self, offset: int, length: int) -> None:
        self._store.run("reader.prefetch", lambda: self._inner.prefetch(offset, length))

    def close(self) -> None:
        self._store.run("reader.close", self._inner.close)


class _FaultyWriter(ObjectWriter):
    def __init__(self, store: FaultyStore, inner: ObjectWriter) -> None:
        self._store = store
        self._inner = inner

    def write(self, parts: Sequence[BytesLike]) -> None:
        self._store.run("writer.write", lambda: self._inner.write(parts))

    def commit(self) -> None:
        self._store.run("writer.commit", self._inner.commit)

    def abort(self) -> None:
        self._store.run("writer.abort", self._inner.abort)
