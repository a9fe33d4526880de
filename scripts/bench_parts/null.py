"""`null.py MNT`: a filesystem on pyfuse3 that does nothing, in the background.

Names and attributes are kept in memory, written bytes are dropped. What it takes is the share of
the kernel, libfuse, pyfuse3 and the event loop of artfs in what a draft takes: none can be faster.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Sequence

import pyfuse3
import trio

from artfs.fuse import pump

_FOREVER = 3600.0


class Null(pyfuse3.Operations):
    """The handlers, as few as writing programs need."""

    def __init__(self) -> None:
        super().__init__()
        self._attrs = [self._new(0, 0), self._new(pyfuse3.ROOT_INODE, stat.S_IFDIR | 0o755)]
        self._names: dict[tuple[int, bytes], int] = {}

    @staticmethod
    def _new(ino: int, mode: int) -> pyfuse3.EntryAttributes:
        attrs = pyfuse3.EntryAttributes()
        attrs.st_ino, attrs.st_mode, attrs.st_nlink = pyfuse3.InodeT(ino), pyfuse3.ModeT(mode), 1
        attrs.attr_timeout = attrs.entry_timeout = _FOREVER
        return attrs

    def _make(self, parent: int, name: bytes, mode: int) -> pyfuse3.EntryAttributes:
        attrs = self._new(len(self._attrs), mode)
        self._names[parent, name] = attrs.st_ino
        self._attrs.append(attrs)
        return attrs

    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        ino = self._names.get((parent_inode, name))
        if ino is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._attrs[ino]

    async def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self._attrs[inode]

    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        return self._attrs[inode]

    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return self._make(parent_inode, name, stat.S_IFDIR | mode)

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        attrs = self._make(parent_inode, name, stat.S_IFREG | mode)
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(attrs.st_ino)), attrs

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        attrs = self._attrs[fh]
        attrs.st_size = max(attrs.st_size, off + len(buf))
        return len(buf)

    async def flush(self, fh: int) -> None:
        return

    async def release(self, fh: int) -> None:
        return

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        return pyfuse3.FileHandleT(inode)

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        return

    async def releasedir(self, fh: int) -> None:
        return

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        return


def main() -> None:
    if os.fork():
        return
    os.setsid()
    pump.install(lambda: None)
    options = {*pyfuse3.default_options, "fsname=null", "default_permissions"}
    pyfuse3.init(Null(), sys.argv[1], options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main()
