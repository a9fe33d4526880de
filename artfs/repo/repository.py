"""A store opened for use: its records, its blobs, its index of what is stored already."""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

from artfs.errors import AlreadyExists, NotFound, ObjectNotFound
from artfs.format import keys, record
from artfs.format.record import FORMAT, StoreRecord, VersionRecord
from artfs.repo import reading
from artfs.repo.blobs import Blobs
from artfs.repo.catalog import Catalog
from artfs.repo.known import KnownBlobs
from artfs.repo.references import References
from artfs.repo.runs import Runs
from artfs.store.base import Store
from artfs.store.keys import PROBE, RESERVED
from artfs.store.location import open_store
from artfs.store.options import StoreOptions
from artfs.types import Entry, Kind


class Repository:
    """`store`, `catalog` (artifacts, versions, aliases), `runs`, `blobs` (reading), `known` (what
    is stored where), `references` (what is stored elsewhere). Thread-safe; close it, or use it as a
    context manager."""

    def __init__(
        self,
        store: Store,
        store_id: str,
        cache: Path,
        options: StoreOptions = StoreOptions(),  # noqa: B008  # frozen
    ) -> None:
        self.store = store
        self.id = store_id
        self.catalog = Catalog(store)
        self.runs = Runs(store)
        self.blobs = Blobs(store)
        self.known = KnownBlobs(cache / store_id / "known.sqlite", store, self.blobs)
        self.references = References(self.catalog, self.blobs, options)

    @classmethod
    def open(
        cls,
        url: str,
        cache: Path,
        create: bool = False,
        options: StoreOptions = StoreOptions(),  # noqa: B008  # frozen
    ) -> Repository:
        """The repository at a URL; `cache` is a directory for what can be rebuilt. What is read
        from a remote store is kept there.

        Raises `InvalidValue`, `NotFound`, `UnsupportedFormat`, `Damaged`, `Unreachable`; with
        `create` also `AlreadyExists`: something else is there.
        """
        store = open_store(url, create, options)
        try:
            store_id = _store_record(store, create).id
            return cls(cached(store, store_id, cache, options), store_id, cache, options)
        except BaseException:
            store.close()
            raise

    def root(self, version: VersionRecord) -> Entry:
        """The root directory of a version."""
        return version.root.entry()

    def content(self, entry: Entry) -> Iterator[bytes]:
        """The bytes of a file or of a reference, in pieces.

        Raises as `reading.content` and `References.content`.
        """
        if entry.kind == Kind.REFERENCE:
            return self.references.content(entry)
        return reading.content(entry, self.blobs)

    def close(self) -> None:
        """Release descriptors and connections. Idempotent."""
        for part in self._parts():
            part.close()

    def close_when_dropped(self, at_exit: bool = True) -> None:
        """The same, when nobody has this object any more, and with `at_exit` when the process ends;
        in this process only, as what a child has inherited by fork is its parent's."""
        weakref.finalize(self, _close, os.getpid(), self._parts()).atexit = at_exit

    def _parts(self) -> Sequence[References | KnownBlobs | Blobs | Store]:
        return self.references, self.known, self.blobs, self.store

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_empty(store: Store) -> bool:
    if store.directory is None:
        return all(info.key.startswith(PROBE) for info in store.list(""))
    return RESERVED.issuperset(name for name in os.listdir(store.directory) if name != "lost+found")


def cached(store: Store, store_id: str, cache: Path, options: StoreOptions) -> Store:
    """A store with its cache, if reading from it waits for a network; else the store."""
    if not store.is_remote:
        return store
    from artfs.store.cached.store import CachedStore  # a directory needs none of it

    return CachedStore(
        store, cache / store_id, keys.PACKS, keys.is_version,
        size=options.cache_size, requests=options.s3.connections,
    )  # fmt: skip


def _close(owner: int, parts: Sequence[References | KnownBlobs | Blobs | Store]) -> None:
    if os.getpid() == owner:
        for part in parts:
            part.close()


def _store_record(store: Store, create: bool) -> StoreRecord:
    try:
        return record.decode(store.get(keys.STORE), StoreRecord, f"{store.url}/{keys.STORE}")
    except ObjectNotFound:
        if not create:
            raise NotFound(store.url, "is not an artfs store", "artfs init makes one") from None
    if not _is_empty(store):
        try:
            return _store_record(store, create=False)  # another has made it this moment
        except NotFound:
            raise AlreadyExists(
                store.url, "is not empty, and no artfs store", "give a new or an empty place"
            ) from None
    new = StoreRecord(FORMAT, uuid.uuid4().hex)
    try:
        store.put_if_absent(keys.STORE, record.encode(new))
    except AlreadyExists:
        return _store_record(store, create=False)
    return new
