"""Open files and directories of a draft. Event loop only."""

from __future__ import annotations

import itertools
import os

from artfs.vfs.draft.codec import Inode
from artfs.vfs.errors import BadHandle


class DirHandle:
    """An open directory. Names given since the listing began (`last` is the newest number then,
    -1 before) are left out of it, so that it ends and names no name twice. `by_sync`: the program
    that opened it is coreutils' sync."""

    __slots__ = ("by_sync", "inode", "last")

    def __init__(self, inode: Inode, by_sync: bool) -> None:
        self.inode = inode
        self.by_sync = by_sync
        self.last = -1


class Handles:
    """The handles of one mount, by number."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._files: dict[int, Inode] = {}
        self._directories: dict[int, DirHandle] = {}
        #: By handle, files that programs may store into through a mapping.
        self._mappable: dict[int, Inode] = {}
        #: By handle, files that are opened with O_APPEND.
        self._appending: dict[int, Inode] = {}

    def open_file(self, inode: Inode, flags: int) -> int:
        """A handle of a file that is opened with some flags."""
        inode.opens += 1
        number = next(self._numbers)
        self._files[number] = inode
        if flags & os.O_ACCMODE == os.O_RDWR:
            self._mappable[number] = inode
        if flags & os.O_APPEND:
            self._appending[number] = inode
        return number

    def file(self, handle: int) -> Inode:
        """The file. Raises `BadHandle`."""
        inode = self._files.get(handle)
        if inode is None:
            raise BadHandle
        return inode

    def close_file(self, handle: int) -> Inode:
        """Forget a handle; returns the file. Raises `BadHandle`."""
        inode = self.file(handle)
        del self._files[handle]
        self._mappable.pop(handle, None)
        self._appending.pop(handle, None)
        inode.opens -= 1
        return inode

    def mappable(self) -> list[Inode]:
        """Files that programs may store into through a mapping. Linux keeps the handle as long as
        there is one."""
        return list(self._mappable.values())

    def appends(self, handle: int) -> bool:
        """Whether what is written by a handle goes to the end."""
        return handle in self._appending

    def is_appended_to(self, inode: Inode) -> bool:
        """Whether a file is open with O_APPEND."""
        return inode in self._appending.values()

    def open_directory(self, inode: Inode, by_sync: bool) -> int:
        """A handle of a directory."""
        inode.opens += 1
        number = next(self._numbers)
        self._directories[number] = DirHandle(inode, by_sync)
        return number

    def directory(self, handle: int) -> DirHandle:
        """The directory. Raises `BadHandle`."""
        found = self._directories.get(handle)
        if found is None:
            raise BadHandle
        return found

    def close_directory(self, handle: int) -> Inode:
        """Forget a handle; returns the directory. Raises `BadHandle`."""
        inode = self.directory(handle).inode
        del self._directories[handle]
        inode.opens -= 1
        return inode
