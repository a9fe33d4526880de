"""`null.py MNT [SOURCE]`: a filesystem on pyfuse3 that does nothing, in the background.

Names and attributes are kept in memory, those of SOURCE's tree from the start; what is read comes
from there, written bytes are dropped. What it takes is the share of the kernel, libfuse, pyfuse3
and the event loop of artfs in what a mount takes: none can be faster once the kernel has the data.
"""

from __future__ import annotations

import errno
import gc
import os
import stat
import sys
from collections.abc import Sequence

import pyfuse3
import trio

from artfs.fuse import pump
from artfs.repo.malloc import keep_freed_memory

_FOREVER = 3600.0


class Null(pyfuse3.Operations):
    """The handlers, as few as writing programs need."""

    def __init__(self) -> None:
        super().__init__()
        self._attrs = [self._new(0, 0), self._new(pyfuse3.ROOT_INODE, stat.S_IFDIR | 0o755)]
        self._names: dict[tuple[int, bytes], int] = {}
        self._lists: dict[int, list[tuple[bytes, pyfuse3.EntryAttributes, int]]] = {}
        self._sources: dict[int, bytes] = {}

    def show(self, source: bytes, ino: int = pyfuse3.ROOT_INODE) -> None:
        """List what a directory holds, with sub-directories."""
        listed = self._lists[ino] = []
        with os.scandir(source) as entries:
            for position, entry in enumerate(entries, 1):
                info = entry.stat(follow_symlinks=False)
                attrs = self._make(ino, entry.name, info.st_mode)
                attrs.st_size = info.st_size
                listed.append((entry.name, attrs, position))
                self._sources[attrs.st_ino] = entry.path
                if entry.is_dir(follow_symlinks=False):
                    self.show(entry.path, attrs.st_ino)

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
        # As a draft does, see `artfs.vfs.draft.direct`.
        only_writes = flags & os.O_ACCMODE == os.O_WRONLY
        handle = pyfuse3.FileHandleT(attrs.st_ino)
        return pyfuse3.FileInfo(fh=handle, direct_io=only_writes), attrs

    async def open(self, inode: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode))

    async def read(self, fh: int, off: int, size: int) -> bytes:
        fd = os.open(self._sources[fh], os.O_RDONLY)
        data = os.pread(fd, size, off)
        os.close(fd)
        return data

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        attrs = self._attrs[fh]
        attrs.st_size = max(attrs.st_size, off + len(buf))
        return len(buf)

    async def flush(self, fh: int) -> None:
        raise pyfuse3.FUSEError(errno.ENOSYS)  # as a mount of artfs

    async def release(self, fh: int) -> None:
        return

    async def opendir(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        return pyfuse3.FileHandleT(inode)

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        for listed in self._lists.get(fh, [])[start_id:]:
            if not pyfuse3.readdir_reply(token, *listed):
                return

    async def releasedir(self, fh: int) -> None:
        return

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        return


def serve(operations: pyfuse3.Operations, mountpoint: str, name: str, *, read_only: bool) -> None:
    """Mount them, with artfs's event loop, and return when they are unmounted."""
    gc.freeze()
    pump.install(lambda: None, read_only=read_only)
    options = {*pyfuse3.default_options, f"fsname={name}", "default_permissions"}
    pyfuse3.init(operations, mountpoint, options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close()


def main() -> None:
    if os.fork():
        return
    os.setsid()
    null = Null()
    if len(sys.argv) > 2:
        null.show(os.fsencode(sys.argv[2]))
    keep_freed_memory()
    serve(null, sys.argv[1], "null", read_only=False)


if __name__ == "__main__":
    main()
