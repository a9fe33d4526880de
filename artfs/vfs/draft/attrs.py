"""What stat shows of a draft's inodes. Pure."""

from __future__ import annotations

import stat

from artfs.types import Entry
from artfs.vfs.attributes import FOREVER, Owner
from artfs.vfs.draft import codec
from artfs.vfs.draft.codec import Inode
from artfs.vfs.tree import Attrs

# The kernel is the only one who changes a draft, and keeps what it has cached in step itself; a
# commit changes nothing that stat shows. So all of it is good for ever.


def of_inode(inode: Inode, blocks: int) -> Attrs:
    """The attributes of an inode that takes so many disk blocks."""
    return Attrs(
        inode.ino, inode.mode, inode.nlink, inode.uid, inode.gid, inode.size,
        inode.mtime_ns, inode.ctime_ns, inode.atime_ns, inode.rdev, blocks, FOREVER, FOREVER,
    )  # fmt: skip


def of_entry(ino: int, entry: Entry, owner: Owner) -> Attrs:
    """The attributes of a base's entry that nothing has happened to."""
    size, time = codec.size_of(entry), entry.mtime_ns
    return Attrs(
        ino, codec.mode_of(entry), codec.nlink_of(entry), owner.uid, owner.gid, size,
        time, time, time, 0, (size + 511) >> 9, FOREVER, FOREVER,
    )  # fmt: skip


def drop_privileges(inode: Inode) -> None:
    """What Linux does to set-id bits when somebody but root truncates a file. Where a file is
    written, truncated otherwise or given away, the kernel sends the mode that is left: it knows who
    may keep them, and that what comes from a mapped file is no reason."""
    inode.mode &= ~stat.S_ISUID
    if inode.mode & stat.S_IXGRP:  # without it the bit means mandatory locking
        inode.mode &= ~stat.S_ISGID
