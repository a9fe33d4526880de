"""Listings of directories that change meanwhile.

The base's names come first, in the base's order, each at the position of its ordinal, whatever
inode has the name now; behind them, from `_ADDED` on, the draft's own names in the order in which
they were given. So a position means the same at any later time, for any handle. Event loop only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from artfs.aio.fetch import Fetcher
from artfs.format import walk
from artfs.types import Entry
from artfs.vfs.attributes import Owner
from artfs.vfs.draft import numbers
from artfs.vfs.draft.attrs import of_entry
from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.handles import DirHandle
from artfs.vfs.draft.inodes import Inodes
from artfs.vfs.draft.journal import Journal
from artfs.vfs.draft.pages import names_after
from artfs.vfs.errors import NoEntry
from artfs.vfs.tree import Attrs, DirEntry

_ADDED = 1 << 40
_PAGE = 128

ShowAttrs: TypeAlias = Callable[[Inode], Attrs]


class Listings:
    """Pages of directories."""

    def __init__(
        self, journal: Journal, inodes: Inodes, fetch: Fetcher, owner: Owner, show: ShowAttrs
    ) -> None:
        self._journal = journal
        self._inodes = inodes
        self._fetch = fetch
        self._owner = owner
        self._show = show

    async def page(self, handle: DirHandle, position: int) -> list[DirEntry]:
        """Some entries behind a position; none at the end."""
        if position == 0 or handle.last < 0:
            row = self._journal.ask(
                "SELECT max(seq) FROM dentries WHERE parent = ? AND seq > 0", (handle.inode.ino,)
            ).fetchone()
            handle.last = row[0] or 0
        if handle.inode.nlink == 0:
            return []
        if position < _ADDED:
            found = await self._of_base(handle.inode, position)
            if found:
                return found
        return await self._added(handle, max(position - _ADDED, 0))

    async def _of_base(self, directory: Inode, position: int) -> list[DirEntry]:
        if directory.lower is None or directory.lower.blob is None:
            return []
        _, ordinal = numbers.split(directory.ino)
        after = max(position, ordinal)
        while page := await self._fetch.drive(walk.page(directory.lower, ordinal, after)):
            found = await self._overlay(directory, page)
            if found:
                return found
            after = page[-1][0]
        return []

    async def _overlay(self, directory: Inode, page: list[tuple[int, Entry]]) -> list[DirEntry]:
        names: dict[bytes, int] = dict(
            self._journal.ask(
                "SELECT name, ino FROM dentries WHERE parent = ? AND name BETWEEN ? AND ?"
                " AND seq = 0",
                (directory.ino, page[0][1].name, page[-1][1].name),
            ).fetchall()
        )
        changed = self._changed([numbers.sibling(directory.ino, ordinal) for ordinal, _ in page])
        found = []
        for ordinal, entry in page:
            base = numbers.sibling(directory.ino, ordinal)
            ino = names.get(entry.name, base)
            if ino == 0:
                continue
            if ino == base and ino not in changed:
                found.append(DirEntry(entry.name, of_entry(ino, entry, self._owner), ordinal))
            else:
                found += await self._entry(entry.name, ino, ordinal)
        return found

    async def _entry(self, name: bytes, ino: int, position: int) -> list[DirEntry]:
        try:
            return [DirEntry(name, self._show(await self._inodes.get(ino)), position)]
        except NoEntry:
            return []  # removed while the base was waited for

    def _changed(self, inodes: list[int]) -> set[int]:
        """Which of a base's inodes are not as in the base."""
        if not self._inodes.base_touched:
            return set()
        return self._journal.changed_of(inodes) | self._inodes.touched_of(inodes)

    async def _added(self, handle: DirHandle, after: int) -> list[DirEntry]:
        rows = names_after(self._journal, handle.inode.ino, after, handle.last, _PAGE)
        self._inodes.fetch([ino for _, ino, _ in rows])
        found = []
        for name, ino, seq in rows:
            found += await self._entry(name, ino, _ADDED + seq)
        return found
