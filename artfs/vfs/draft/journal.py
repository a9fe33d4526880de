"""The overlay of a draft on disk: one SQLite file, `journal.sqlite`.

Module `schema` is the reference of the format. Blocking calls of some 10 us, made from the event
loop; only `sync`, `checkpoint` and `restart_log` wait for the disk, and are called from a thread. A
transaction is open from the first change on; what is changed between two awaits is therefore in one
transaction, and `commit` ends it: from then on it outlives the daemon, after `sync` the machine as
well.

Inodes, names, changes and written ranges that are new or newer are gathered before they go into
their tables, many at a time; and where nothing else was changed, `note` makes them outlive the
daemon without ending the transaction, by way of `recent`. All but `commit` see the same with or
without.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from artfs.vfs.draft.emptying import Emptying, connect
from artfs.vfs.draft.intervals import Intervals, Range
from artfs.vfs.draft.putting import PUT_CHANGE, PUT_DENTRY, PUT_INODE, put
from artfs.vfs.draft.ranges import Gathered, put_range, written
from artfs.vfs.draft.recent import Recent
from artfs.vfs.draft.schema import NEVER, migrate
from artfs.vfs.draft.wal import Log
from artfs.vfs.errors import FileSystemError

#: Numbers are taken in blocks, so that most new inodes do not touch `counters`.
_BLOCK = 1024
#: Names that are remembered: each operation on one asks for it several times.
_DENTRIES = 1 << 14
#: A WAL larger than this is copied into the database; the second where there is little room.
_CHECKPOINT, _CHECKPOINT_LOW = 16 << 20, 2 << 20
#: What a changed row adds to the log at most, on average: a page of its table and some of an index.
_ROW = 2 << 10
#: So many ranges that follow each other share a page, at least.
_EXTENTS = 16
#: The WAL's pages are 1 KiB: with SQLite's 4 KiB a created file costs 27 KB of log, so 8 KB.
_PAGE = 1024

#: Rows that may be noted and not committed yet: some milliseconds of work.
_NOTED = 1024

_encode = msgspec.msgpack.Encoder().encode

CONTENT, NAME = 0, 1
Row: TypeAlias = tuple[
    int, int, int, int, int, int, int, int, int, int, bytes, bytes | None, int, bytes | None,
    int | None, bytes | None,
]  # fmt: skip
Place: TypeAlias = tuple[int, bytes]


class Journal:
    """The connection of the event loop. `epoch` is the one that changes belong to now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = connect(path)
        self._db.execute(f"PRAGMA page_size = {_PAGE}")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        # It waits for the disk; `artfs.vfs.draft.emptying` does it in a thread.
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        migrate(self._db, path)
        self._numbers = {"ino": (0, 0), "seq": (0, 0)}
        self.epoch = self._counter("epoch")
        #: Layers from this epoch on may lie in shared data files.
        self.shared_from = self._counter("shared")
        #: Rows of `dentries`, or that there is none, as they are now.
        self._dentries: dict[Place, tuple[int, int] | None] = {}
        #: Directories that have no other rows there than these.
        self._whole: set[int] = set()
        self._open = False
        self._failed = False
        self._changes_before = 0
        self._log = Log(path, _PAGE)
        #: Whether the log has got a transaction since somebody set this to False.
        self.has_grown = True
        self._emptying = Emptying(path, self._log)
        #: Rows that are not in their tables yet.
        self._inodes: dict[int, Row] = {}
        self._names: dict[Place, tuple[int, int]] = {}
        self._changes: dict[Place, tuple[int, int]] = {}
        self._ranges = Gathered()
        #: Rows that are not noted yet, and whether anything else is not; in this order, as
        #: `put_inode`, `set_dentry`, `mark` and `add_extent` had them.
        self._fresh: list[list[Any]] = [[], [], [], []]
        self._other = False
        #: Of the last transaction, None before the first one; and of the next.
        self._generation: int | None = None
        self._next_generation = secrets.randbits(62)
        self._recent = Recent(path.with_suffix(".recent"))
        self._recover()

    def _recover(self) -> None:
        """Take in what a daemon that was killed had noted and not committed."""
        for record in self._recent.records(self._counter("recent")):
            # Records of before have no ranges.
            inodes, names, changes, *ranges = msgspec.msgpack.decode(record)
            self._begin()
            put(self._db, PUT_INODE, inodes)
            put(self._db, PUT_DENTRY, names)
            put(self._db, PUT_CHANGE, changes)
            for row in itertools.chain.from_iterable(ranges):
                put_range(self._db, *row)
        self.commit()

    # Transactions

    @property
    def pending(self) -> bool:
        """Whether there are changes to commit."""
        return self._open or self._has_gathered()

    def _has_gathered(self) -> bool:
        return bool(self._inodes or self._names or self._changes or self._ranges)

    @property
    def unnoted(self) -> bool:
        """Whether there are changes that a kill of the daemon would undo."""
        inodes, names, changes, ranges = self._fresh  # `any` takes four times as long
        return bool(self._other or inodes or names or changes or ranges)

    def _require(self) -> None:
        """Refuse what needs the tables when they are not what was answered for any more."""
        if self._open and not self._db.in_transaction:
            self._give_up()  # undone by SQLite, where a query failed
        if self._failed:
            why = "its journal could not be written; unmount it with --keep, and resume it"
            raise FileSystemError("draft", why)

    def _begin(self) -> None:
        self._require()
        if not self._open:
            with self._emptying.restarting:
                self._change("BEGIN IMMEDIATE")
            self._open = True
            self._changes_before = self._db.total_changes

    def _give_up(self) -> None:
        """Take no more changes: SQLite has refused one, and may have undone all of the transaction,
        which memory does not know. What was committed or noted before is in the files."""
        self._failed = True
        self._open = False
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _change(self, sql: str, args: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(sql, args)
        except sqlite3.Error:
            self._give_up()
            raise

    def do(self, sql: str, args: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Run a statement that changes something. Raises as `commit`."""
        self._begin()
        self._write_gathered()
        self._other = True
        return self._change(sql, args)

    def ask(self, sql: str, args: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Run a query. Raises as `commit`."""
        self._require()
        self._write_gathered()
        return self._db.execute(sql, args)

    def _write_gathered(self) -> None:
        if not self._has_gathered():
            return
        self._begin()
        try:
            put(self._db, PUT_INODE, list(self._inodes.values()))
            put(self._db, PUT_DENTRY, [(*at, *row) for at, row in self._names.items()])
            put(self._db, PUT_CHANGE, [(*at, *row) for at, row in self._changes.items()])
            self._ranges.put(self._db)
        except sqlite3.Error:
            self._give_up()
            raise
        self._inodes.clear()
        self._names.clear()
        self._changes.clear()
        self._ranges.clear()

    def note(self, at_once: bool = False) -> None:
        """See to it that what was changed outlives the daemon: commit it if that takes more than a
        note, or `at_once`. Raises what `commit` raises."""
        count = self.pending_rows
        if self._other or at_once or count > _NOTED or self._generation is None:
            self.commit()
        elif self.unnoted:
            self._require()
            if count * _ROW > self._log.room:
                self._log.reserve(count * _ROW)
            if self._recent.append(self._generation, _encode(self._fresh)):
                self._all_noted()
            else:
                self.commit()

    def _all_noted(self) -> None:
        for fresh in self._fresh:
            fresh.clear()
        self._other = False

    def commit(self) -> None:
        """End the transaction: what was changed outlives the daemon.

        Raises `NoSpace`: then it can be tried again. Raises `sqlite3.Error`: then no more changes
        are taken, see `_give_up`, nothing is called committed any more, and what needs the tables
        raises `FileSystemError`.
        """
        self._require()
        if self.pending:
            self._begin()  # first: a log that is beginning anew may get shorter
            self._log.reserve(self.pending_rows * _ROW)
            self._commit()

    def _commit(self) -> None:
        self._begin()
        self._write_gathered()
        generation = self._next_generation
        self._change("UPDATE counters SET value = ? WHERE name = 'recent'", (generation,))
        self._change("COMMIT")
        self._open = False
        self._generation, self._next_generation = generation, generation + 1
        self._recent.restart()
        self._log.grew()
        self.has_grown = True
        self._all_noted()

    @property
    def pending_rows(self) -> int:
        """Rows that the open transaction changed, or will before it is committed."""
        gathered = len(self._inodes) + len(self._names) + len(self._changes) + len(self._ranges)
        return gathered + (self._db.total_changes - self._changes_before if self._open else 0)

    def reserve(self, size: int) -> None:
        """See to it that the open transaction, with `size` bytes more in the log, can be committed
        and copied even on a full disk. Raises `NoSpace`."""
        size += self.pending_rows * _ROW
        if size > self._log.room:
            self._log.reserve(size)
            self._log.reserve_copy(size)

    def has_reserved(self, size: int) -> bool:
        """Whether `reserve` has nothing to do."""
        return size + self.pending_rows * _ROW <= self._log.room

    def sync(self) -> None:
        """Make everything committed outlive the machine. Blocks; any thread."""
        self._log.sync()

    def wants_checkpoint(self, is_low: bool) -> bool:
        """Whether the write-ahead log is long, for a disk that has little room or one that has."""
        limit = _CHECKPOINT_LOW if is_low else _CHECKPOINT
        return self._log.size > limit and self._log.uncopied > limit

    def checkpoint(self) -> None:
        """Copy the log into the database, so that it can begin anew. Blocks; any thread."""
        self._emptying.copy()

    def restart_log(self) -> None:
        """Begin the log anew if nobody reads it, and no transaction is open. Blocks, briefly if
        `checkpoint` has just been run; any thread. The event loop blocks, too, if it begins a
        transaction meanwhile."""
        self._emptying.restart()

    def log_changed(self) -> None:
        """The log was copied or began anew. Event loop: what it had found out meanwhile is old."""
        self._log.copied()

    def close(self) -> None:
        """Commit and close."""
        try:
            if self.pending and not self._failed:
                self._commit()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close without committing, as a kill would."""
        self._emptying.close()
        # The last connection deletes the log, unless it may only read; and a draft that is resumed
        # on a full disk needs the room that the log has.
        last = connect(self.path, read_only=True)
        try:
            last.execute("SELECT 1 FROM counters").fetchone()
        finally:
            self._db.close()
            last.close()
            self._log.close()
            self._recent.close()

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
        self.shared_from = NEVER
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
        self._require()
        if parent in self._whole:
            return None
        if self.pending:
            self._begin()  # or the query is a transaction of its own, which locks files
        found: tuple[int, int] | None = self._db.execute(
            "SELECT ino, seq FROM dentries WHERE parent = ? AND name = ?", key
        ).fetchone()
        self._remember(key, found)
        return found

    def _remember(self, key: tuple[int, bytes], row: tuple[int, int] | None) -> None:
        if len(self._dentries) >= _DENTRIES:
            self.forget_dentries()
        self._dentries[key] = row

    def is_new(self, directory: int) -> None:
        """A directory that has just been made has no rows in `dentries` yet."""
        self._whole.add(directory)

    def forget_dentries(self) -> None:
        """Ask for rows of `dentries` again."""
        self._write_gathered()
        self._dentries.clear()
        self._whole.clear()

    def set_dentry(self, parent: int, name: bytes, ino: int, seq: int) -> None:
        """Write a name."""
        self._remember((parent, name), (ino, seq))
        self._names[parent, name] = (ino, seq)
        self._fresh[1].append((parent, name, ino, seq))

    def drop_dentry(self, parent: int, name: bytes) -> None:
        """Forget a name."""
        self.do("DELETE FROM dentries WHERE parent = ? AND name = ?", (parent, name))
        self._remember((parent, name), None)

    def names_of(self, ino: int) -> list[Place]:
        """The names given to an inode in the draft."""
        return self.ask(
            "SELECT parent, name FROM dentries WHERE ino = ? AND ino > 0", (ino,)
        ).fetchall()

    # Changes

    def mark(self, directory: int, name: bytes, kind: int) -> None:
        """A name's entry differs from the last commit's, as of this epoch."""
        known = self._changes.get((directory, name))
        if known is not None:
            if known[0] == self.epoch and known[1] >= kind:
                return
            kind = max(kind, known[1])
        self._changes[directory, name] = (self.epoch, kind)
        self._fresh[2].append((directory, name, self.epoch, kind))

    def changed_since(self, directory: int, name: bytes, epoch: int) -> bool:
        """Whether a name was marked as changed after an epoch."""
        row = self.ask(
            "SELECT 1 FROM changes WHERE dir = ? AND name = ? AND epoch > ?",
            (directory, name, epoch),
        )
        return row.fetchone() is not None

    def clear_changes(self, after: Place, size: int, epoch: int) -> Place | None:
        """Of the next `size` changed names in their order, forget those that did not change after
        an epoch; the last of the names, None: there are no more."""
        last: Place | None = self.ask(
            "SELECT dir, name FROM changes WHERE (dir, name) > (?, ?) ORDER BY dir, name"
            " LIMIT 1 OFFSET ?",
            (*after, size - 1),
        ).fetchone()
        upto, end = ("", ()) if last is None else (" AND (dir, name) <= (?, ?)", last)
        self.do(
            f"DELETE FROM changes WHERE (dir, name) > (?, ?){upto} AND epoch <= ?",
            (*after, *end, epoch),
        )
        return last

    def clear(self, table: str, key: str, epoch: int, size: int) -> bool:
        """Forget up to `size` rows of a table that are not newer than an epoch; whether any."""
        found = self.do(
            f"DELETE FROM {table} WHERE {key} IN"
            f" (SELECT {key} FROM {table} WHERE epoch <= ? LIMIT ?)",
            (epoch, size),
        )
        return found.rowcount > 0

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
        row = self.ask(
            "SELECT kind FROM changes WHERE dir = ? AND name = ?", (directory, name)
        ).fetchone()
        return row[0] if row else None

    # Extents

    def extents(self, ino: int, epoch: int, start: int, end: int) -> list[Range]:
        """The written ranges that overlap [start, end), in order."""
        self._require()
        found = written(self._db, ino, epoch, start, end)
        gathered = self._ranges.within(ino, epoch, start, end)
        return list(Intervals([*found, *gathered])) if gathered else found

    def add_extent(self, ino: int, epoch: int, start: int, end: int) -> None:
        """[start, end) is written, too."""
        self._ranges.add(ino, epoch, start, end)
        self._fresh[3].append((ino, epoch, start, end))

    def drop_extents(self, ino: int, epoch: int, limit: int) -> int:
        """Nothing is written any more, but for what is behind `limit` ranges; how many there were
        up to there."""
        return self._delete_extents(
            "start IN (SELECT start FROM extents WHERE ino = ? AND epoch = ? LIMIT ?)",
            (ino, epoch, ino, epoch, limit),
        )

    def _delete_extents(self, which: str, args: tuple[int, ...]) -> int:
        """Delete successive ranges of a layer."""
        sql = f"DELETE FROM extents WHERE ino = ? AND epoch = ? AND {which}"
        deleted = self.do(sql, args).rowcount
        self._changes_before += deleted - deleted // _EXTENTS  # see `_ROW`
        return deleted

    def trim_extents(self, ino: int, epoch: int, size: int) -> None:
        """Nothing from `size` on is written any more."""
        self._delete_extents("start >= ?", (ino, epoch, size))
        self.do(
            "UPDATE extents SET finish = ? WHERE ino = ? AND epoch = ? AND finish > ?"
            " AND start = (SELECT max(start) FROM extents WHERE ino = ? AND epoch = ?)",
            (size, ino, epoch, size, ino, epoch),
        )

    # Inodes

    def inode(self, ino: int) -> Row | None:
        """The row of an inode."""
        gathered = self._inodes.get(ino)
        if gathered is not None:
            return gathered
        self._require()
        row: Row | None = self._db.execute("SELECT * FROM inodes WHERE ino = ?", (ino,)).fetchone()
        return row

    def changed_of(self, inodes: Iterable[int]) -> set[int]:
        """Which of some inodes have a row."""
        numbers = ",".join(map(str, inodes))
        rows = self.ask(f"SELECT ino FROM inodes WHERE ino IN ({numbers})")
        return {ino for (ino,) in rows}

    def put_inode(self, row: Row) -> None:
        """Write the row of an inode."""
        self._inodes[row[0]] = row
        self._fresh[0].append(row)
