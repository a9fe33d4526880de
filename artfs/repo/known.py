"""Which blobs a store holds already, and where: a local index, rebuilt at will.

The truth is in the packs' own indexes; this SQLite file only saves reading them. It may lag
behind what other machines store (then a blob is stored twice) and may name a pack that is gone
(`PackWriter.finish` looks before anything refers to it), so losing it or never having it is
harmless. Thread-safe; several processes may share it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from artfs.errors import Damaged, ObjectNotFound
from artfs.format import keys
from artfs.repo.blobs import Blobs
from artfs.store.base import Store
from artfs.types import BlobRef

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
#: With more packs than this in the store, listing them costs more than a small commit: then only
#: a commit that brings much data looks for what other machines have stored.
CHEAP_LISTING = 2000


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
        found: dict[bytes, BlobRef] = {}
        with self._lock:
            db = self._open()
            for i in range(0, len(wanted), _QUERY):
                part = wanted[i : i + _QUERY]
                rows = db.execute(_FIND % ",".join("?" * len(part)), part)
                found.update({row[0]: BlobRef(*row) for row in rows})
        return found

    def add(self, pack_id: bytes, blobs: Iterable[BlobRef]) -> None:
        """Take up the blobs of one pack."""
        with self._write() as db:
            db.execute("INSERT OR IGNORE INTO packs (id) VALUES (?)", (pack_id,))
            (number,) = db.execute("SELECT number FROM packs WHERE id = ?", (pack_id,)).fetchone()
            db.executemany(
                "INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?)",
                ((b.digest, b.size, number, b.offset, b.stored) for b in blobs),
            )

    def forget(self, pack_id: bytes) -> None:
        """Drop a pack that is gone, and its blobs."""
        with self._write() as db:
            db.execute(
                "DELETE FROM blobs WHERE pack IN (SELECT number FROM packs WHERE id = ?)",
                (pack_id,),
            )
            db.execute("DELETE FROM packs WHERE id = ?", (pack_id,))

    def is_cheap(self) -> bool:
        """Whether the store is small enough to `refresh` before every commit."""
        with self._lock:
            row = self._open().execute("SELECT count(*) FROM packs").fetchone()
        return int(row[0]) < CHEAP_LISTING

    def refresh(self) -> None:
        """Read the indexes of packs stored by others; forget packs that are gone.

        Raises `Unreachable`. A damaged pack is passed over: nothing will be reused from it.
        """
        there = {keys.pack_of(info.key) for info in self._store.list(keys.PACKS)}
        with self._lock:
            known = {row[0] for row in self._open().execute("SELECT id FROM packs")}
        for pack_id in known - there:
            self.forget(pack_id)
        for pack_id in there - known:
            self.add(pack_id, self._index(pack_id))

    def _index(self, pack_id: bytes) -> list[BlobRef]:
        try:
            return [ref for _, ref in self._blobs.pack_index(pack_id)]
        except (Damaged, ObjectNotFound):
            return []

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            try:
                self._db = _connect(self._path)
            except (sqlite3.DatabaseError, OSError):
                with contextlib.suppress(OSError):
                    self._path.unlink(missing_ok=True)
                try:
                    self._db = _connect(self._path)
                except (sqlite3.DatabaseError, OSError):
                    # No place to keep it: the index of this process alone.
                    self._db = _connect(Path(":memory:"))
        return self._db

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            db = self._open()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def close(self) -> None:
        """Close the file. Idempotent; the next use opens it again."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None


def _connect(path: Path) -> sqlite3.Connection:
    if str(path) != ":memory:":
        path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=OFF")  # a torn index is found by the check and rebuilt
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError("written by another artfs")
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version={_VERSION}")
    except BaseException:
        db.close()
        raise
    return db
