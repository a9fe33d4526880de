"""From a snapshot of a draft to the tree of its next version, along what changed.

Only directories with rows in `changes` are visited, and in them only the names that changed; all
else is taken over from the last commit as it is. Blocks; belongs to one thread.
"""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from artfs.format import digest as digests
from artfs.format.build import Root
from artfs.format.walk import Numbered
from artfs.repo import editing, reading
from artfs.repo.chunking import rechunk_file, store_file
from artfs.repo.packing import PackWriter
from artfs.repo.reference_file import ReferenceFile
from artfs.repo.repository import Repository
from artfs.types import Entry, Kind
from artfs.vfs.draft import codec
from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.content import BASE, ZEROS, plan
from artfs.vfs.draft.datafiles import Frozen
from artfs.vfs.draft.intervals import Intervals
from artfs.vfs.draft.snapshot import Snapshot
from artfs.vfs.tree import ROOT

Foreign: TypeAlias = tuple[int, int, bytes, bytes | None, int]


class Results:
    """What a commit has stored of which inode: on disk, as there may be millions of them."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # Only of use to this process, so nothing of it needs to survive.
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE stored (ino INTEGER PRIMARY KEY, is_dir, entry)")
        self._db.execute("CREATE TABLE foreign_ (n INTEGER PRIMARY KEY, dir, path, entry, ordinal)")
        self._db.execute("BEGIN")

    def add(self, inode: Inode, entry: Entry) -> None:
        """Note what an inode has become in the version."""
        self._db.execute(
            "REPLACE INTO stored VALUES (?, ?, ?)", (inode.ino, inode.is_dir, codec.pack(entry))
        )

    def drop(self, ino: int) -> None:
        """Forget what was noted of an inode."""
        self._db.execute("DELETE FROM stored WHERE ino = ?", (ino,))

    def clear(self) -> None:
        """Forget all."""
        self._db.execute("DELETE FROM stored")
        self._db.execute("DELETE FROM foreign_")

    def find(self, ino: int) -> Entry | None:
        """What was noted of an inode."""
        row = self._db.execute("SELECT entry FROM stored WHERE ino = ?", (ino,)).fetchone()
        return codec.unpack(row[0]) if row is not None else None

    def page(self, after: int, size: int) -> list[tuple[int, bool, bytes]]:
        """Some (inode, whether a directory, packed entry), by number."""
        rows: list[tuple[int, bool, bytes]] = self._db.execute(
            "SELECT * FROM stored WHERE ino > ? ORDER BY ino LIMIT ?", (after, size)
        ).fetchall()
        return rows

    def add_foreign(self, directory: int, path: bytes, found: Numbered | None) -> None:
        """Note what others made of a path, in a directory: the entry with its ordinal in the new
        version, or None if they removed it."""
        ordinal, entry = (found[0], codec.pack(found[1])) if found is not None else (0, None)
        self._db.execute(
            "INSERT INTO foreign_ VALUES (NULL, ?, ?, ?, ?)", (directory, path, entry, ordinal)
        )

    def foreign_page(self, after: int, size: int) -> list[Foreign]:
        """Some (number, directory, path, packed entry or None, ordinal), by number."""
        return self._db.execute(
            "SELECT * FROM foreign_ WHERE n > ? ORDER BY n LIMIT ?", (after, size)
        ).fetchall()

    def close(self) -> None:
        """Remove them. Idempotent."""
        self._db.close()
        self._path.unlink(missing_ok=True)


class _Visit:
    """A directory on the way: which names are still to do, and what became of the others."""

    def __init__(self, inode: Inode, name: bytes, todo: Iterator[tuple[bytes, int]]) -> None:
        self.inode = inode
        self.name = name
        self.todo = todo
        self.changes: dict[bytes, Entry | None] = {}


class Builder:
    """Builds one version's tree."""

    def __init__(
        self, snapshot: Snapshot, data: Frozen, repository: Repository, writer: PackWriter,
        results: Results,
    ) -> None:  # fmt: skip
        self._snapshot = snapshot
        self._data = data
        self._repository = repository
        self._blobs = repository.blobs
        self._writer = writer
        self._results = results

    def root(self) -> Entry:
        """Store everything, and return the root directory.

        A loop and not a recursion: directories may be nested deeper than Python's stack.
        """
        visits = [self._visit(self._snapshot.inode(ROOT), b"")]
        while True:
            visit = visits[-1]
            name, _ = next(visit.todo, (None, 0))
            if name is None:
                entry = self._finish(visits.pop())
                if not visits:
                    return entry
                visits[-1].changes[visit.name] = entry
                continue
            inode = self._snapshot.find(visit.inode, name)
            if inode is None:
                visit.changes[name] = None
            elif inode.is_dir:
                visits.append(self._visit(inode, name))
            else:
                visit.changes[name] = self._leaf(inode, name)

    def _visit(self, inode: Inode, name: bytes) -> _Visit:
        return _Visit(inode, name, self._snapshot.changes(inode.ino))

    def _finish(self, visit: _Visit) -> Entry:
        inode = visit.inode
        before = self._snapshot.committed(inode) or editing.empty_directory()
        entry = msgspec.structs.replace(
            editing.edit(before, visit.changes, self._writer, self._blobs),
            name=visit.name, mode=stat.S_IMODE(inode.mode), mtime_ns=inode.mtime_ns,
        )  # fmt: skip
        if visit.changes:
            self._results.add(inode, entry)
        return entry

    def _leaf(self, inode: Inode, name: bytes) -> Entry | None:
        mode = stat.S_IMODE(inode.mode)
        if inode.is_file:
            content = self._content(inode)
            return msgspec.structs.replace(content, name=name, mode=mode, mtime_ns=inode.mtime_ns)
        if stat.S_ISLNK(inode.mode):
            digest = digests.of_link(inode.target)
            return Entry(
                name, Kind.SYMLINK, 0o777, inode.mtime_ns, len(inode.target), 0, digest,
                target=inode.target,
            )  # fmt: skip
        return None  # FIFOs, sockets and devices stay behind

    def _content(self, inode: Inode) -> Entry:
        if inode.lower is not None and not inode.has_own_content():
            return inode.lower
        done = self._results.find(inode.ino) if inode.nlink > 1 else None
        if done is not None:
            return done
        root = self._store(inode)
        entry = Entry(b"", Kind.FILE, 0o644, 0, root.size, 0, root.digest, root.blob, root.height)
        self._results.add(inode, entry)
        return entry

    def _store(self, inode: Inode) -> Root:
        reader = FrozenFile(inode, self._snapshot, self._data, self._repository)
        lower = inode.lower
        if lower is None or lower.kind != Kind.FILE or inode.base_len == 0:
            return store_file(reader.read, inode.size, self._writer)
        dirty = Intervals([(inode.base_len, max(inode.base_len, lower.size))])
        for layer in inode.layers:
            if layer.limit >= 0:
                dirty.add(0, min(layer.limit, inode.size))
            else:
                for start, end in self._snapshot.extents(inode.ino, layer.epoch):
                    dirty.add(start, end)
        return rechunk_file(lower, inode.size, list(dirty), reader.read, self._writer, self._blobs)


class FrozenFile:
    """A file's content as of a snapshot."""

    def __init__(
        self, inode: Inode, snapshot: Snapshot, data: Frozen, repository: Repository
    ) -> None:
        self._inode = inode
        self._snapshot = snapshot
        self._blobs = repository.blobs
        self._reference: ReferenceFile | None = None
        if inode.lower is not None and inode.lower.kind == Kind.REFERENCE and inode.base_len:
            self._reference = ReferenceFile(repository.references, inode.lower)
        self._files = {
            layer.epoch: data.get(inode.ino, layer.epoch, inode.size) for layer in inode.layers
        }

    def read(self, offset: int, length: int) -> bytes:
        """Exactly the bytes of the content."""
        inode = self._inode
        written = {
            layer.epoch: self._snapshot.extents_in(inode.ino, layer.epoch, offset, offset + length)
            for layer in inode.layers
            if layer.limit < 0
        }
        parts = []
        for piece in plan(inode, offset, offset + length, written):
            size = piece.end - piece.start
            if piece.source == ZEROS:
                parts.append(bytes(size))
            elif piece.source == BASE:
                assert inode.lower is not None
                if self._reference is not None:
                    parts.append(self._reference.read(piece.start, size))
                    continue
                parts += reading.content(inode.lower, self._blobs, piece.start, size)
            else:
                file = self._files[piece.source]
                parts.append(file.read(piece.start, size) if file is not None else bytes(size))
        return parts[0] if len(parts) == 1 else b"".join(parts)
