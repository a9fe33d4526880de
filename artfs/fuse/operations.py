"""From FUSE requests to calls of a `Tree` and back: one call and one conversion each.

A protocol adapter only: what the filesystem looks like is `artfs.vfs`' business. Runs in the trio
event loop of the mount; the kernel sends requests in parallel.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Sequence
from typing import TypeAlias, cast

import pyfuse3
import trio
from pyfuse3 import (
    EntryAttributes,
    FileInfo,
    FUSEError,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
)

from artfs.aio.generations import Generations
from artfs.fuse.errno import handler, reading_handler
from artfs.types import kept_time
from artfs.vfs.tree import Attrs, Caller, Change, DirEntry, FsStats, Opened, Tree

log = logging.getLogger(__name__)

NAME_MAX = 255
#: Name, attributes, position.
_Listed: TypeAlias = tuple[bytes, EntryAttributes, int]
#: Entries of listings whose attributes are kept as pyfuse3 wants them: some 20 MB.
_LISTED = 1 << 16


class Operations(pyfuse3.Operations):
    """The handlers of one mount."""

    supports_dot_lookup = False
    enable_acl = False

    def __init__(self, tree: Tree, *, writeback_cache: bool = False) -> None:
        super().__init__()
        self._tree = tree
        # The key is the list's id, which is good as long as the list is kept beside it.
        self._listed: Generations[int, tuple[list[DirEntry], list[_Listed]]]
        self._listed = Generations(_LISTED, lambda known: len(known[0]))
        self.enable_writeback_cache = writeback_cache
        #: Set once the kernel knows what it is to do: what a mount is told before that is lost.
        self.connected = trio.Event()

    def init(self) -> None:
        # The answer is sent before any task runs.
        self.connected.set()

    @handler
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        return _entry(await self._tree.lookup(parent_inode, name))

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        # Not a handler: there is no request to fail, and `Tree.forget` does not raise.
        self._tree.forget(inode_list)

    @handler
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return _entry(await self._tree.getattr(inode))

    @handler
    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        return _entry(await self._tree.setattr(inode, _change(attr, fields), fh))

    @handler
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return await self._tree.readlink(inode)

    @handler
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        return _entry(await self._tree.mknod(parent_inode, name, mode, rdev, _caller(ctx)))

    @handler
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        return _entry(await self._tree.mkdir(parent_inode, name, mode, _caller(ctx)))

    @handler
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._tree.unlink(parent_inode, name, _caller(ctx))

    @handler
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._tree.rmdir(parent_inode, name, _caller(ctx))

    @handler
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        return _entry(await self._tree.symlink(parent_inode, name, target, _caller(ctx)))

    @handler
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        await self._tree.rename(parent_inode_old, name_old, parent_inode_new, name_new, flags)

    @handler
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        return _entry(await self._tree.link(inode, new_parent_inode, new_name))

    @handler
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        opened = await self._tree.open(inode, flags, _caller(ctx))
        if opened.preload is not None:
            # ENOENT: the kernel has dropped the inode meanwhile; the reads will come then.
            with contextlib.suppress(OSError):
                pyfuse3.notify_store(inode, 0, opened.preload)
        return _opened(opened)

    def idle(self) -> None:
        """What is worth doing while no request is there. Does not raise."""
        try:
            offer = self._tree.preload_next()
            if offer is not None:
                # ENOENT: the kernel does not know the inode.
                with contextlib.suppress(OSError):
                    pyfuse3.notify_store(offer[0], 0, offer[1])
                    self._tree.preloaded(offer[0])
        except Exception:
            log.exception("unforeseen error while idle")

    @handler
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        attrs, opened = await self._tree.create(parent_inode, name, mode, flags, _caller(ctx))
        return _opened(opened), _entry(attrs)

    @reading_handler
    async def read(self, fh: int, off: int, size: int) -> bytes:
        # pyfuse3 takes any buffer, whatever its annotation says.
        return cast("bytes", await self._tree.read(fh, off, size))

    @handler
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._tree.write(fh, off, buf)

    @handler
    async def flush(self, fh: int) -> None:
        # Nothing waits for a close. The kernel takes this for "never ask again", which saves a
        # round trip a close; what was stored through mappings it hands over all the same.
        raise FUSEError(errno.ENOSYS)

    @handler
    async def release(self, fh: int) -> None:
        await self._tree.release(fh)

    @handler
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._tree.fsync(fh, datasync)

    @handler
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        return await self._tree.opendir(inode, _caller(ctx))

    @handler
    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        entries = await self._tree.readdir(fh, start_id)
        reply, writable = pyfuse3.readdir_reply, self._tree.writable
        while entries:
            for name, attrs, position in self._listing(entries):
                if not reply(token, name, attrs, position):
                    return
                if writable:
                    self._tree.looked_up(attrs.st_ino)
            entries = await self._more(fh, entries[-1].position)

    def _listing(self, entries: list[DirEntry]) -> list[_Listed]:
        """Entries as pyfuse3 wants them. A read-only tree gives the same list again for what it
        remembers; so are these remembered, which makes listing a tenth faster."""
        if self._tree.writable:
            return [(e.name, _entry(e.attrs), e.position) for e in entries]
        known = self._listed.get(id(entries))
        if known is None or known[0] is not entries:
            known = entries, [(e.name, _entry(e.attrs), e.position) for e in entries]
            self._listed.put(id(entries), known)
        return known[1]

    async def _more(self, fh: int, position: int) -> list[DirEntry]:
        # What the kernel was given it must get; an error comes up again when it goes on from here.
        with contextlib.suppress(Exception):
            return await self._tree.readdir(fh, position)
        return []

    @handler
    async def releasedir(self, fh: int) -> None:
        await self._tree.releasedir(fh)

    @handler
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._tree.fsyncdir(fh)

    @handler
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        return _statfs(await self._tree.statfs())

    @handler
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        await self._tree.setxattr(inode, name, value)

    @handler
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        return await self._tree.getxattr(inode, name)

    @handler
    async def listxattr(self, inode: int, ctx: RequestContext) -> list[bytes]:
        return await self._tree.listxattr(inode)

    @handler
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._tree.removexattr(inode, name)


def _caller(ctx: RequestContext) -> Caller:
    return Caller(ctx.uid, ctx.gid, ctx.pid, ctx.umask)


def _opened(opened: Opened) -> FileInfo:
    return FileInfo(fh=opened.handle, keep_cache=opened.keep_cache, direct_io=opened.direct_io)


def _entry(attrs: Attrs) -> EntryAttributes:
    entry = EntryAttributes()
    entry.st_ino = attrs.ino
    entry.entry_timeout = attrs.entry_timeout
    entry.attr_timeout = attrs.attr_timeout
    entry.st_mode = attrs.mode
    entry.st_nlink = attrs.nlink
    entry.st_uid = attrs.uid
    entry.st_gid = attrs.gid
    entry.st_rdev = attrs.rdev
    entry.st_size = attrs.size
    entry.st_blocks = attrs.blocks
    entry.st_atime_ns = attrs.atime_ns
    entry.st_mtime_ns = attrs.mtime_ns
    entry.st_ctime_ns = attrs.ctime_ns
    return entry


def _change(attr: EntryAttributes, fields: SetattrFields) -> Change:
    return Change(
        mode=attr.st_mode & 0o7777 if fields.update_mode else None,
        uid=attr.st_uid if fields.update_uid else None,
        gid=attr.st_gid if fields.update_gid else None,
        size=attr.st_size if fields.update_size else None,
        atime_ns=kept_time(attr.st_atime_ns) if fields.update_atime else None,
        mtime_ns=kept_time(attr.st_mtime_ns) if fields.update_mtime else None,
        ctime_ns=attr.st_ctime_ns if fields.update_ctime else None,
    )


def _statfs(stats: FsStats) -> StatvfsData:
    data = StatvfsData()
    data.f_bsize = data.f_frsize = stats.block_size
    data.f_blocks = stats.blocks
    data.f_bfree = data.f_bavail = stats.free_blocks
    data.f_files = stats.files
    data.f_ffree = data.f_favail = stats.free_files
    data.f_namemax = NAME_MAX
    return data
