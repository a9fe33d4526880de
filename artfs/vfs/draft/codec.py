"""How entries, layers and inodes are written into the journal. Pure."""

from __future__ import annotations

import stat
import weakref

import msgspec

from artfs.types import BlobRef, Entry, Kind, kept_time
from artfs.vfs.draft.journal import Row

#: No file is longer (Linux: loff_t), so a layer with this limit covers all of it.
EVERYTHING = (1 << 63) - 1
#: `Layer.limit` of a layer that covers what table `extents` says.
PARTIAL = -1


class Layer(msgspec.Struct, array_like=True):
    """What was written to a file within one epoch; see table `inodes`."""

    epoch: int
    limit: int


class Inode:
    """A file, directory, link or special file of the draft, as table `inodes` has it; one object
    per number at a time, so that all who hold it see one state.

    `marked`: the epoch in which all of its names, and all directories above, got their rows in
    `changes`. `opens`: handles. `cached`: the kernel may have some of the content; see
    `DirectWrites`. `forgotten`: the kernel does not know it any more. `dropped`: nor does the
    journal.
    """

    __slots__ = (
        "__weakref__", "atime_ns", "base_len", "cached", "ctime_ns", "dropped", "forgotten", "gid",
        "home", "ino", "layers", "lower", "marked", "mode", "mtime_ns", "nlink", "opens", "rdev",
        "size", "target", "uid",
    )  # fmt: skip

    def __init__(self, ino: int, mode: int, uid: int, gid: int) -> None:
        self.ino = ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.rdev = 0
        self.size = 0
        self.atime_ns = self.mtime_ns = self.ctime_ns = 0
        self.nlink = 1
        self.target = b""
        self.lower: Entry | None = None
        self.base_len = 0
        self.layers: list[Layer] = []
        self.home: tuple[int, bytes] | None = None
        self.marked = 0
        self.opens = 0
        self.cached = False
        self.forgotten = False
        self.dropped = False

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def refers(self) -> bool:
        """Whether nothing was written to it and it is a reference."""
        lower = self.lower
        return lower is not None and lower.kind == Kind.REFERENCE and not self.has_own_content()

    def has_own_content(self) -> bool:
        """Whether a file's content differs, or may differ, from `lower`."""
        if self.lower is None:
            return True
        return bool(self.layers) or not self.base_len == self.size == self.lower.size


def pack(entry: Entry) -> bytes:
    """An entry as the journal has it: a msgpack array."""
    blob = entry.blob
    place = None
    if blob is not None:
        place = [blob.digest, blob.size, blob.pack, blob.offset, blob.stored]
    return msgspec.msgpack.encode(
        [
            entry.name, int(entry.kind), entry.mode, entry.mtime_ns, entry.size, entry.count,
            entry.digest, place, entry.height, entry.target,
        ]
    )  # fmt: skip


def unpack(data: bytes) -> Entry:
    """The entry in bytes that `pack` made."""
    name, kind, mode, mtime_ns, size, count, digest, place, height, target = msgspec.msgpack.decode(
        data
    )
    blob = BlobRef(*place) if place is not None else None
    return Entry(name, Kind(kind), mode, mtime_ns, size, count, digest, blob, height, target)


def to_row(inode: Inode) -> Row:
    """The row of an inode."""
    return (
        inode.ino, inode.mode, inode.uid, inode.gid, inode.rdev, inode.size,
        inode.atime_ns, inode.mtime_ns, inode.ctime_ns, inode.nlink, inode.target,
        pack(inode.lower) if inode.lower is not None else None, inode.base_len,
        msgspec.msgpack.encode(inode.layers) if inode.layers else None,
        *(inode.home or (None, None)),
    )  # fmt: skip


def of_row(row: Row) -> Inode:
    """The inode in a row."""
    inode = Inode(row[0], row[1], row[2], row[3])
    inode.rdev, inode.size = row[4], row[5]
    inode.atime_ns, inode.mtime_ns, inode.ctime_ns, inode.nlink = row[6], row[7], row[8], row[9]
    inode.target = row[10]
    inode.lower = unpack(row[11]) if row[11] is not None else None
    inode.base_len = row[12]
    if row[13] is not None:
        inode.layers = msgspec.msgpack.decode(row[13], type=list[Layer])
    if row[14] is not None and row[15] is not None:
        inode.home = (row[14], row[15])
    return inode


_FORMATS = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.REFERENCE: stat.S_IFREG,
}


def mode_of(entry: Entry) -> int:
    """The mode of a base's entry, with its type."""
    return _FORMATS[entry.kind] | (0o777 if entry.kind == Kind.SYMLINK else entry.mode)


def nlink_of(entry: Entry) -> int:
    """The links of a base's entry: 1 for a directory that is not empty, which says that nobody
    has counted its subdirectories, as on btrfs."""
    return 2 if entry.is_dir and not entry.count else 1


def size_of(entry: Entry) -> int:
    """`st_size` of a base's entry."""
    if entry.is_dir:
        return 4096
    return len(entry.target) if entry.kind == Kind.SYMLINK else entry.size


def of_entry(ino: int, entry: Entry, home: tuple[int, bytes] | None, uid: int, gid: int) -> Inode:
    """The inode of a base's entry that nothing has happened to."""
    inode = Inode(ino, mode_of(entry), uid, gid)
    inode.size = size_of(entry)
    inode.atime_ns = inode.mtime_ns = inode.ctime_ns = kept_time(entry.mtime_ns)
    inode.nlink = nlink_of(entry)
    inode.target = entry.target if entry.kind == Kind.SYMLINK else b""
    inode.lower = entry
    inode.base_len = entry.size if entry.kind in (Kind.FILE, Kind.REFERENCE) else 0
    inode.home = home
    return inode


Alive = weakref.WeakValueDictionary[int, Inode]
