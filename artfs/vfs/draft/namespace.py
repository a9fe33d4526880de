"""The operations that give and take names: create, link, unlink, rename and the like.

Each first finds what it needs and marks what it will change, which may wait for the base, and then
changes all of it without waiting. Permissions, sticky bits, a directory moved below itself, and
two operations meeting in one directory are the kernel's to prevent (default_permissions, and its
locks on directories). Event loop only.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from artfs.types import NAME_MAX
from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.garbage import Garbage
from artfs.vfs.draft.inodes import Inodes
from artfs.vfs.draft.journal import NAME, Journal
from artfs.vfs.draft.names import Names, Place
from artfs.vfs.errors import (
    Exists,
    InvalidArgument,
    IsADirectory,
    NameTooLong,
    NoEntry,
    NotADirectory,
    NotEmpty,
    NotPermitted,
    TooManyLinks,
)
from artfs.vfs.tree import Caller

T = TypeVar("T")

NOREPLACE, EXCHANGE = 1, 2
#: As much as 31 bits hold; more would not fit into what some programs keep `st_nlink` in.
_LINKS_MAX = (1 << 31) - 1


class Namespace:
    """Changes of names. They return the inodes they are about, and leave committing to others."""

    def __init__(self, journal: Journal, inodes: Inodes, names: Names, garbage: Garbage) -> None:
        self._journal = journal
        self._inodes = inodes
        self._names = names
        self._garbage = garbage

    async def directory(self, ino: int, name: bytes = b"") -> Inode:
        """A directory in which `name` is looked for. Raises `NotADirectory`, `NameTooLong`."""
        if len(name) > NAME_MAX:
            raise NameTooLong
        inode = await self._inodes.get(ino)
        if not inode.is_dir:
            raise NotADirectory
        return inode

    async def existing(self, parent: Inode, name: bytes) -> Inode:
        """The inode with a name. Raises `NoEntry`."""
        inode = await self._names.find(parent, name)
        if inode is None:
            raise NoEntry
        return inode

    async def make(
        self, parent_ino: int, name: bytes, mode: int, caller: Caller,
        rdev: int = 0, target: bytes = b"",
    ) -> Inode:  # fmt: skip
        """Make an inode of `mode`, with the type, under a new name. Raises `Exists`."""
        parent = await self.directory(parent_ino, name)
        await self._settled([(parent, name)], lambda: self._check_free(parent, name))
        now = time.time_ns()
        gid = caller.gid
        if parent.mode & stat.S_ISGID:
            gid = parent.gid
            if stat.S_ISDIR(mode):
                mode |= stat.S_ISGID
        inode = self._inodes.make(mode, caller.uid, gid, now)
        inode.rdev, inode.target = rdev, target
        if target:
            inode.size = len(target)
        inode.marked = self._journal.epoch
        self._names.give(parent, name, inode, taken=False)
        self._changed_directory(parent, now, 1 if inode.is_dir else 0)
        return inode

    async def _settled(self, places: Sequence[Place], find: Callable[[], Awaitable[T]]) -> T:
        """What `find` finds, or raises, about places that are then marked: they are changed next,
        without waiting. Where a commit brings in what others changed meanwhile, it looks again."""
        while True:
            adopted = self._names.adopted
            found = await find()
            await self._names.mark(places, NAME)
            if adopted == self._names.adopted:
                return found

    async def _check_free(self, parent: Inode, name: bytes) -> None:
        if await self._names.find(parent, name) is not None:
            raise Exists
        if parent.nlink == 0:
            raise NoEntry  # somebody's current directory, removed

    def _changed_directory(self, directory: Inode, now: int, subdirectories: int = 0) -> None:
        directory.mtime_ns = directory.ctime_ns = now
        # 1: nobody has counted them; see codec.nlink_of.
        if directory.nlink > 1:
            directory.nlink += subdirectories
        self._inodes.touch(directory)

    async def link(self, ino: int, parent_ino: int, name: bytes) -> Inode:
        """Give an inode one more name."""
        inode = await self._inodes.get(ino)
        parent = await self.directory(parent_ino, name)
        if inode.is_dir:
            raise NotPermitted

        async def check() -> None:
            if inode.nlink == 0:
                raise NoEntry
            if inode.nlink >= _LINKS_MAX:
                raise TooManyLinks
            await self._check_free(parent, name)

        await self._settled([(parent, name)], check)
        now = time.time_ns()
        inode.nlink += 1
        inode.ctime_ns = now
        self._inodes.touch(inode)
        self._names.give(parent, name, inode, taken=False)
        self._changed_directory(parent, now)
        return inode

    async def unlink(self, parent_ino: int, name: bytes) -> Inode:
        """Remove a name of anything but a directory."""
        parent = await self.directory(parent_ino, name)

        async def find() -> Inode:
            inode = await self.existing(parent, name)
            if inode.is_dir:
                raise IsADirectory
            return inode

        return self._remove(parent, name, await self._settled([(parent, name)], find))

    async def rmdir(self, parent_ino: int, name: bytes) -> Inode:
        """Remove an empty directory."""
        parent = await self.directory(parent_ino, name)

        async def find() -> Inode:
            inode = await self.existing(parent, name)
            if not inode.is_dir:
                raise NotADirectory
            if not await self._names.is_empty(inode):
                raise NotEmpty
            return inode

        return self._remove(parent, name, await self._settled([(parent, name)], find))

    def _remove(self, parent: Inode, name: bytes, inode: Inode) -> Inode:
        now = time.time_ns()
        self._names.take(parent, name)
        self._garbage.lose_name(inode, now)
        self._changed_directory(parent, now, -1 if inode.is_dir else 0)
        return inode

    async def rename(
        self, parent_ino: int, name: bytes, new_parent_ino: int, new_name: bytes, flags: int
    ) -> Inode | None:
        """Move a name; returns the inode that the new name meant before and that lost it."""
        if flags not in (0, NOREPLACE, EXCHANGE):
            raise InvalidArgument
        parent = await self.directory(parent_ino, name)
        new_parent = await self.directory(new_parent_ino, new_name)
        was_there = self._journal.change_kind(parent.ino, name) != NAME
        new_was_there = self._journal.change_kind(new_parent.ino, new_name) != NAME

        async def find() -> tuple[Inode, Inode | None]:
            source = await self.existing(parent, name)
            target = await self._names.find(new_parent, new_name)
            if new_parent.nlink == 0:
                raise NoEntry
            await self._check_target(source, target, flags)
            return source, target

        places = [(parent, name), (new_parent, new_name)]
        source, target = await self._settled(places, find)
        if target is source:
            return None
        now = time.time_ns()
        if flags == EXCHANGE:
            assert target is not None
            self._note_origin(target, new_parent, new_name, new_was_there, (parent, name))
        elif target is not None:
            self._garbage.lose_name(target, now)
        self._note_origin(source, parent, name, was_there, (new_parent, new_name))
        self._names.give(new_parent, new_name, source, target is not None)
        if flags == EXCHANGE and target is not None:
            self._names.give(parent, name, target, taken=True)
            target.ctime_ns = now
            self._inodes.touch(target)
        else:
            self._names.take(parent, name)
        source.ctime_ns = now
        self._inodes.touch(source)
        self._count_moved(parent, new_parent, source, target, flags == EXCHANGE, now)
        return target if flags != EXCHANGE else None

    async def _check_target(self, source: Inode, target: Inode | None, flags: int) -> None:
        if target is None:
            if flags == EXCHANGE:
                raise NoEntry
            return
        if flags == NOREPLACE:
            raise Exists
        if flags == EXCHANGE or target is source:
            return
        if target.is_dir:
            if not source.is_dir:
                raise IsADirectory
            if not await self._names.is_empty(target):
                raise NotEmpty
        elif source.is_dir:
            raise NotADirectory

    def _count_moved(
        self, parent: Inode, new_parent: Inode, source: Inode, target: Inode | None,
        exchanged: bool, now: int,
    ) -> None:  # fmt: skip
        came = int(source.is_dir)
        went = int(target is not None and target.is_dir)
        self._changed_directory(parent, now, (went if exchanged else 0) - came)
        self._changed_directory(new_parent, now, came - went)

    def _note_origin(
        self, inode: Inode, parent: Inode, name: bytes, was_there: bool,
        destination: tuple[Inode, bytes],
    ) -> None:  # fmt: skip
        """Remember where the last commit had an inode that is being renamed, for `status`."""
        if was_there:
            self._journal.do(
                "INSERT OR IGNORE INTO origins VALUES (?, ?, ?, ?)",
                (inode.ino, parent.ino, name, self._journal.epoch),
            )
        self._journal.do(
            "DELETE FROM origins WHERE ino = ? AND parent = ? AND name = ?",
            (inode.ino, destination[0].ino, destination[1]),
        )
