"""The draft as it was at one instant, for a thread: a read transaction of its own on the journal.

`take` is called in the event loop, when everything is saved and committed; from then on the
snapshot shows that state whatever the mount does. The rest blocks, and belongs to one thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from artfs.format import walk
from artfs.repo.blobs import Blobs
from artfs.repo.reading import drive
from artfs.types import Entry
from artfs.vfs.draft import codec, numbers
from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.emptying import connect
from artfs.vfs.draft.intervals import Range
from artfs.vfs.draft.ranges import written
from artfs.vfs.tree import ROOT

_PAGE = 256


class Snapshot:
    """Inodes, names and changes as of `take`. `close` it: while open, the log cannot be emptied."""

    def __init__(self, db: sqlite3.Connection, blobs: Blobs) -> None:
        self._db = db
        self._blobs = blobs
        self._grafts: dict[int, Entry] = {}

    @classmethod
    def take(cls, journal: Path, blobs: Blobs) -> Snapshot:
        """The committed state of a journal now."""
        db = connect(journal, read_only=True)
        db.execute("BEGIN")
        db.execute("SELECT 1 FROM counters").fetchone()  # BEGIN alone does not read yet
        return cls(db, blobs)

    def close(self) -> None:
        """Let the journal go. Idempotent."""
        self._db.close()

    def inode(self, ino: int) -> Inode:
        """An inode by number."""
        row = self._db.execute("SELECT * FROM inodes WHERE ino = ?", (ino,)).fetchone()
        if row is not None:
            return codec.of_row(row)
        graft, ordinal = numbers.split(ino)
        way = drive(walk.at(self._graft(graft), ordinal), self._blobs)
        home = (numbers.of_base(graft, way[-2][0]), way[-1][1].name) if ordinal else None
        return codec.of_entry(ino, way[-1][1], home, 0, 0)

    def _graft(self, graft: int) -> Entry:
        if graft not in self._grafts:
            row = self._db.execute("SELECT root FROM grafts WHERE graft = ?", (graft,)).fetchone()
            self._grafts[graft] = codec.unpack(row[0])
        return self._grafts[graft]

    def find(self, parent: Inode, name: bytes) -> Inode | None:
        """The inode with a name in a directory."""
        row = self._db.execute(
            "SELECT ino FROM dentries WHERE parent = ? AND name = ?", (parent.ino, name)
        ).fetchone()
        if row is not None:
            return self.inode(row[0]) if row[0] else None
        if parent.lower is None:
            return None
        _, ordinal = numbers.split(parent.ino)
        found = drive(walk.find(parent.lower, ordinal, name), self._blobs)
        if found is None:
            return None
        ino = numbers.sibling(parent.ino, found[0])
        row = self._db.execute("SELECT * FROM inodes WHERE ino = ?", (ino,)).fetchone()
        if row is not None:
            return codec.of_row(row)
        return codec.of_entry(ino, found[1], (parent.ino, name), 0, 0)

    def changes(self, directory: int) -> Iterator[tuple[bytes, int]]:
        """(name, kind) of what changed in a directory since the last commit, in name order."""
        after: bytes | None = None
        while True:
            rows = self._db.execute(
                "SELECT name, kind FROM changes WHERE dir = ? AND (? IS NULL OR name > ?)"
                " ORDER BY name LIMIT ?",
                (directory, after, after, _PAGE),
            ).fetchall()
            yield from rows
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def has_changes(self, directory: int) -> bool:
        """Whether anything changed in, or below, a directory."""
        row = self._db.execute("SELECT 1 FROM changes WHERE dir = ? LIMIT 1", (directory,))
        return row.fetchone() is not None

    def base(self) -> Entry:
        """The root directory as the last commit, or the version beneath, has it."""
        root = self.inode(ROOT)
        found = self.committed(root)
        assert found is not None  # a draft over nothing has an empty directory beneath
        return found

    def committed(self, directory: Inode) -> Entry | None:
        """A directory as the last commit, or the base, has it; None if it is new."""
        row = self._db.execute(
            "SELECT entry FROM committed WHERE dir = ?", (directory.ino,)
        ).fetchone()
        return codec.unpack(row[0]) if row is not None else directory.lower

    def extents(self, ino: int, epoch: int) -> Iterator[Range]:
        """All written ranges of a layer."""
        return iter(
            self._db.execute(
                "SELECT start, finish FROM extents WHERE ino = ? AND epoch = ? ORDER BY start",
                (ino, epoch),
            )
        )

    def extents_in(self, ino: int, epoch: int, start: int, end: int) -> list[Range]:
        """The written ranges of a layer that overlap or touch [start, end)."""
        return written(self._db, ino, epoch, start, end)

    def origin(self, ino: int) -> tuple[int, bytes] | None:
        """(directory, name) where the last commit has an inode that was renamed since."""
        found: tuple[int, bytes] | None = self._db.execute(
            "SELECT parent, name FROM origins WHERE ino = ?", (ino,)
        ).fetchone()
        return found

    def moved_away(self, directory: int, name: bytes) -> bool:
        """Whether what the last commit has at a place has been renamed since."""
        row = self._db.execute(
            "SELECT 1 FROM origins WHERE parent = ? AND name = ?", (directory, name)
        )
        return row.fetchone() is not None

    def contested(self) -> list[bytes]:
        """Paths that a version taken over had changed as well."""
        return [path for (path,) in self._db.execute("SELECT path FROM contested ORDER BY path")]

    def specials(self) -> list[bytes]:
        """Paths of the FIFOs, sockets and devices, which no version can hold."""
        rows = self._db.execute(
            "SELECT ino FROM inodes WHERE (mode & 61440) IN (4096, 8192, 24576, 49152)"
            " AND nlink > 0"
        ).fetchall()
        return sorted(path for (ino,) in rows for path in self._paths(ino))

    def _paths(self, ino: int) -> list[bytes]:
        rows = self._db.execute(
            "SELECT parent, name FROM dentries WHERE ino = ? AND ino > 0", (ino,)
        ).fetchall()
        return [b"/".join([*self._parts(parent), name]) for parent, name in rows]

    def old_path(self, place: tuple[int, bytes]) -> bytes:
        """The path that a place had in the last commit."""
        directory, name = place
        parts = [name]
        while directory != ROOT:
            directory, name = self.origin(directory) or self._place(directory)
            parts.append(name)
        return b"/".join(reversed(parts))

    def _parts(self, directory: int) -> list[bytes]:
        """The path of a directory, name by name."""
        parts: list[bytes] = []
        while directory != ROOT:
            directory, name = self._place(directory)
            parts.append(name)
        return parts[::-1]

    def _place(self, directory: int) -> tuple[int, bytes]:
        row: tuple[int, bytes] | None = self._db.execute(
            "SELECT parent, name FROM dentries WHERE ino = ? AND ino > 0", (directory,)
        ).fetchone()
        place = row or self.inode(directory).home
        assert place is not None, f"inode {directory} has no name"
        return place
