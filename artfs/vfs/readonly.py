"""What all trees that nobody can write to have in common: every change is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from artfs.types import path_shown
from artfs.vfs.errors import ReadOnly
from artfs.vfs.tree import Attrs, Caller, Change, Opened


def _refuse(name: bytes = b"") -> NoReturn:
    raise ReadOnly(path_shown(name))


class ReadOnlyTree:
    """The half of `Tree` that a read-only tree need not write itself."""

    writable = False

    def forget(self, inodes: Sequence[tuple[int, int]]) -> None:
        """Nothing to do: inode numbers are computed, or kept for the life of the mount."""

    def looked_up(self, ino: int) -> None:
        """Nothing to do, as in `forget`."""

    async def fsync(self, handle: int, data_only: bool) -> None:
        """Nothing is ever unwritten."""

    async def fsyncdir(self, handle: int) -> None:
        """Nothing is ever unwritten."""

    async def setattr(self, ino: int, change: Change, handle: int | None) -> Attrs:
        _refuse()

    async def setxattr(self, ino: int, name: bytes, value: bytes) -> None:
        _refuse(name)

    async def removexattr(self, ino: int, name: bytes) -> None:
        _refuse(name)

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[Attrs, Opened]:
        _refuse(name)

    async def write(self, handle: int, offset: int, data: bytes) -> int:
        _refuse()

    async def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attrs:
        _refuse(name)

    async def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Attrs:
        _refuse(name)

    async def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attrs:
        _refuse(name)

    async def link(self, ino: int, parent: int, name: bytes) -> Attrs:
        _refuse(name)

    async def unlink(self, parent: int, name: bytes, caller: Caller) -> None:
        _refuse(name)

    async def rmdir(self, parent: int, name: bytes, caller: Caller) -> None:
        _refuse(name)

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int
    ) -> None:
        _refuse(name)

    async def close(self) -> None:
        """Nothing is held that does not go with the process."""
