"""What a draft has changed since its last commit: `artfs status`. Blocks; runs in a thread."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import msgspec

from artfs.errors import ArtfsError
from artfs.format import digest as digests
from artfs.format import walk
from artfs.repo.blobs import Blobs
from artfs.repo.reading import drive
from artfs.types import Entry
from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.journal import NAME
from artfs.vfs.draft.snapshot import Snapshot
from artfs.vfs.draft.state import Draft
from artfs.vfs.tree import ROOT


class PathChange(msgspec.Struct, frozen=True):
    """`change` is 'A', 'M', 'D' or 'R' (renamed from `old_path`, and perhaps modified too).

    A directory removed or renamed is one change. `size`: bytes written for it.
    """

    change: str
    path: bytes
    is_dir: bool
    size: int = 0
    old_path: bytes = b""


class DraftStatus(msgspec.Struct, frozen=True):
    """`newest`: the artifact's newest version now (-1: none), where the store answers."""

    id: str
    artifact: str
    base: int
    newest: int | None
    changes: list[PathChange]
    written: int
    left_out: list[bytes]
    error: str


def status_of(draft: Draft, snapshot: Snapshot) -> DraftStatus:
    """The status of a draft as of a snapshot."""
    record = draft.record
    try:
        newest = draft.repository.catalog.newest_number(record.key)
    except ArtfsError:
        newest = None
    found = sorted(
        _Comparison(snapshot, draft.repository.blobs).changes(), key=lambda change: change.path
    )
    return DraftStatus(
        record.id, record.name, record.base, newest, found, sum(c.size for c in found),
        snapshot.specials(), record.error,
    )  # fmt: skip


class _Comparison:
    def __init__(self, snapshot: Snapshot, blobs: Blobs) -> None:
        self._snapshot = snapshot
        self._blobs = blobs

    def changes(self) -> Iterator[PathChange]:
        """All changes. A stack and not a recursion, as directories may be nested deeply."""
        root = self._snapshot.inode(ROOT)
        todo = [(root, b"", self._snapshot.committed(root))]
        while todo:
            directory, prefix, before = todo.pop()
            for name, kind in self._snapshot.changes(directory.ino):
                now = self._snapshot.find(directory, name)
                old = self._old(before, name)
                yield from self._change(directory, prefix + name, name, kind, old, now)
                if now is not None and now.is_dir:
                    todo.append((now, prefix + name + b"/", self._before(now, kind, old)))

    def _old(self, before: Entry | None, name: bytes) -> Entry | None:
        found = drive(walk.find(before, 0, name), self._blobs) if before is not None else None
        return found[1] if found else None

    def _before(self, now: Inode, kind: int, old: Entry | None) -> Entry | None:
        """A directory's content to compare with: None for a new one."""
        if kind == NAME and self._snapshot.origin(now.ino) is None and not _same(now, old):
            return None
        return self._snapshot.committed(now)

    def _change(
        self, directory: Inode, path: bytes, name: bytes, kind: int, old: Entry | None,
        now: Inode | None,
    ) -> Iterator[PathChange]:  # fmt: skip
        if now is not None and stat.S_IFMT(now.mode) in _LEFT_OUT:
            now = None
        if now is None:
            if old is not None and not self._snapshot.moved_away(directory.ino, name):
                yield PathChange("D", path, old.is_dir)
            return
        origin = self._snapshot.origin(now.ino) if kind == NAME else None
        if origin is not None:
            old_path = self._snapshot.old_path(origin)
            yield PathChange("R", path, now.is_dir, self._written(now), old_path)
        elif old is None:
            yield PathChange("A", path, now.is_dir, self._written(now))
        elif old.is_dir != now.is_dir:
            yield PathChange("D", path, old.is_dir)
            yield PathChange("A", path, now.is_dir, self._written(now))
        elif not now.is_dir and _differs(now, old):
            yield PathChange("M", path, False, self._written(now))

    def _written(self, inode: Inode) -> int:
        total = 0
        for layer in inode.layers:
            if layer.limit >= 0:
                total += min(layer.limit, inode.size)
            else:
                extents = self._snapshot.extents(inode.ino, layer.epoch)
                total += sum(end - start for start, end in extents)
        return total


_LEFT_OUT = {stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK}


def _same(now: Inode, old: Entry | None) -> bool:
    """Whether a base's directory is back at its place."""
    return old is not None and now.lower is not None and now.lower.digest == old.digest


def _differs(now: Inode, old: Entry) -> bool:
    """Whether a version would differ."""
    if stat.S_ISLNK(now.mode):
        return digests.of_link(now.target) != old.digest
    if now.lower is None or now.has_own_content() or now.lower.digest != old.digest:
        return True
    return bool((now.mode ^ old.mode) & digests.EXECUTE)
