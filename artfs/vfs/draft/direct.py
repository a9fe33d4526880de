"""Writes that pass the kernel's page cache by.

Who makes a file mostly does nothing but write it. The kernel then need not copy each write into
pages of the mount before it sends it: 1 GiB takes a third less time, and half the memory; and one
that begins or ends within a page, as tar's do, is one request and not two.

What others read meanwhile, or store through a mapping, is in the kernel's pages all the same. Linux
drops those that a write covers before it sends it (since 6.6, before that not even these), but not
those that come until it is answered. So if the kernel may have got any, it is told to drop them
before the write is answered. Of those that something was stored in, it hands over all of the page
first, with what was in the file when it was read: what is just being written holds against that.

A write that comes this way does not say whether the writer may leave the file set-ID programs'
bits, which for others the kernel takes away by itself. Event loop only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable

from artfs.vfs.draft.attrs import drop_privileges
from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.foreign import Stale
from artfs.vfs.tree import Caller

_SET_ID = stat.S_ISUID | stat.S_ISGID


class DirectWrites:
    """The handles whose writes come this way. None do without `forget`, which has the kernel drop
    what it has cached."""

    def __init__(self, forget: Callable[[Stale], Awaitable[bool]] | None) -> None:
        self._forget = forget
        #: By handle, whether who opened it may write to a set-ID program that stays one.
        self._handles: dict[int, bool] = {}
        #: By inode, what is just being written this way.
        self._under_way: dict[int, tuple[int, bytes]] = {}

    def begin(self, handle: int, inode: Inode, flags: int, caller: Caller) -> bool:
        """Whether a handle is to be one of them. The file has just been made by opening it."""
        # Who may read may map it, and Linux maps no pages of a file that is opened so; nor does it
        # sync what is written so. With O_DIRECT it sends the parts of a long write at once, and
        # this way one by one.
        is_direct = (
            self._forget is not None
            and flags & (os.O_ACCMODE | os.O_DIRECT | os.O_SYNC | os.O_DSYNC) == os.O_WRONLY
            and not inode.mode & _SET_ID
        )
        if is_direct:
            self._handles[handle] = caller.uid == 0
        return is_direct

    def end(self, handle: int) -> None:
        """A handle was closed."""
        self._handles.pop(handle, None)

    async def write(
        self, handle: int, inode: Inode, offset: int, data: bytes,
        put: Callable[[Inode, int, bytes], Awaitable[None]],
    ) -> None:  # fmt: skip
        """Write by any handle of a file; `put` does it."""
        keeps = self._handles.get(handle)
        if keeps is None:
            inode.cached = True
            under_way = self._under_way.get(inode.ino)
            await put(inode, offset, _below(under_way, offset, data) if under_way else data)
            return
        # The kernel lets nobody else write to the file meanwhile, but for what it has of mappings.
        self._under_way[inode.ino] = offset, data
        try:
            await put(inode, offset, data)
            mode = inode.mode
            if not keeps:
                drop_privileges(inode)
            if inode.cached or inode.mode != mode:
                assert self._forget is not None
                inode.cached = False
                await self._forget(Stale(files=[inode.ino]))
        finally:
            del self._under_way[inode.ino]


def _below(above: tuple[int, bytes], offset: int, data: bytes) -> bytes:
    """Data at an offset, but where `above`, which is such a pair, has some."""
    at, other = above
    start, end = max(offset, at), min(offset + len(data), at + len(other))
    if start >= end:
        return data
    return data[: start - offset] + other[start - at : end - at] + data[end - offset :]
