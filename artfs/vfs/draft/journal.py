"""The overlay of a draft on disk: one SQLite file, `journal.sqlite`.

`_SCHEMA` is the reference of the format. Blocking calls of some 10 us, made from the event loop;
only `sync` and `checkpoint` wait for the disk, and are called from a thread. A transaction is
open from the first change on; what is changed between two awaits is therefore in one transaction,
and `commit` ends it: from then on it outlives the daemon, after `sync` the machine too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from artfs.errors import UnsupportedFormat
from artfs.vfs.draft.intervals import Range
from artfs.vfs.draft.wal import Log

_VERSION = 3

_CONTESTED = """
-- Paths changed here, while a commit went on, that were changed too by the version of others on
-- which it was put: the next commit is a conflict. `epoch`: as in `changes`.
CREATE TABLE contested (
    path  BLOB PRIMARY KEY,
    epoch INTEGER NOT NULL
) WITHOUT ROWID;
"""

#: What earlier formats lack. The data files of format 2 are not shared, so a new epoch begins.
_SHARED = """
UPDATE counters SET value = value + 1 WHERE name = 'epoch';
INSERT INTO counters SELECT 'shared', value FROM counters WHERE name = 'epoch';
"""
#: No epoch is as late.
_NEVER = 1 << 62
_LACKING = {1: _CONTESTED + _SHARED, 2: _SHARED}
_FIRST = "INSERT INTO counters VALUES ('epoch', 1), ('ino', 2), ('seq', 1), ('shared', 1);"

_SCHEMA = """
-- Bases: graft 0 is the version that the draft was opened over (or an empty directory), each other
-- one a version with changes of others that a commit took over.
CREATE TABLE grafts (
    graft INTEGER PRIMARY KEY,
    root  BLOB NOT NULL             -- codec.pack of the root directory's entry
);
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,         -- 'epoch': raised by each commit, never falls;
    value INTEGER NOT NULL          -- 'ino', 'seq': no number from here on has been given;
                                    -- 'shared': the epoch from which data files are shared
) WITHOUT ROWID;
-- Inodes made in the draft, and those of a base whose attributes, content or links changed.
CREATE TABLE inodes (
    ino      INTEGER PRIMARY KEY,   -- see numbers.py
    mode     INTEGER NOT NULL,      -- with the type
    uid      INTEGER NOT NULL,
    gid      INTEGER NOT NULL,
    rdev     INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    atime_ns INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    nlink    INTEGER NOT NULL,      -- a directory: 1 not counted, else 2 and its subdirectories
    target   BLOB NOT NULL,         -- of a symbolic link
    lower    BLOB,                  -- codec.pack of the entry beneath: a file's content, or the
                                    -- base's directory; NULL: nothing
    base_len INTEGER NOT NULL,      -- bytes of a file's `lower` that still count, from 0 on
    layers   BLOB,                  -- msgpack [[epoch, limit], ...], bottom first; NULL: none.
                                    -- Layer data/<ino>.<epoch> covers [0, limit), or, limit -1,
                                    -- what `extents` says
    home     INTEGER,               -- where a base's inode is in its base: directory and name
    home_name BLOB
);
CREATE INDEX inodes_special ON inodes(ino) WHERE (mode & 61440) IN (4096, 8192, 24576, 49152);
-- Names that are not as in the base.
CREATE TABLE dentries (
    parent INTEGER NOT NULL,
    name   BLOB NOT NULL,
    ino    INTEGER NOT NULL,        -- 0: the base's name is gone
    seq    INTEGER NOT NULL,        -- 0: the base has the name too, and its place in listings;
                                    -- else the place in listings, behind the base's names
    PRIMARY KEY (parent, name)
) WITHOUT ROWID;
CREATE INDEX dentries_ino ON dentries(ino) WHERE ino > 0;
CREATE INDEX dentries_seq ON dentries(parent, seq) WHERE seq > 0;
-- Ranges written over lower content: disjoint, not adjacent.
CREATE TABLE extents (
    ino    INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    start  INTEGER NOT NULL,
    finish INTEGER NOT NULL,
    PRIMARY KEY (ino, epoch, start)
) WITHOUT ROWID;
-- Names whose entry may differ from the last commit's. With a row, so has every directory above,
-- with an epoch at least as new.
CREATE TABLE changes (
    dir   INTEGER NOT NULL,
    name  BLOB NOT NULL,
    epoch INTEGER NOT NULL,         -- of the newest change
    kind  INTEGER NOT NULL,         -- 1: the name itself was made, removed or given to another
                                    -- inode; 0: something of, or below, its inode
    PRIMARY KEY (dir, name)
) WITHOUT ROWID;
-- Where inodes renamed since the last commit were in it.
CREATE TABLE origins (
    ino    INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,
    name   BLOB NOT NULL,
    epoch  INTEGER NOT NULL
);
CREATE INDEX origins_place ON origins(parent, name);
-- Directories as the last commit that changed them stored them; codec.pack of the entry.
CREATE TABLE committed (
    dir   INTEGER PRIMARY KEY,
    entry BLOB NOT NULL
);
-- Inodes without a name that are open, known to the kernel, or not yet swept.
CREATE TABLE dead (
    ino INTEGER PRIMARY KEY
);
"""

#: Numbers are taken in blocks, so that most new inodes do not touch `counters`.
_BLOCK = 1024
#: Names that are remembered: each operation on one asks for it several times.
_DENTRIES = 1 << 14
#: A WAL larger than this is copied into the database; the second where there is little room.
_CHECKPOINT, _CHECKPOINT_LOW = 16 << 20, 2 << 20
#: A WAL longer than this is cut when it begins anew.
_LOG_MAX = 64 << 20
#: What a changed row adds to the log at most, on average: a page of its table and some of an index.
_ROW = 2 << 10
#: The WAL's pages are 1 KiB: with SQLite's 4 KiB a created file costs 27 KB of log, so 8 KB.
_PAGE = 1024

CONTENT, NAME = 0, 1
Row: TypeAlias = tuple[
    int, int, int, int, int, int, int, int, int, int, bytes, bytes | None, int, bytes | None,
    int | None, bytes | None,
]  # fmt: skip


def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """A connection that leaves transactions to its user, in whichever thread that is."""
    mode = "ro" if read_only else "rwc"
    uri = f"file:{_quoted(path)}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    db.execute("PRAGMA cache_size = -8192")
    return db


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


class Journal:
    """The connection of the event loop. `epoch` is the one that changes belong to now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = connect(path)
        self._db.execute(f"PRAGMA page_size = {_PAGE}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        # A checkpoint waits for the disk; `checkpoint` does it in a thread.
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        self._migrate()
        self._numbers = {"ino": (0, 0), "seq": (0, 0)}
        self.epoch = self._counter("epoch")
        #: Layers from this epoch on may lie in shared data files.
        self.shared_from = self._counter("shared")
        #: Rows of `dentries`, or that there is none, as they are now.
        self._dentries: dict[tuple[int, bytes], tuple[int, int] | None] = {}
        self._open = False
        self._failed = False
        self._changes_before = 0
        self._log = Log(path, _PAGE)

    def _migrate(self) -> None:
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found == _VERSION:
            return
        if found > _VERSION:
            raise UnsupportedFormat(
                str(self.path), f"is written in format {found}, this artfs reads up to {_VERSION}",
                "use a newer artfs",
            )  # fmt: skip
        steps = _LACKING[found] if found else _SCHEMA + _CONTESTED + _FIRST
        version = f"PRAGMA user_version = {_VERSION};"
        self._db.executescript(f"BEGIN IMMEDIATE; {steps} {version} COMMIT;")

    # Transactions

    @property
    def pending(self) -> bool:
        """Whether there are changes to commit."""
        return self._open

    def do(self, sql: str, args: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Run a statement that changes something."""
        if self._failed:
            raise sqlite3.OperationalError("could not be written")
        if not self._open:
            self._db.execute("BEGIN IMMEDIATE")
            self._open = True
            self._changes_before = self._db.total_changes
        return self._db.execute(sql, args)

    def ask(self, sql: str, args: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Run a query."""
        return self._db.execute(sql, args)

    def commit(self) -> None:
        """End the transaction: what was changed outlives the daemon.

        Raises `NoSpace`: then it can be tried again. Raises `sqlite3.Error`: then SQLite has rolled
        the transaction back, which memory does not know, and no more changes are taken.
        """
        if self._open:
            self._log.reserve(self.pending_rows * _ROW)
            self._commit()

    def _commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error:
            self._failed = True
            raise
        finally:
            self._open = False

    @property
    def pending_rows(self) -> int:
        """Rows that the open transaction changed."""
        return self._db.total_changes - self._changes_before if self._open else 0

    def reserve(self, size: int) -> None:
        """See to it that the open transaction, with `size` bytes more in the log, can be committed
        and copied even on a full disk. Raises `NoSpace`."""
        size += self.pending_rows * _ROW
        self._log.reserve(size)
        self._log.reserve_copy(size)

    def sync(self) -> None:
        """Make everything committed outlive the machine. Blocks; any thread."""
        self._log.sync()

    def wants_checkpoint(self, is_low: bool) -> bool:
        """Whether the write-ahead log is long, for a disk that has little room or one that has."""
        return self._log.uncopied > (_CHECKPOINT_LOW if is_low else _CHECKPOINT)

    def checkpoint(self) -> None:
        """Copy the log into the database, so that it can begin anew. Blocks; any thread."""
        db = connect(self.path)
        try:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            db.close()
            self._log.copied()

    def restart_log(self) -> None:
        """Begin the log anew if nobody reads it, and no transaction is open. Blocks, briefly if
        `checkpoint` has just been run."""
        way = "TRUNCATE" if self._log.length > _LOG_MAX else "RESTART"
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            is_busy = self._db.execute(f"PRAGMA wal_checkpoint({way})").fetchone()[0]
        finally:
            self._log.copied()
            self._db.execute("PRAGMA busy_timeout = 30000")
        if is_busy:
            return
        # SQLite goes back to the beginning with the next transaction that changes a page.
        self.do("UPDATE counters SET value = value + 1 WHERE name = 'seq'")  # leaves a number out
        self.commit()

    def close(self) -> None:
        """Commit and close."""
        try:
            if self._open:
                self._commit()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close without committing, as a kill would."""
        # The last connection deletes the log, unless it may only read; and a draft that is resumed
        # on a full disk needs the room that the log has.
        last = connect(self.path, read_only=True)
        try:
            last.execute("SELECT 1 FROM counters").fetchone()
        finally:
            self._db.close()
            last.close()
            self._log.close()

    # Counters

    def _counter(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
        return int(row[0])

    def new(self, name: str) -> int:
        """The next number of counter 'ino' or 'seq'."""
        number, end = self._numbers[name]
        if number == end:
            number = self._counter(name)
            end = number + _BLOCK
            self.do("UPDATE counters SET value = ? WHERE name = ?", (end, name))
        self._numbers[name] = (number + 1, end)
        return number

    def share_nothing(self) -> None:
        """Every layer is to have a data file of its own. Of a draft that is being made."""
        self.shared_from = _NEVER
        self.do("UPDATE counters SET value = ? WHERE name = 'shared'", (self.shared_from,))

    def next_epoch(self) -> None:
        """Changes belong to a new epoch from now on."""
        self.epoch += 1
        self.do("UPDATE counters SET value = ? WHERE name = 'epoch'", (self.epoch,))

    # Names

    def dentry(self, parent: int, name: bytes) -> tuple[int, int] | None:
        """(ino, seq) of a name that is not as in the base."""
        key = parent, name
        if key in self._dentries:
            return self._dentries[key]
        found: tuple[int, int] | None = self._db.execute(
            "SELECT ino, seq FROM dentries WHERE parent = ? AND name = ?", key
        ).fetchone()
        self._remember(key, found)
        return found

    def _remember(self, key: tuple[int, bytes], row: tuple[int, int] | None) -> None:
        if len(self._dentries) >= _DENTRIES:
            self._dentries.clear()
        self._dentries[key] = row

    def forget_dentries(self) -> None:
        """Rows of `dentries` were changed by other means."""
        self._dentries.clear()

    def set_dentry(self, parent: int, name: bytes, ino: int, seq: int) -> None:
        """Write a name."""
        self.do("REPLACE INTO dentries VALUES (?, ?, ?, ?)", (parent, name, ino, seq))
        self._remember((parent, name), (ino, seq))

    def drop_dentry(self, parent: int, name: bytes) -> None:
        """Forget a name."""
        self.do("DELETE FROM dentries WHERE parent = ? AND name = ?", (parent, name))
        self._remember((parent, name), None)

    def names_of(self, ino: int) -> list[tuple[int, bytes]]:
        """The names given to an inode in the draft."""
        return self._db.execute(
            "SELECT parent, name FROM dentries WHERE ino = ? AND ino > 0", (ino,)
        ).fetchall()

    # Changes

    def mark(self, directory: int, name: bytes, kind: int) -> None:
        """A name's entry differs from the last commit's, as of this epoch."""
        self.do(
            "INSERT INTO changes VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " epoch = excluded.epoch, kind = max(kind, excluded.kind)"
            " WHERE epoch < excluded.epoch OR kind < excluded.kind",
            (directory, name, self.epoch, kind),
        )

    def changed_since(self, directory: int, name: bytes, epoch: int) -> bool:
        """Whether a name was marked as changed after an epoch."""
        row = self._db.execute(
            "SELECT 1 FROM changes WHERE dir = ? AND name = ? AND epoch > ?",
            (directory, name, epoch),
        )
        return row.fetchone() is not None

    def contest(self, path: bytes) -> None:
        """A path is changed here and, in a version taken over, by somebody else."""
        self.do("REPLACE INTO contested VALUES (?, ?)", (path, self.epoch))

    def add_graft(self, root: bytes) -> int:
        """A new base, by its packed root; its number."""
        row = self._db.execute("SELECT max(graft) + 1 FROM grafts").fetchone()
        self.do("INSERT INTO grafts VALUES (?, ?)", (row[0], root))
        return int(row[0])

    def change_kind(self, directory: int, name: bytes) -> int | None:
        """The `kind` of a changed name, None of one that has not changed."""
        row = self._db.execute(
            "SELECT kind FROM changes WHERE dir = ? AND name = ?", (directory, name)
        ).fetchone()
        return row[0] if row else None

    # Extents

    def extents(self, ino: int, epoch: int, start: int, end: int) -> list[Range]:
        """The written ranges that overlap or touch [start, end), whole."""
        return extents(self._db, ino, epoch, start, end)

    def add_extent(self, ino: int, epoch: int, start: int, end: int) -> None:
        """[start, end) is written, too."""
        near = self.extents(ino, epoch, start, end)
        if near and near[0][0] <= start and end <= near[0][1]:
            return
        for s, e in near:
            self.do(
                "DELETE FROM extents WHERE ino = ? AND epoch = ? AND start = ?", (ino, epoch, s)
            )
            start, end = min(start, s), max(end, e)
        self.do("INSERT INTO extents VALUES (?, ?, ?, ?)", (ino, epoch, start, end))

    def trim_extents(self, ino: int, epoch: int, size: int) -> None:
        """Nothing from `size` on is written any more."""
        self.do(
            "DELETE FROM extents WHERE ino = ? AND epoch = ? AND start >= ?", (ino, epoch, size)
        )
        self.do(
            "UPDATE extents SET finish = ? WHERE ino = ? AND epoch = ? AND finish > ?"
            " AND start = (SELECT max(start) FROM extents WHERE ino = ? AND epoch = ?)",
            (size, ino, epoch, size, ino, epoch),
        )

    # Inodes

    def inode(self, ino: int) -> Row | None:
        """The row of an inode."""
        row: Row | None = self._db.execute("SELECT * FROM inodes WHERE ino = ?", (ino,)).fetchone()
        return row

    def changed_of(self, inodes: Iterable[int]) -> set[int]:
        """Which of some inodes have a row."""
        numbers = ",".join(map(str, inodes))
        rows = self._db.execute(f"SELECT ino FROM inodes WHERE ino IN ({numbers})")
        return {ino for (ino,) in rows}

    def put_inode(self, row: Row) -> None:
        """Write the row of an inode."""
        self.do(f"REPLACE INTO inodes VALUES ({','.join('?' * 16)})", row)


def extents(db: sqlite3.Connection, ino: int, epoch: int, start: int, end: int) -> list[Range]:
    """The ranges of a layer that overlap or touch [start, end), whole, in order."""
    # Ranges are disjoint, so only the last one that begins before `start` can reach into it.
    before = db.execute(
        "SELECT start, finish FROM extents WHERE ino = ? AND epoch = ? AND start < ?"
        " ORDER BY start DESC LIMIT 1",
        (ino, epoch, start),
    ).fetchone()
    rest: list[Range] = db.execute(
        "SELECT start, finish FROM extents WHERE ino = ? AND epoch = ? AND start >= ?"
        " AND start <= ? ORDER BY start",
        (ino, epoch, start, end),
    ).fetchall()
    return [before, *rest] if before and before[1] >= start else rest
