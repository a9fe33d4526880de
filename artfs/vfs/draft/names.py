"""Names of a draft: the base's directories with the draft's names laid over them.

A name is as in the base unless table `dentries` says otherwise, so renaming a directory moves one
row and what is below it stays where its inodes are. Finding a name may wait for the base; whether
a name has a row is known at once, and all changes are made without waiting in between. Event loop
only.
"""

from __future__ import annotations

from collections.abc import Sequence

from artfs.aio.fetch import Fetcher
from artfs.format import walk
from artfs.types import Entry
from artfs.vfs.draft import numbers
from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.inodes import Inodes
from artfs.vfs.draft.journal import CONTENT, Journal
from artfs.vfs.tree import ROOT

Place = tuple[Inode, bytes]


class Names:
    """Who is called what."""

    def __init__(self, journal: Journal, inodes: Inodes, fetch: Fetcher) -> None:
        self._journal = journal
        self._inodes = inodes
        self._fetch = fetch
        #: How many names have become what others made of them.
        self.adopted = 0

    async def find(self, parent: Inode, name: bytes) -> Inode | None:
        """The inode with a name in a directory."""
        row = self._journal.dentry(parent.ino, name)
        if row is None:
            if parent.lower is None or parent.lower.blob is None:
                return None
            found = await self._in_base(parent, name)
            # Somebody may have given or removed the name during the wait.
            row = self._journal.dentry(parent.ino, name)
            if row is None:
                if found is None:
                    return None
                ordinal, entry = found
                ino = numbers.sibling(parent.ino, ordinal)
                return self._inodes.of_base(ino, entry, (parent.ino, name))
        return await self._inodes.get(row[0]) if row[0] else None

    async def _in_base(self, parent: Inode, name: bytes) -> tuple[int, Entry] | None:
        assert parent.lower is not None
        _, ordinal = numbers.split(parent.ino)
        return await self._fetch.drive(walk.find(parent.lower, ordinal, name))

    def of(self, inode: Inode) -> list[tuple[int, bytes]]:
        """Every (directory, name) of an inode."""
        places = self._journal.names_of(inode.ino)
        if inode.home is not None and self._journal.dentry(*inode.home) is None:
            places.append(inode.home)
        return places

    def give(self, parent: Inode, name: bytes, inode: Inode, taken: bool) -> None:
        """Let a name mean an inode; `taken`: `find` says that it means another one now."""
        row = self._journal.dentry(parent.ino, name)
        # A name keeps its place in listings, or a reader could meet it twice.
        seq = row[1] if row is not None else 0
        if row is None and not taken:
            seq = self._journal.new("seq")
        self._journal.set_dentry(parent.ino, name, inode.ino, seq)

    def take(self, parent: Inode, name: bytes) -> None:
        """Remove a name that is there."""
        row = self._journal.dentry(parent.ino, name)
        if row is None or row[1] == 0:
            self._journal.set_dentry(parent.ino, name, 0, 0)
        else:
            self._journal.drop_dentry(parent.ino, name)

    async def is_empty(self, directory: Inode) -> bool:
        """Whether a directory has no names."""
        one = self._journal.ask(
            "SELECT 1 FROM dentries WHERE parent = ? AND ino > 0 LIMIT 1", (directory.ino,)
        ).fetchone()
        if one is not None:
            return False
        if directory.lower is None:
            return True
        _, ordinal = numbers.split(directory.ino)
        after = ordinal
        while page := await self._fetch.drive(walk.page(directory.lower, ordinal, after)):
            if self._overridden(directory.ino, page[0][1].name, page[-1][1].name) < len(page):
                return False
            after = page[-1][0]
        return True

    def _overridden(self, directory: int, first: bytes, last: bytes) -> int:
        """How many of the base's names from `first` to `last` have a row."""
        row = self._journal.ask(
            "SELECT count(*) FROM dentries WHERE parent = ? AND name BETWEEN ? AND ? AND seq = 0",
            (directory, first, last),
        ).fetchone()
        return int(row[0])

    # Marking what changed. Always done before the change and possibly for nothing: what is marked
    # and did not change costs the next commit a look, what changed and is not marked is lost.

    async def mark(self, places: Sequence[Place], kind: int) -> None:
        """Note that the entries at some places are going to change.

        When this returns, all of it is noted in the current epoch; the caller changes them
        without waiting in between.
        """
        epoch = 0
        while epoch != self._journal.epoch:
            epoch = self._journal.epoch
            for parent, name in places:
                await self.mark_inode(parent)
                self._journal.mark(parent.ino, name, kind)

    async def mark_inode(self, inode: Inode) -> None:
        """Note that an inode's attributes, content or names below it are going to change."""
        while inode.marked != self._journal.epoch:
            epoch = self._journal.epoch
            if inode.is_dir:
                climbed = await self._climb(inode)
            else:
                climbed = [inode]
                for ino, name in self.of(inode):
                    climbed += await self._climb(await self._inodes.get(ino))
                    self._journal.mark(ino, name, CONTENT)
            if self._journal.epoch == epoch:
                # Not earlier: it says that all directories above are marked.
                for each in climbed:
                    each.marked = epoch

    async def _climb(self, directory: Inode) -> list[Inode]:
        """Mark a directory and those above; returns them."""
        climbed = []
        while directory.marked != self._journal.epoch:
            climbed.append(directory)
            places = self.of(directory) if directory.ino != ROOT else []
            if not places:
                break  # the root, or a directory that was removed
            parent, name = places[0]
            self._journal.mark(parent, name, CONTENT)
            directory = await self._inodes.get(parent)
        return climbed

    async def path(self, inode: Inode) -> bytes:
        """One path of an inode below the root; b"" of the root and of what has no name."""
        parts: list[bytes] = []
        while inode.ino != ROOT:
            places = self.of(inode)
            if not places:
                return b""
            parts.append(places[0][1])
            inode = await self._inodes.get(places[0][0])
        return b"/".join(reversed(parts))
