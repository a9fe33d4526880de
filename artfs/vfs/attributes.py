"""What stat shows of a committed entry."""

from __future__ import annotations

import stat

import msgspec

from artfs.types import Entry, Kind
from artfs.vfs.tree import Attrs

#: Seconds that the kernel may believe what can never change; it takes up to 2**32 or so.
FOREVER = 1e9
DIRECTORY_SIZE = 4096


class Owner(msgspec.Struct, frozen=True):
    """Who owns all files of a read-only mount: the user who mounted it."""

    uid: int
    gid: int


def attrs_of(ino: int, e: Entry, owner: Owner) -> Attrs:
    """The attributes of an entry, good for ever."""
    kind, time = e.kind, e.mtime_ns
    if kind in (Kind.FILE, Kind.REFERENCE):
        mode, links, size = stat.S_IFREG | e.mode, 1, e.size
    elif kind == Kind.DIRECTORY:
        mode, links, size = stat.S_IFDIR | e.mode, 2, DIRECTORY_SIZE
    else:
        mode, links, size = stat.S_IFLNK | 0o777, 1, len(e.target)
    return Attrs(
        ino, mode, links, owner.uid, owner.gid, size, time, time, time, 0, (size + 511) >> 9,
        FOREVER, FOREVER,
    )  # fmt: skip
