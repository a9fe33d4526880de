"""The one protocol that the read-only tree and the draft tree implement.

Inodes, handles and directory positions are plain integers; inode 1 is the root of the mount.
Methods are `async` where they may wait for a store or a disk, and are called from the trio event
loop only. They raise `artfs.vfs.errors.FileSystemError` and other `ArtfsError`s, which
`artfs.fuse.errno` turns into errno; nothing here knows of pyfuse3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

ROOT = 1


class Attrs(msgspec.Struct, frozen=True):
    """What stat shows, and for how long (seconds) the kernel may believe it.

    `mode` has the file type. `entry_timeout` is for the name, `attr_timeout` for all else.
    """

    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    atime_ns: int
    rdev: int = 0
    blocks: int = 0
    entry_timeout: float = 0.0
    attr_timeout: float = 0.0


class Caller(msgspec.Struct, frozen=True):
    """The process that asks."""

    uid: int
    gid: int
    pid: int
    umask: int


class Change(msgspec.Struct, frozen=True):
    """What setattr is to set; None leaves a field. Times in ns."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
    ctime_ns: int | None = None


class Opened(msgspec.Struct, frozen=True):
    """An open file. `keep_cache`: what the kernel has cached of it is still right. `preload`: the
    file's whole content where it was at hand, to be given to the kernel without being asked.
    `direct_io`: every read comes here, also behind the size that stat shows, and every write as the
    program made it, not by way of the kernel's pages."""

    handle: int
    keep_cache: bool
    preload: bytes | None = None
    direct_io: bool = False


class DirEntry(msgspec.Struct, frozen=True):
    """An entry of a listing. `position` is what to pass to go on after it."""

    name: bytes
    attrs: Attrs
    position: int


class FsStats(msgspec.Struct, frozen=True):
    """What statfs shows, in blocks of `block_size` bytes and in files."""

    block_size: int
    blocks: int
    free_blocks: int
    files: int
    free_files: int


class Tree(Protocol):
    """A filesystem. Write methods of a read-only tree raise `ReadOnly`."""

    writable: bool

    async def lookup(self, parent: int, name: bytes) -> Attrs: ...
    async def getattr(self, ino: int) -> Attrs: ...
    def forget(self, inodes: Sequence[tuple[int, int]]) -> None:
        """The kernel dropped (inode, lookups). Must not raise."""

    async def readlink(self, ino: int) -> bytes: ...
    async def open(self, ino: int, flags: int, caller: Caller) -> Opened: ...
    async def read(self, handle: int, offset: int, size: int) -> bytes | memoryview: ...
    async def release(self, handle: int) -> None: ...
    def preload_next(self) -> tuple[int, bytes] | None:
        """Asked when there is nothing else to do: a file that is likely to be opened next, and its
        whole content, to be given to the kernel; `preloaded` follows if the kernel takes it."""

    def preloaded(self, ino: int) -> None: ...
    async def fsync(self, handle: int, data_only: bool) -> None: ...
    async def opendir(self, ino: int, caller: Caller) -> int: ...
    async def readdir(self, handle: int, position: int) -> list[DirEntry]:
        """Entries after `position` (0: from the start), some of them; empty at the end. Each one
        returned *and used* by the caller counts as a lookup: see `looked_up`."""

    def looked_up(self, ino: int) -> None:
        """The caller passed an entry of `readdir` to the kernel, which now holds it. A tree that is
        not writable is not told."""

    async def releasedir(self, handle: int) -> None: ...
    async def fsyncdir(self, handle: int) -> None: ...
    async def statfs(self) -> FsStats: ...
    async def getxattr(self, ino: int, name: bytes) -> bytes: ...
    async def listxattr(self, ino: int) -> list[bytes]: ...
    async def setxattr(self, ino: int, name: bytes, value: bytes) -> None: ...
    async def removexattr(self, ino: int, name: bytes) -> None: ...

    async def setattr(self, ino: int, change: Change, handle: int | None) -> Attrs: ...
    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[Attrs, Opened]: ...
    async def write(self, handle: int, offset: int, data: bytes) -> int: ...
    async def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attrs: ...
    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller
    ) -> Attrs: ...
    async def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attrs: ...
    async def link(self, ino: int, parent: int, name: bytes) -> Attrs: ...
    async def unlink(self, parent: int, name: bytes, caller: Caller) -> None: ...
    async def rmdir(self, parent: int, name: bytes, caller: Caller) -> None: ...
    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int
    ) -> None: ...
    async def close(self) -> None:
        """The mount is gone; release everything. A draft commits or keeps before this."""
