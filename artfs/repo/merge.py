"""Bringing two versions made from one together, by path.

What one side changed is taken from it, and what both changed must have come to the same: else the
path is a conflict. Files are not merged within; removing a directory is removing what is in it, so
what the other side added there stays. A changed path is one whose content changed, in the
sense of the logical digest; modes and times follow whoever changed them, the newer side last.
Reads along the differences only.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from artfs.repo.blobs import Blobs
from artfs.repo.compare import differing_entries, same_content, stored_as, unchanged
from artfs.repo.editing import edit, empty_directory
from artfs.repo.packing import PackWriter
from artfs.types import Entry, Kind

#: What of a mode may be content, and then is theirs.
_EXECUTE = 0o111


class Merged(msgspec.Struct, frozen=True):
    """`root`: the tree of both sides. `conflicts`: paths that both changed, differently; what is in
    `root` there is mine if that was asked for, else theirs."""

    root: Entry
    conflicts: list[bytes]


def merge(
    base: Entry, mine: Entry, theirs: Entry, writer: PackWriter, blobs: Blobs, *, ours: bool = False
) -> Merged:
    """The changes from `base` to `mine` and those from `base` to `theirs` in one directory.

    Where both changed a path, `ours` takes mine. New nodes go to `writer`. Raises as reading and
    writing blobs do.
    """
    merging = _Merging(writer, blobs, ours)
    root = merging.directories(base, mine, theirs, b"")
    return Merged(root, sorted(merging.conflicts))


class _Merging:
    def __init__(self, writer: PackWriter, blobs: Blobs, ours: bool) -> None:
        self._writer = writer
        self._blobs = blobs
        self._ours = ours
        self.conflicts: list[bytes] = []

    def directories(self, base: Entry, mine: Entry, theirs: Entry, prefix: bytes) -> Entry:
        """Theirs, with what mine changed in it."""
        mode = mine.mode if mine.mode != base.mode else theirs.mode
        mtime_ns = max(mine.mtime_ns, theirs.mtime_ns)
        if theirs.digest == base.digest:
            return replace(mine, mode=mode, mtime_ns=mtime_ns)
        # Not by logical digest: a mode that I changed is to be kept.
        was, now = differing_entries(base, mine, self._blobs, by=stored_as)
        their_was, their_now = differing_entries(base, theirs, self._blobs)
        changes: dict[bytes, Entry | None] = {}
        for name in was.keys() | now.keys():
            b, m = was.get(name), now.get(name)
            if unchanged(b, m):
                continue
            t = their_now.get(name) if name in their_now or name in their_was else b
            merged = self._entries(b, m, t, prefix + name)
            if merged is not t:
                changes[name] = merged
        return replace(
            edit(theirs, changes, self._writer, self._blobs), mode=mode, mtime_ns=mtime_ns
        )

    def _entries(
        self, b: Entry | None, m: Entry | None, t: Entry | None, path: bytes
    ) -> Entry | None:
        if same_content(t, b):
            return m
        if _meet_below(b, m, t):
            return self._below(b, m, t, path)
        if same_content(m, b):
            return _with_my_mode(b, m, t)
        if same_content(m, t) or self._ours:
            return m
        self.conflicts.append(path)
        return t

    def _below(
        self, b: Entry | None, m: Entry | None, t: Entry | None, path: bytes
    ) -> Entry | None:
        """A directory on both sides; where one of them removed it, that removed what was in it."""
        there = m or t
        assert there is not None
        none = empty_directory(there.name, there.mode)
        base = b if b is not None and b.is_dir else none
        found = self.directories(base, m or none, t or none, path + b"/")
        if found.count == 0 and (m is None or t is None):
            return None
        return found


def _meet_below(b: Entry | None, m: Entry | None, t: Entry | None) -> bool:
    if m is not None and t is not None:
        return m.is_dir and t.is_dir
    there = m or t
    return b is not None and b.is_dir and there is not None and there.is_dir


def _with_my_mode(b: Entry | None, m: Entry | None, t: Entry | None) -> Entry | None:
    if b is None or m is None or t is None or m.mode == b.mode or t.kind != Kind.FILE:
        return t
    return replace(t, mode=m.mode & ~_EXECUTE | t.mode & _EXECUTE)
