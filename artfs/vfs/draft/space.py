"""Room on the disk that holds the draft.

The journal must never meet a full disk: what it holds has been answered for. So an operation that
takes room is refused with `NoSpace` while some is left, and a ballast file gives way to those that
make room (unlink, truncate), and to what has been answered for and is yet to be noted, even where
another program has taken the rest. Event loop only.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from artfs.vfs.errors import NoSpace
from artfs.vfs.tree import FsStats

#: Left free for the journal: some hundred operations.
_MARGIN = 2 << 20
_BALLAST = 4 << 20
#: With so many bytes free nobody can take them all in a moment: it need not be asked again for so
#: many seconds, or until half of them have been written here. Asking takes a tenth of creating a
#: small file.
_AMPLE, _AMPLE_SECONDS = 1 << 30, 0.02


class Space:
    """The filesystem that `directory` is on."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ballast = directory / "ballast"
        self._has_ballast = False
        self._ample_until = 0.0
        self._taken = 0
        self.check(0)

    def check(self, size: int) -> None:
        """Raise `NoSpace` unless there is room for `size` bytes and what the journal needs."""
        now = time.monotonic()
        if now < self._ample_until:
            self._taken += size
            if self._taken < _AMPLE // 2:
                return
        free = self._free()
        if free > _AMPLE and self._has_ballast:
            self._ample_until, self._taken = now + _AMPLE_SECONDS, size
            return
        if free < _MARGIN + size:
            raise NoSpace
        if not self._has_ballast and free > 2 * (_MARGIN + _BALLAST):
            self._take_ballast()

    def make_room(self) -> None:
        """Before what must not fail, such as an operation that frees more than it takes."""
        if self._has_ballast and self._free() < _MARGIN:
            self._ballast.unlink(missing_ok=True)
            self._has_ballast = False

    def require(self) -> None:
        """Before the journal takes much at once: raise `NoSpace` unless there is room for it."""
        self.make_room()
        self.check(0)

    def _free(self) -> int:
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize

    def _take_ballast(self) -> None:
        fd = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _BALLAST)
        finally:
            os.close(fd)
        self._has_ballast = True

    def stats(self) -> FsStats:
        """What statfs shows: what is really left."""
        found = os.statvfs(self._directory)
        unit = found.f_frsize
        return FsStats(unit, found.f_blocks, found.f_bavail, found.f_files, found.f_favail)
