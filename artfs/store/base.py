"""What artfs asks of the place that keeps its objects.

A store maps keys (`/`-separated, printable ASCII) to bytes and knows nothing of artifacts.
All methods block, and may be called from any thread. `tests/contract/test_store.py` is the
executable form of these obligations; every implementation passes it unchanged.
"""

from __future__ import annotations

import builtins
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from artfs.errors import ObjectNotFound

BytesLike = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing. `modified` is seconds since the epoch, by the store's clock."""

    key: str
    size: int
    modified: float


class ObjectReader(ABC):
    """Random access to one immutable object; closes itself when nobody refers to it."""

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """The bytes [offset, offset+length), fewer only at the object's end.

        Raises `Unreachable`, and `ObjectNotFound` if the object is gone meanwhile.
        """

    def copy(self, offset: int, length: int, write: Callable[[bytes], object]) -> int | None:
        """The bytes that `read` would return, handed to `write` piece by piece as they come. The
        object's size, if the store says it.

        Raises as `read`, after which some may have been handed over, and what `write` raises, which
        ends it at once. `write` may be given nothing, b"", before the store is asked again.
        """
        write(self.read(offset, length))
        return None

    @abstractmethod
    def read_cached(self, offset: int, length: int, patience: float = 0.0) -> bytes | None:
        """The same bytes if they can be had at once, without waiting for a device; else None.

        With `patience`, a fraction of a millisecond, a device that answers within so many seconds
        may be waited for. Called from an event loop: must neither block for longer nor raise.
        """

    @abstractmethod
    def prefetch(self, offset: int, length: int) -> None:
        """Ask for bytes to be at hand soon. A hint: returns early, fails silently."""

    def fetch(self, offset: int, length: int) -> Future[None] | None:
        """Have these bytes brought here, from a store for which one waits long; the future, which
        may be cancelled, says when they are here, and fails as `read`.

        None: they are here, or nothing can be done but to `read` them. Returns at once.
        """
        return None

    def expect_all(self) -> None:  # noqa: B027  # most readers have nothing to do
        """Say that most of the object will be asked for: worth fetching in large pieces."""

    def distrust(self, offset: int, length: int) -> bool:
        """Say that bytes which were read are not what they must be.

        True if they came from a copy, which is given up: read them again. Returns at once.
        """
        return False

    @abstractmethod
    def close(self) -> None:
        """Release what the reader holds. Idempotent."""


class ObjectWriter(ABC):
    """A new immutable object, written front to back; invisible until `commit`."""

    @abstractmethod
    def write(self, parts: Sequence[BytesLike]) -> None:
        """Append the parts in order. Raises `OSError` (ENOSPC) or `Unreachable`."""

    @abstractmethod
    def commit(self) -> None:
        """Make the object visible under its key, durably: after it, a reset loses nothing."""

    @abstractmethod
    def abort(self) -> None:
        """Drop the object. Idempotent, and harmless after `commit`."""


class Store(ABC):
    """Bytes by key.

    Objects under a key are written once (`writer`, `put_if_absent`), but for *records*, which
    `compare_and_set` alone changes. What a write made is durable when the call returns: data and
    name survive a reset of the machine. A call that fails leaves the old state or the new one.
    """

    url: str
    directory: str | None = None
    """The directory that holds the objects, if one does: it must not be stored, or mounted over."""

    refresh: float = 2.0
    """Seconds within which what others have stored is to show, where nobody says otherwise."""
    #: Whether reading waits for a network, so that copies on the local disk are worth keeping.
    is_remote = False

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The whole object. Raises `ObjectNotFound`, `Unreachable`."""

    @abstractmethod
    def open(self, key: str) -> ObjectReader:
        """A reader of an immutable object. Raises `ObjectNotFound`, `Unreachable`; a store over a
        network may leave that to the first `read`."""

    def reader(self, key: str) -> ObjectReader:
        """The same for an object that is taken to be there: where finding out would take a request
        of its own, `ObjectNotFound` comes with the first read."""
        return self.open(key)

    @abstractmethod
    def info(self, key: str) -> ObjectInfo:
        """Size and time of one object. Raises `ObjectNotFound`, `Unreachable`."""

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        try:
            self.info(key)
        except ObjectNotFound:
            return False
        return True

    def existing(self, keys: Iterable[str]) -> set[str]:
        """Which of the objects are there; asked for all at once where that saves time."""
        return {key for key in keys if self.exists(key)}

    def get_all(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Those of the objects that are there, by key; asked for all at once where that saves time.

        Raises as `get`, but for `ObjectNotFound`.
        """
        found = {}
        for key in keys:
            with contextlib.suppress(ObjectNotFound):
                found[key] = self.get(key)
        return found

    def last_of(self, key: Callable[[int], str], after: int = -1, hint: int = -1) -> int:
        """The highest N for which `key(N)` is there; `after`, which is known to be, if none is.

        The objects of a series are made one after the other and never removed, and their keys,
        which differ in the last component only, sort as their numbers do. `hint` may be anything: a
        number a little below the highest one makes the answer cheap.
        """
        step, low = 1, after
        if hint > after and self.exists(key(hint)):
            low = hint
        while self.exists(key(low + step)):
            low, step = low + step, step * 2
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            if self.exists(key(middle)):
                low = middle
            else:
                high = middle
        return low

    @abstractmethod
    def writer(self, key: str) -> ObjectWriter:
        """A writer for a key that nobody else writes (its name is random)."""

    def check_writing(self) -> None:  # noqa: B027  # most stores need no check
        """Make sure that the place does what this class promises; writes do it by themselves.

        Cheap after the first time. Raises `Unsupported` where conditional writes are not honoured,
        `Unreachable`.
        """

    @abstractmethod
    def put_if_absent(self, key: str, data: bytes) -> None:
        """Create the object; of many racing callers exactly one succeeds.

        Raises `AlreadyExists` if the key is taken; then nothing has changed.
        """

    @abstractmethod
    def read_record(self, key: str) -> tuple[bytes, str]:
        """A record's bytes and its revision, an opaque token. Raises `ObjectNotFound`."""

    @abstractmethod
    def compare_and_set(self, key: str, data: bytes, revision: str | None) -> str:
        """Replace the record if it still has `revision` (None: if there is none).

        Returns the new revision. Raises `Conflict` if it has another; then nothing has changed.
        """

    @abstractmethod
    def delete_record(self, key: str, revision: str) -> None:
        """Remove a record if it still has `revision`; `Conflict` if not, or if it is gone."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; removing one that is not there is no error."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix` (ends in `/`, or is empty), by key order."""

    @abstractmethod
    def list_names(self, prefix: str, after: str = "") -> builtins.list[str]:
        """The next path components below `prefix` (ends in `/`), of objects and of deeper
        prefixes alike, sorted, without duplicates; only those that sort after `after`."""

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Bytes that can still be stored; None where there is no such figure."""

    @abstractmethod
    def close(self) -> None:
        """Release connections and descriptors. Idempotent."""
