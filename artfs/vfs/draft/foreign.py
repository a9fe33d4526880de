"""What others changed, on its way into a draft that was committed on top of it.

`note_foreign` finds it out in the thread of the commit; `Adopting` brings it into the mounted
draft, in the event loop, name by name. Directories stay the inodes that they are, with whoever is
in them; so does a file, whose content then changes as if somebody had written to it. What replaces
a thing of another kind, or comes anew, is an inode of the new base, a graft.

What was changed in the draft since the commit began is not touched: such a name is contested, and
the next commit is a conflict.
"""

from __future__ import annotations

import time

from artfs.format import walk
from artfs.repo.blobs import Blobs
from artfs.repo.compare import content_of, differing_entries
from artfs.repo.reading import drive
from artfs.types import Entry, Kind, kept_time
from artfs.vfs.draft import codec, numbers
from artfs.vfs.draft.building import Foreign, Results
from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.content import Contents
from artfs.vfs.draft.garbage import Garbage
from artfs.vfs.draft.handles import Handles
from artfs.vfs.draft.inodes import Inodes
from artfs.vfs.draft.journal import Journal
from artfs.vfs.draft.lengths import Lengths
from artfs.vfs.draft.mapped import Mapped, StillMapped
from artfs.vfs.draft.names import Names
from artfs.vfs.draft.snapshot import Snapshot
from artfs.vfs.draft.stale import Stale as Stale
from artfs.vfs.errors import NoEntry
from artfs.vfs.tree import ROOT


def note_foreign(
    snapshot: Snapshot, mine: Entry, merged: Entry, blobs: Blobs, results: Results
) -> None:
    """Note in `results` how the tree that was committed differs from the draft's own."""
    todo = [(snapshot.inode(ROOT), b"", mine, merged, 0)]
    while todo:
        directory, prefix, before, after, ordinal = todo.pop()
        results.add(directory, after)
        was, now = differing_entries(before, after, blobs)
        for name in sorted(was.keys() | now.keys()):
            old, new = was.get(name), now.get(name)
            if old is not None and new is not None and content_of(old) == content_of(new):
                continue
            found = drive(walk.find(after, ordinal, name), blobs) if new is not None else None
            inode = snapshot.find(directory, name)
            if inode is not None and inode.is_dir and old is not None and found and found[1].is_dir:
                todo.append((inode, prefix + name + b"/", old, found[1], found[0]))
            else:
                results.add_foreign(directory.ino, prefix + name, found)


class Adopting:
    """Brings what others changed into the draft. Event loop only."""

    def __init__(
        self, journal: Journal, inodes: Inodes, names: Names, contents: Contents, garbage: Garbage,
        frozen: int, results: Results, root: Entry, mapped: Mapped, handles: Handles,
        lengths: Lengths,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._inodes = inodes
        self._names = names
        self._contents = contents
        self._garbage = garbage
        self._frozen = frozen
        self._results = results
        self._mapped = mapped
        self._handles = handles
        self._lengths = lengths
        self._graft = journal.add_graft(codec.pack(root))
        self.stale = Stale()
        self.contested = 0

    async def adopt(self, row: Foreign) -> None:
        """Make one name what others made of it."""
        _, directory_ino, path, packed, ordinal = row
        name = path.rpartition(b"/")[2]
        try:
            directory = await self._inodes.get(directory_ino)
            old = await self._names.find(directory, name)
            while old is not None and await self._mapped.drop(old):
                old = await self._names.find(directory, name)
        except (NoEntry, StillMapped):
            self._contest(path)  # the directory was removed, or see `Mapped`
            return
        # Nothing is waited for from here on.
        is_gone = directory.ino != ROOT and not self._names.of(directory)
        if is_gone or self._journal.changed_since(directory_ino, name, self._frozen):
            self._contest(path)
            return
        self._names.adopted += 1
        now = time.time_ns()
        entry = codec.unpack(packed) if packed is not None else None
        if entry is None:
            if old is not None:
                self._names.take(directory, name)
                self._garbage.lose_name(old, now)
        elif old is not None and _can_change_to(old, entry):
            self._change(path, old, entry, now)
        else:
            new = codec.of_entry(
                numbers.of_base(self._graft, ordinal), entry, None, directory.uid, directory.gid
            )
            self._names.give(directory, name, self._inodes.adopt(new), old is not None)
            if old is not None:
                self._garbage.lose_name(old, now)
        directory.mtime_ns = directory.ctime_ns = now
        self._inodes.touch(directory)
        self.stale.names.append((directory_ino, name))

    def _contest(self, path: bytes) -> None:
        self._journal.contest(path)
        self.contested += 1

    def _change(self, path: bytes, file: Inode, entry: Entry, now: int) -> None:
        # It may have been written, or emptied, with what it had before.
        self._contents.discard(file, file.layers)
        self._results.drop(file.ino)
        file.layers = []
        before = file.size
        file.lower, file.base_len, file.size = entry, entry.size, entry.size
        if before != entry.size and self._handles.is_appended_to(file):
            self._lengths.changed(file, before)
            self.stale.lengths.append(path)
        file.mode = codec.mode_of(entry)
        file.mtime_ns, file.ctime_ns = kept_time(entry.mtime_ns), now
        self._inodes.touch(file)
        self.stale.files.append(file.ino)


def _can_change_to(file: Inode, entry: Entry) -> bool:
    """Whether a file can go on as the same inode. Hard links cannot: each name is a file of its
    own for others."""
    return entry.kind == Kind.FILE and file.is_file and file.nlink == 1
