"""The inodes of a draft: found by number, kept while used, written back in one go.

An inode comes from its row in the journal, or else from the base, by its ordinal. What changes is
changed in memory and noted with `touch`; `save` writes it into the journal's open transaction.
Memory is bounded: inodes that nobody holds and that are saved stay only as long as the cache has
room. Event loop only.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from artfs.aio.fetch import Fetcher
from artfs.aio.generations import Generations
from artfs.format import walk
from artfs.types import Entry
from artfs.vfs.draft import codec, numbers
from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.journal import Journal
from artfs.vfs.draft.pages import inode_rows
from artfs.vfs.errors import NoEntry

_KEPT = 8192


class Inodes:
    """The inode table of one draft."""

    def __init__(self, journal: Journal, fetch: Fetcher, uid: int, gid: int) -> None:
        self._journal = journal
        self._fetch = fetch
        self._uid = uid
        self._gid = gid
        self._alive: weakref.WeakValueDictionary[int, Inode] = weakref.WeakValueDictionary()
        self._kept: Generations[int, Inode] = Generations(_KEPT)
        self._touched: dict[int, Inode] = {}
        self._grafts: dict[int, Entry] = {}
        row = journal.ask("SELECT 1 FROM inodes WHERE ino = 1 OR ino >= ? LIMIT 1",
                          (numbers.FIRST_BASE,)).fetchone()  # fmt: skip
        #: Whether any inode of a base may have a row.
        self.base_touched = row is not None

    def at_hand(self, ino: int) -> Inode | None:
        """The inode if it is in memory or in the journal."""
        inode = self._kept.get(ino) or self._alive.get(ino)
        if inode is not None and not inode.dropped:
            return inode
        if ino >= numbers.FIRST_BASE and not self.base_touched:
            return None
        row = self._journal.inode(ino)
        return self._keep(codec.of_row(row)) if row is not None else None

    def fetch(self, inodes: Iterable[int]) -> None:
        """Have `at_hand` find some inodes in memory, if the journal has them: one query for all."""
        missing = [
            ino for ino in inodes
            if (self._kept.get(ino) or self._alive.get(ino)) is None
            and (ino < numbers.FIRST_BASE or self.base_touched)
        ]  # fmt: skip
        for row in inode_rows(self._journal, missing) if missing else ():
            self._keep(codec.of_row(row))

    async def get(self, ino: int) -> Inode:
        """The inode with a number. Raises `NoEntry`, and what fetching raises."""
        inode = self.at_hand(ino)
        if inode is not None:
            return inode
        if not numbers.is_base(ino):
            raise NoEntry(f"inode {ino}")
        graft, ordinal = numbers.split(ino)
        root = self.graft(graft)
        if ordinal == 0:
            return self.of_base(ino, root, None)
        try:
            way = await self._fetch.drive(walk.at(root, ordinal))
        except IndexError:
            raise NoEntry(f"inode {ino}") from None
        return self.of_base(ino, way[-1][1], (numbers.of_base(graft, way[-2][0]), way[-1][1].name))

    def of_base(self, ino: int, entry: Entry, home: tuple[int, bytes] | None) -> Inode:
        """The inode of a base's entry that was just found at `home`."""
        inode = self.at_hand(ino)
        if inode is None:
            inode = self._keep(codec.of_entry(ino, entry, home, self._uid, self._gid))
        return inode

    def graft(self, graft: int) -> Entry:
        """The root directory of a base."""
        found = self._grafts.get(graft)
        if found is None:
            row = self._journal.ask("SELECT root FROM grafts WHERE graft = ?", (graft,)).fetchone()
            if row is None:
                raise NoEntry(f"base {graft}")
            found = self._grafts[graft] = codec.unpack(row[0])
        return found

    def _keep(self, inode: Inode) -> Inode:
        self._alive[inode.ino] = inode
        self._kept.put(inode.ino, inode)
        return inode

    def make(self, mode: int, uid: int, gid: int, now: int) -> Inode:
        """A new inode, without a name yet."""
        inode = Inode(self._journal.new("ino"), mode, uid, gid)
        inode.atime_ns = inode.mtime_ns = inode.ctime_ns = now
        if inode.is_dir:
            inode.nlink, inode.size = 2, 4096
            self._journal.is_new(inode.ino)
        self.touch(inode)
        return self._keep(inode)

    def adopt(self, inode: Inode) -> Inode:
        """An inode of a base that has got a name in the draft."""
        self.touch(inode)
        return self._keep(inode)

    def touch(self, inode: Inode) -> None:
        """The inode differs from its row."""
        self._touched[inode.ino] = inode
        if numbers.is_base(inode.ino):
            self.base_touched = True

    @property
    def unsaved(self) -> int:
        """How many inodes differ from their rows."""
        return len(self._touched)

    def touched_of(self, inodes: list[int]) -> set[int]:
        """Which of some inodes differ from their rows."""
        return self._touched.keys() & inodes if self._touched else set()

    def drop(self, inode: Inode) -> None:
        """The inode is gone for good."""
        self._touched.pop(inode.ino, None)
        inode.dropped = True
        self._journal.do("DELETE FROM inodes WHERE ino = ?", (inode.ino,))

    def save(self) -> None:
        """Write what was touched into the journal's transaction."""
        for inode in self._touched.values():
            self._journal.put_inode(codec.to_row(inode))
        self._touched.clear()
