"""What is at a path of a version, links followed as in a mount.

A link that leads out of its version leads nowhere here: what it would meet in a mount is another
version, or a file of the machine, and neither is part of this one.
"""

from __future__ import annotations

import errno
from collections import deque

from artfs.api.oserrors import failure
from artfs.format import walk
from artfs.repo.blobs import Blobs
from artfs.repo.reading import drive
from artfs.types import Entry, Kind

#: As many as the kernel follows.
_LINKS = 40


def text(name: bytes) -> str:
    """A name or path of a version as Python has those of files: any bytes survive."""
    return name.decode("utf-8", "surrogateescape")


def raw(name: str) -> bytes:
    """The bytes of a name or path again."""
    return name.encode("utf-8", "surrogateescape")


def look_up(root: Entry, path: bytes, blobs: Blobs, shown: str, *, follow: bool = True) -> Entry:
    """The entry at a path below a version's root; with `follow`, what it leads to if it is a link.

    Raises `FileNotFoundError`, `NotADirectoryError` and `OSError` (ELOOP) with `shown`, the path as
    the caller wrote it; `Damaged`, `ObjectNotFound`, `Unreachable`.
    """
    way = [root]
    names = deque(path.split(b"/"))
    links = 0
    while names:
        name = names.popleft()
        if not way[-1].is_dir:
            raise failure(errno.ENOTDIR, shown)
        if name in (b"", b"."):
            continue
        if name == b"..":
            way.pop()
            if not way:
                raise _leads_out(shown)
            continue
        found = drive(walk.find(way[-1], 0, name), blobs)
        if found is None:
            raise failure(errno.ENOENT, shown)
        entry = found[1]
        if entry.kind != Kind.SYMLINK or not (names or follow):
            way.append(entry)
            continue
        links += 1
        if links > _LINKS:
            raise failure(errno.ELOOP, shown)
        if entry.target.startswith(b"/"):
            raise _leads_out(shown)
        names.extendleft(reversed(entry.target.split(b"/")))
    return way[-1]


def _leads_out(shown: str) -> OSError:
    return failure(errno.ENOENT, shown, "leads out of its version")
