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
#: With twice so many bytes free nobody takes more than half in so many seconds, so it need not be
#: asked again for that time. Asking takes a tenth of creating a small file.
_AMPLE, _AMPLE_SECONDS = 1 << 30, 0.02
#: Left free for the operation under way, whatever it is.
_LAST = 512 << 10
#: With less than this free, the draft takes no more room for itself than it must.
_ROOMY = 64 << 20


class Space:
    """The filesystem that `directory` is on."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ballast = directory / "ballast"
        self._has_ballast = self._ballast.exists()  # of a draft that is resumed
        self._ample_until = 0.0
        #: Whether little was left when somebody last asked.
        self.is_low = False
        self.require()

    def check(self, size: int) -> None:
        """Raise `NoSpace` unless there is room for `size` bytes and what the journal needs."""
        free = self._free()
        if free < _MARGIN + size:
            raise NoSpace
        if not self._has_ballast and free > 2 * (_MARGIN + _BALLAST):
            self._take_ballast()

    def make_room(self) -> None:
        """Before an operation that frees more than it takes: raise `NoSpace` only if not even it
        can be noted."""
        if self.give_way() < _LAST:
            raise NoSpace

    def give_way(self) -> int:
        """Before what has been done is noted; returns how many bytes there are for that."""
        free = self._free()
        if free < _MARGIN and self._has_ballast:
            self._ballast.unlink(missing_ok=True)
            self._has_ballast = False
            free = self._free()
        return free

    def require(self) -> None:
        """Before the journal takes much at once: raise `NoSpace` unless there is room for it."""
        self.give_way()
        self.check(0)

    def _free(self) -> int:
        """Bytes left, or some of them if there are plenty."""
        now = time.monotonic()
        if now < self._ample_until:
            return _AMPLE
        found = os.statvfs(self._directory)
        free = found.f_bavail * found.f_frsize
        self.is_low = free < _ROOMY
        if free > 2 * _AMPLE:
            self._ample_until = now + _AMPLE_SECONDS
        return free

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
