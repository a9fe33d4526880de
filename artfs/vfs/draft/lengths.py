"""Appends to files whose length others changed under those who have them open.

For O_APPEND the kernel takes the length that it has cached, and it does not ask before. So what
comes at the length that a file had before belongs behind the one that it has now. Event loop only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from artfs.vfs.draft.codec import Inode
from artfs.vfs.draft.stale import Stale


class Lengths:
    """By inode, the length that the kernel may have yet, and what it stands for. Falsy if none."""

    def __init__(self, forget: Callable[[Stale], Awaitable[bool]] | None) -> None:
        self._forget = forget
        self._old: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._old)

    def changed(self, inode: Inode, before: int) -> None:
        """Others have changed a file's length, which was `before`."""
        before, _ = self._old.get(inode.ino, (before, 0))
        self._old[inode.ino] = before, inode.size

    def place(self, inode: Inode, offset: int, size: int, *, appends: bool) -> int:
        """Where a write at an offset goes. `appends`: by a handle with O_APPEND."""
        if inode.ino not in self._old:
            return offset
        old, new = self._old[inode.ino]
        new = max(new, inode.size)
        # By such a handle nothing else comes there, but for a page that was stored into through a
        # mapping and begins at the old end.
        at = new if appends and offset == old else offset
        old, new = max(old, offset + size), max(new, at + size)
        if old == new:
            self.drop(inode)
        else:
            self._old[inode.ino] = old, new
        if at != offset and self._forget is not None:
            # It has the data at the wrong place, and that may be locked until this is answered.
            trio.lowlevel.spawn_system_task(self._forget, Stale(files=[inode.ino]))
        return at

    def drop(self, inode: Inode) -> None:
        """The kernel has the right one."""
        self._old.pop(inode.ino, None)
