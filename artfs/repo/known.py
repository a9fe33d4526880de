"""Which blobs a store holds already, and where: a local index, rebuilt at will.

The truth is in the packs' own indexes; this SQLite file only saves reading them. It may lag
behind what other machines store (then a blob is stored twice) and may name a pack that is gone
(`PackWriter.finish` looks before anything refers to it), so losing it or never having it is
harmless. Thread-safe; several processes may share it.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import TypeVar

from artfs.errors import Damaged, ObjectNotFound
from artfs.format import keys
from artfs.repo.blobs import Blobs
from artfs.store.base import Store
from artfs.types import BlobRef

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS packs (
    number INTEGER PRIMARY KEY,     -- short for the id in table blobs
    id     BLOB NOT NULL UNIQUE     -- 16 bytes
);
CREATE TABLE IF NOT EXISTS blobs (
    digest BLOB PRIMARY KEY,        -- 32 bytes
    size   INTEGER NOT NULL,        -- raw bytes
    pack   INTEGER NOT NULL,        -- packs.number; a row without its pack does not count
    offset INTEGER NOT NULL,
    stored INTEGER NOT NULL
) WITHOUT ROWID;
"""
_FIND = (
    "SELECT b.digest, b.size, p.id, b.offset, b.stored FROM blobs b"
    " JOIN packs p ON p.number = b.pack WHERE b.digest IN (%s)"
)
#: Digests asked for in one query; SQLite's own limit is 32,766.
_QUERY = 256
_VERSION = 1
#: With more packs than this in the store, listing them costs more than a small commit, 5 of its
#: 9 ms at 600 packs in a directory: then only a commit that brings much data looks for what other
#: machines have stored.
CHEAP_LISTING = 64
#: Of a huge store so many packs are listed; what lies in others may be stored twice.
_LISTED_MOST = 100_000
#: One listing shows 1,000 packs. So if there are fewer, it takes one request, and is worth it where
#: it replaces several.
_ONE_LISTING, _WORTH_LISTING = 900, 3


class KnownBlobs:
    """The index of one store, in the SQLite file `path`."""

    def __init__(self, path: Path, store: Store, blobs: Blobs) -> None:
        self._path = path
        self._store = store
        self._blobs = blobs
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None

    def find(self, wanted: Sequence[bytes]) -> dict[bytes, BlobRef]:
        """Where blobs lie, as far as this index knows, by digest.

        Ask for many at once: SQLite lets go of the interpreter's lock at each query, and getting
        it back costs more than the query.
        """

        def find(db: sqlite3.Connection) -> dict[bytes, BlobRef]:
            found: dict[bytes, BlobRef] = {}
            for i in range(0, len(wanted), _QUERY):
                part = wanted[i : i + _QUERY]
                rows = db.execute(_FIND % ",".join("?" * len(part)), part)
                found.update({row[0]: BlobRef(*row) for row in rows})
            return found

        return self._run(find)

    def add(self, pack_id: bytes, blobs: Sequence[BlobRef]) -> None:
        """Take up the blobs of one pack."""

        def add(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.execute("INSERT OR IGNORE INTO packs (id) VALUES (?)", (pack_id,))
                found = db.execute("SELECT number FROM packs WHERE id = ?", (pack_id,))
                (number,) = found.fetchone()
                db.executemany(
                    "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?)",
                    ((b.digest, b.size, number, b.offset, b.stored) for b in blobs),
                )

        self._run(add)

    def forget(self, pack_id: bytes) -> None:
        """Drop a pack that is gone, and its blobs."""

        def forget(db: sqlite3.Connection) -> None:
            with _transaction(db):
                number = "(SELECT number FROM packs WHERE id = ?)"
                db.execute(f"DELETE FROM blobs WHERE pack IN {number}", (pack_id,))
                db.execute("DELETE FROM packs WHERE id = ?", (pack_id,))

        self._run(forget)

    def is_cheap(self) -> bool:
        """Whether the store is small enough to `refresh` before every commit."""
        return self._count() < CHEAP_LISTING

    def _count(self) -> int:
        count = self._run(lambda db: db.execute("SELECT count(*) FROM packs").fetchone())
        return int(count[0])

    def there(self, packs: Set[bytes]) -> set[bytes]:
        """Which of some packs the store has, now. Raises `Unreachable`."""
        if self._store.is_remote and len(packs) > _WORTH_LISTING and self._count() < _ONE_LISTING:
            listed = (info.key for info in self._store.list(keys.PACKS))
            return {keys.pack_of(key) for key in listed if keys.is_pack(key)} & packs
        names = {keys.pack(pack_id): pack_id for pack_id in packs}
        return {names[key] for key in self._store.existing(names)}

    def refresh(self, most: int) -> bool:
        """Read the indexes of packs stored by others, over a network of `most` packs, the newest
        ones; forget packs that are gone. Whether all packs are known now.

        Raises `Unreachable`. A damaged pack is passed over: nothing will be reused from it.
        """
        listed = list(itertools.islice(self._store.list(keys.PACKS), _LISTED_MOST))
        there = {keys.pack_of(info.key): info for info in listed if keys.is_pack(info.key)}
        known = self._run(lambda db: {row[0] for row in db.execute("SELECT id FROM packs")})
        if len(listed) < _LISTED_MOST:
            for pack_id in known - there.keys():
                self.forget(pack_id)
        unknown = sorted(there.keys() - known, key=lambda pack_id: there[pack_id].modified)
        wanted = unknown[-most:] if self._store.is_remote else unknown
        for pack_id in wanted:
            self.add(pack_id, self._index(pack_id, there[pack_id].size))
        return len(wanted) == len(unknown)

    def _index(self, pack_id: bytes, size: int) -> list[BlobRef]:
        try:
            return [ref for _, ref in self._blobs.pack_index(pack_id, size)]
        except (Damaged, ObjectNotFound):
            return []

    def _run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Do it, whatever the state of the file: a damaged one is made anew; where none can be
        kept (no room, no right, held too long by others) this process has an index of its own."""
        with self._lock:
            try:
                return operation(self._open(self._path))
            except (sqlite3.Error, OSError) as error:
                self.close()
                if not _is_damage(error):
                    return operation(self._open(_NOWHERE))
            try:
                # With its companions, which must not be taken for the new file's.
                for end in ("", "-wal", "-shm"):
                    self._path.with_name(self._path.name + end).unlink(missing_ok=True)
                return operation(self._open(self._path))
            except (sqlite3.Error, OSError):
                self.close()
                return operation(self._open(_NOWHERE))

    def _open(self, path: Path) -> sqlite3.Connection:
        if self._db is None:
            self._db = _connect(path)
        return self._db

    def close(self) -> None:
        """Close the file. Idempotent; the next use opens it again."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None


_NOWHERE = Path(":memory:")
_NO_DAMAGE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
}  # fmt: skip


def _is_damage(error: Exception) -> bool:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return isinstance(error, sqlite3.Error) and code & 0xFF not in _NO_DAMAGE


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    if path != _NOWHERE:
        path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        # A reset may lose what was added last, but must not mix old pages with new ones: a row
        # with the wrong pack would become part of a version.
        db.execute("PRAGMA synchronous=NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError("written by another artfs")
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version={_VERSION}")
    except BaseException:
        db.close()
        raise
    return db
