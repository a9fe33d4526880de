"""What programs have stored through mappings, before others' change of a file is taken over.

The kernel hands it over when it likes, as whole pages, with what the file had when they were read:
after the change, that would undo it, or be lost with a file that others removed. So it is made to
hand over all of it before, and to drop the pages, so that the next store begins with a read. What
is handed over is an edit like any other, and the name then contested. Event loop only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.handles import Handles
from artfs.vfs.draft.inodes import Inodes
from artfs.vfs.draft.names import Names
from artfs.vfs.draft.stale import Stale

#: How often the pages of a file are dropped that somebody reads all the time.
_TRIES = 20


class StillMapped(Exception):
    """The kernel does not let go of pages that something may be stored in."""


class Mapped:
    """Of the files that are open. Without `forget` there is no kernel."""

    def __init__(
        self, handles: Handles, inodes: Inodes, names: Names,
        forget: Callable[[Stale], Awaitable[bool]] | None,
    ) -> None:  # fmt: skip
        self._handles = handles
        self._inodes = inodes
        self._names = names
        self._forget = forget
        #: How often the pages of an inode were dropped.
        self._dropped: dict[int, int] = {}

    async def drop(self, inode: Inode) -> bool:
        """Have the kernel hand over, and drop, what it has of a file, or of all below a directory.
        False: it has nothing any more, and nothing was waited for since that was found.

        Raises `StillMapped`, and what finding names raises.
        """
        if self._forget is None or not (files := self._handles.mappable()):
            return False
        if inode.is_dir:
            files = [file for file in files if await self._is_below(file, inode)]
        # `cached` is set by each read, so it tells of pages that came since.
        todo = [
            file for file in files
            if (inode.is_dir or file is inode) and (file.cached or file.ino not in self._dropped)
        ]  # fmt: skip
        for file in todo:
            self._dropped[file.ino] = self._dropped.get(file.ino, 0) + 1
            if self._dropped[file.ino] > _TRIES:
                raise StillMapped
            file.cached = False
        if todo and not await self._forget(Stale(files=[file.ino for file in todo])):
            for file in todo:
                file.cached = True
        return bool(todo)

    async def _is_below(self, file: Inode, directory: Inode) -> bool:
        todo = [file]
        while todo:
            inode = todo.pop()
            if inode is directory:
                return True
            todo += [await self._inodes.get(ino) for ino, _ in self._names.of(inode)]
        return False
