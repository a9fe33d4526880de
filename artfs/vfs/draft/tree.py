"""A draft as a filesystem: `artfs.vfs.tree.Tree` over a base and a journal.

The parts do the work (names, content, listings, commits); what is here is what an operation is
made of and when it is safe: each one changes everything it changes between two awaits, and its
journal transaction is committed, or noted, before it is answered. So a close has nothing to do, and
the kernel need not ask for it (`flush`), which is a sixth of making a small file.
Operations that change something do not begin while the journal's log begins anew (`_pause`).

Event loop only. Commits read a snapshot of the journal in a thread (`artfs.vfs.draft.commit`).
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import stat
import time
from collections.abc import Awaitable, Callable, Sequence

import trio

from artfs.aio.fetch import Fetcher
from artfs.aio.references import ReferenceReads
from artfs.errors import ArtfsError
from artfs.types import Entry, Kind
from artfs.vfs.attributes import Owner
from artfs.vfs.draft import attrs
from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.commit import CommitResult, Committer
from artfs.vfs.draft.content import Contents
from artfs.vfs.draft.datafiles import DataFiles
from artfs.vfs.draft.direct import DirectWrites
from artfs.vfs.draft.foreign import Stale
from artfs.vfs.draft.garbage import Garbage
from artfs.vfs.draft.gate import Gate, Pause
from artfs.vfs.draft.handles import Handles
from artfs.vfs.draft.inodes import Inodes
from artfs.vfs.draft.lengths import Lengths
from artfs.vfs.draft.listing import Listings
from artfs.vfs.draft.names import Names
from artfs.vfs.draft.namespace import Namespace
from artfs.vfs.draft.policy import REBASE
from artfs.vfs.draft.records import COMMITTED, UNCHANGED
from artfs.vfs.draft.shortlog import ShortLog
from artfs.vfs.draft.space import Space
from artfs.vfs.draft.state import Draft, Ending
from artfs.vfs.draft.status import DraftStatus, status_of
from artfs.vfs.draft.threads import disk_errors, in_thread
from artfs.vfs.errors import (
    FileSystemError,
    FileTooLarge,
    InvalidArgument,
    IsADirectory,
    NeverSupported,
    NoSpace,
    NotADirectory,
)
from artfs.vfs.tree import ROOT, Attrs, Caller, Change, DirEntry, FsStats, Opened

_SIZE_MAX = (1 << 63) - 1
_PERMISSIONS = 0o7777
_DISK = disk_errors("draft")


class DraftTree:
    """One mounted draft. `commit_on` is 'unmount,sync' (both), 'sync' or 'unmount'; `on_conflict`
    what commits do that nothing else is said to."""

    writable = True

    def __init__(
        self,
        draft: Draft,
        fetcher: Fetcher,
        uid: int,
        gid: int,
        commit_on: str = "unmount,sync",
        on_conflict: str = REBASE,
        flush_kernel: Callable[[], Awaitable[None]] | None = None,
        forget_kernel: Callable[[Stale], Awaitable[bool]] | None = None,
    ) -> None:
        journal = draft.journal
        self.draft = draft
        self.commit_on = commit_on
        self.on_conflict = on_conflict
        self._journal = journal
        self._space = Space(draft.path, journal)
        self._data = DataFiles(draft.data, journal.shared_from)
        self._inodes = Inodes(journal, fetcher, uid, gid)
        self._names = Names(journal, self._inodes, fetcher)
        self._pause = Pause()
        self._garbage = Garbage(journal, self._inodes, self._data, self._space, self._pause)
        self._contents = Contents(
            journal, self._inodes, self._data, fetcher, self._garbage,
            ReferenceReads(draft.repository.references, fetcher.patience), self._names.path,
        )  # fmt: skip
        self._namespace = Namespace(journal, self._inodes, self._names, self._garbage)
        self._listings = Listings(journal, self._inodes, fetcher, Owner(uid, gid), self._attrs)
        self._handles = Handles()
        self._lengths = Lengths(forget_kernel)
        self._direct = DirectWrites(forget_kernel)
        self._gate = Gate()
        self._committer = Committer(
            draft, self._inodes, self._contents, self._names, self._handles, self._lengths,
            self._garbage, self._gate, self._pause, self._space, flush_kernel, forget_kernel,
        )  # fmt: skip
        self._log = ShortLog(
            journal, self._space, self._pause, self._committer.is_reading,
            functools.partial(self._save, at_once=True), self._garbage.go_on,
        )  # fmt: skip
        self._made_version = False
        #: What `finish` is to do, if somebody has said so.
        self.ending = Ending()
        self._garbage.sweep_leftovers()

    # Transactions

    async def _done(self) -> None:
        """End an operation: what it changed outlives the daemon."""
        if self._pause.is_on:
            await self._pause.over()
        self._save()
        if self._journal.has_grown:
            await self._log.keep()
        if self._garbage.wants_collecting():
            await self._garbage.collect()

    def _save(self, at_once: bool = False) -> None:
        """See to it that what was changed outlives the daemon; the journal is committed if need be,
        or `at_once`."""
        with _DISK:
            self._inodes.save()
            self._journal.note(at_once or self._space.is_low)
            self._contents.cut_shrunk()

    async def _make_room(self) -> None:
        """Before an operation that frees more than it takes. Raises `NoSpace`."""
        await self._pause.over()
        self._space.make_room()

    async def _take_room(self, size: int = 0) -> None:
        """Raise `NoSpace` unless the disk has room. Data files wait to be deleted together, so
        there may be some to be had."""
        if self._pause.is_on:
            await self._pause.over()
        try:
            self._space.check(size)
        except NoSpace:
            await self._garbage.collect(all_files=True, wait=True)
            self._space.check(size)

    def _has_room(self) -> bool:
        """Whether `_take_room` would neither wait nor raise."""
        return not self._pause.is_on and self._space.is_ample()

    def _attrs(self, inode: Inode) -> Attrs:
        return attrs.of_inode(inode, self._contents.blocks(inode))

    # Reading

    async def lookup(self, parent: int, name: bytes) -> Attrs:
        directory = await self._namespace.directory(parent, name)
        return self._attrs(await self._namespace.existing(directory, name))

    async def getattr(self, ino: int) -> Attrs:
        return self._attrs(await self._inodes.get(ino))

    def forget(self, inodes: Sequence[tuple[int, int]]) -> None:
        """The kernel forgets an inode all at once, when it drops it, so nobody has to count; and
        only inodes without a name have anything to be dropped here."""
        for ino, _ in inodes:
            inode = self._garbage.dead.get(ino)
            if inode is not None:
                inode.forgotten = True
                # Nobody can be told of an error; the next mount sweeps what stays.
                with contextlib.suppress(sqlite3.Error, FileSystemError):
                    self._garbage.bury_if_free(inode)

    def looked_up(self, ino: int) -> None:
        """See `forget`."""

    async def readlink(self, ino: int) -> bytes:
        inode = await self._inodes.get(ino)
        if not stat.S_ISLNK(inode.mode):
            raise InvalidArgument
        return inode.target

    async def statfs(self) -> FsStats:
        if not self._pause.is_on:
            await self._garbage.collect(all_files=True)
        return self._space.stats()

    # Files

    async def open(self, ino: int, flags: int, caller: Caller) -> Opened:
        inode = await self._inodes.get(ino)
        if inode.is_dir:
            raise IsADirectory
        if flags & os.O_TRUNC:
            await self._empty(inode)
            if caller.uid != 0:
                attrs.drop_privileges(inode)
            await self._done()
        elif inode.lower is not None and inode.lower.kind == Kind.REFERENCE:
            return await self._open_reference(inode, inode.lower, flags)
        return Opened(self._handles.open_file(inode, flags), True)

    async def _open_reference(self, inode: Inode, lower: Entry, flags: int) -> Opened:
        references = self._contents.references
        if flags & (os.O_WRONLY | os.O_RDWR):
            references.require_sized(lower)
        file = await references.opened(inode.ino, lower)
        handle = self._handles.open_file(inode, flags)
        return Opened(handle, file.verified, direct_io=not file.sized)

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[Attrs, Opened]:
        if not self._has_room():
            await self._take_room()
        kind = stat.S_IFREG | mode & _PERMISSIONS & ~caller.umask
        inode = await self._namespace.make(parent, name, kind, caller)
        handle = self._handles.open_file(inode, flags)
        try:
            await self._done()
        except BaseException:
            self._handles.close_file(handle)
            raise
        is_direct = self._direct.begin(handle, inode, flags, caller)
        return self._attrs(inode), Opened(handle, True, direct_io=is_direct)

    async def read(self, handle: int, offset: int, size: int) -> bytes:
        inode = self._handles.file(handle)
        inode.cached = True  # at once: see `DirectWrites`
        return await self._contents.read(inode, offset, size)

    async def write(self, handle: int, offset: int, data: bytes) -> int:
        inode = self._handles.file(handle)
        if offset + len(data) > _SIZE_MAX:
            raise FileTooLarge
        if not self._has_room():
            await self._take_room(len(data))
        if self._lengths:
            appends = self._handles.appends(handle)
            offset = self._lengths.place(inode, offset, len(data), appends=appends)
        await self._direct.write(handle, inode, offset, data, self._write)
        await self._done()
        return len(data)

    async def _write(self, inode: Inode, offset: int, data: bytes) -> None:
        if self._contents.pace.is_inline(len(data)):
            await self._put(inode, offset, data, inline=True)
        else:
            async with self._gate.passing():
                await self._put(inode, offset, data, inline=False)

    async def _put(self, inode: Inode, offset: int, data: bytes, *, inline: bool) -> None:
        if inode.marked != self._journal.epoch:
            await self._names.mark_inode(inode)
        await self._contents.write(inode, offset, data, inline=inline)
        inode.mtime_ns = inode.ctime_ns = time.time_ns()

    async def _truncate(self, inode: Inode, size: int) -> None:
        if size > _SIZE_MAX:
            raise FileTooLarge
        if inode.is_dir:
            raise IsADirectory
        if not inode.is_file:
            raise InvalidArgument
        lower = inode.lower
        if size and lower is not None and lower.kind == Kind.REFERENCE:
            self._contents.references.require_sized(lower)
        self._space.make_room()
        await self._names.mark_inode(inode)
        is_promised = self._contents.cuts_promised(inode, size)
        self._contents.truncate(inode, size)
        inode.mtime_ns = inode.ctime_ns = time.time_ns()
        if is_promised:
            await self._sync_before_cutting()

    async def _empty(self, inode: Inode) -> None:
        """Truncate what is opened with O_TRUNC: the kernel does not wait for writes under way."""
        await self._pause.over()
        await self._names.mark_inode(inode)  # so that nothing is waited for behind the question
        is_written = self._contents.is_being_written(inode)
        async with self._gate.closed() if is_written else contextlib.nullcontext():
            await self._truncate(inode, 0)

    async def _sync_before_cutting(self) -> None:
        """Make a truncation durable before what it has cut off is removed, or written over."""
        shrunk = self._contents.take_shrunk()
        try:
            with disk_errors("truncate"):
                self._inodes.save()
                self._journal.commit()
                await in_thread(self._journal.sync)
        finally:
            self._contents.add_shrunk(shrunk)

    async def release(self, handle: int) -> None:
        inode = self._handles.close_file(handle)
        self._direct.end(handle)
        if not inode.opens:
            self._lengths.drop(inode)
        self._garbage.bury_if_free(inode)
        if self._garbage.wants_collecting():
            await self._pause.over()
            await self._garbage.collect()

    def preload_next(self) -> tuple[int, bytes] | None:
        """None: what the kernel has of a draft's files goes through their handles."""
        return None

    def preloaded(self, ino: int) -> None:
        """Nothing is ever offered."""

    async def fsync(self, handle: int, data_only: bool) -> None:
        inode = self._handles.file(handle)
        await self._contents.sync(inode)
        await self._sync_journal()

    async def _sync_journal(self) -> None:
        await self._pause.over()
        with disk_errors("fsync"):
            self._inodes.save()
            self._journal.commit()
            await in_thread(self._journal.sync)
        await self._done()

    # Attributes

    async def setattr(self, ino: int, change: Change, handle: int | None) -> Attrs:
        inode = await self._inodes.get(ino)
        await self._make_room()
        if change.size is not None:
            await self._truncate(inode, change.size)
            self._lengths.drop(inode)  # the answer has it
        await self._names.mark_inode(inode)
        if change.mode is not None:
            inode.mode = stat.S_IFMT(inode.mode) | change.mode & _PERMISSIONS
        inode.uid = change.uid if change.uid is not None else inode.uid
        inode.gid = change.gid if change.gid is not None else inode.gid
        inode.atime_ns = change.atime_ns if change.atime_ns is not None else inode.atime_ns
        inode.mtime_ns = change.mtime_ns if change.mtime_ns is not None else inode.mtime_ns
        inode.ctime_ns = change.ctime_ns if change.ctime_ns is not None else time.time_ns()
        self._inodes.touch(inode)
        await self._done()
        return self._attrs(inode)

    # Unless it is told "never", the kernel asks for a capability before every write.

    async def getxattr(self, ino: int, name: bytes) -> bytes:
        raise NeverSupported("extended attributes of a draft")

    async def listxattr(self, ino: int) -> list[bytes]:
        return []  # tar and getfattr complain of a file whose attributes cannot be listed

    async def setxattr(self, ino: int, name: bytes, value: bytes) -> None:
        raise NeverSupported("extended attributes of a draft")

    async def removexattr(self, ino: int, name: bytes) -> None:
        raise NeverSupported("extended attributes of a draft")

    # Names

    async def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attrs:
        return await self._make(parent, name, stat.S_IFDIR | mode & ~caller.umask, caller)

    async def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Attrs:
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        if kind in (stat.S_IFDIR, stat.S_IFLNK):
            raise InvalidArgument
        return await self._make(parent, name, kind | mode & ~caller.umask, caller, rdev)

    async def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attrs:
        return await self._make(parent, name, stat.S_IFLNK | 0o777, caller, target=target)

    async def _make(
        self, parent: int, name: bytes, mode: int, caller: Caller, rdev: int = 0,
        target: bytes = b"",
    ) -> Attrs:  # fmt: skip
        await self._take_room()
        mode = stat.S_IFMT(mode) | mode & _PERMISSIONS
        inode = await self._namespace.make(parent, name, mode, caller, rdev, target)
        await self._done()
        return self._attrs(inode)

    async def link(self, ino: int, parent: int, name: bytes) -> Attrs:
        await self._take_room()
        inode = await self._namespace.link(ino, parent, name)
        await self._done()
        return self._attrs(inode)

    async def unlink(self, parent: int, name: bytes, caller: Caller) -> None:
        await self._make_room()
        await self._namespace.unlink(parent, name)
        await self._done()

    async def rmdir(self, parent: int, name: bytes, caller: Caller) -> None:
        await self._make_room()
        await self._namespace.rmdir(parent, name)
        await self._done()

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int
    ) -> None:
        await self._take_room()
        await self._namespace.rename(parent, name, new_parent, new_name, flags)
        await self._done()

    # Directories

    async def opendir(self, ino: int, caller: Caller) -> int:
        inode = await self._inodes.get(ino)
        if not inode.is_dir:
            raise NotADirectory
        return self._handles.open_directory(inode, ino == ROOT and _is_sync(caller.pid))

    async def readdir(self, handle: int, position: int) -> list[DirEntry]:
        return await self._listings.page(self._handles.directory(handle), position)

    async def releasedir(self, handle: int) -> None:
        self._garbage.bury_if_free(self._handles.close_directory(handle))

    async def fsyncdir(self, handle: int) -> None:
        await self._sync_journal()
        if self._handles.directory(handle).by_sync and "sync" in self.commit_on.split(","):
            try:
                await self.commit()
            except ArtfsError as error:
                raise FileSystemError("sync", str(error)) from error

    # Committing

    async def commit(
        self, description: str | None = None, on_conflict: str | None = None,
        is_mounted: bool = True,
    ) -> CommitResult:  # fmt: skip
        """Make the draft's present state the artifact's next version, and go on over it.

        Every write that returned before is in it. Where others made versions since the draft's
        base, `on_conflict` says what to do, see `artfs.vfs.draft.policy`. Raises `Conflict`,
        `NoSpace`, `Unreachable` and others; the draft is kept whatever happens.
        """
        policy = on_conflict or self.on_conflict
        result = await self._committer.commit(description, policy, is_mounted)
        self._made_version = self._made_version or result.changed
        return result

    async def status(self) -> DraftStatus:
        """What the draft has changed since its base."""
        with self._committer.snapshot() as snapshot:
            return await in_thread(status_of, self.draft, snapshot)

    async def finish(self, mode: str = "") -> CommitResult | None:
        """The mount is gone: 'commit', 'keep' or 'discard' the draft, and release everything.

        Without a mode, what `ending` or else `commit_on` says. A commit that fails leaves the draft
        to be resumed, with its error in draft.json, and raises.
        """
        mode = mode or self.ending.mode or ("commit" if "unmount" in self.commit_on else "keep")
        if mode == "discard":
            self._data.close_all()
            await in_thread(self.draft.discard)
            return None
        if mode == "keep":
            await self.close()
            return None
        try:
            result = await self.commit(on_conflict=self.ending.on_conflict, is_mounted=False)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.close()
            raise
        self._data.close_all()
        await in_thread(self.draft.finish, COMMITTED if self._made_version else UNCHANGED)
        return result

    async def close(self) -> None:
        """Release everything; the draft stays. Does nothing after `finish`."""
        if self.draft.closed:
            return
        with disk_errors("draft"):
            try:
                self._inodes.save()
            finally:
                self._data.close_all()
                await in_thread(self.draft.close)


def _is_sync(pid: int) -> bool:
    """Whether a process is coreutils' sync."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read() == b"sync\n"
    except OSError:
        return False
