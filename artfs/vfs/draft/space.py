"""Room on the disk that holds the draft.

The journal must never meet a full disk: what it holds has been answered for. So before an
operation its log takes what it may need of the disk (`Journal.reserve`), where no other program can
have it. An operation that takes room is refused with `NoSpace` while some is left for those that
make room (unlink, truncate) and for closing what has been written. Event loop only.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from artfs.vfs.draft.journal import Journal
from artfs.vfs.errors import NoSpace
from artfs.vfs.tree import FsStats

#: Left free on the disk, and in the journal's log, by what takes room: some hundred operations.
_MARGIN = 2 << 20
#: With twice so many bytes free nobody takes more than half in so many seconds, so it need not be
#: asked again for that time. Asking takes a tenth of creating a small file.
_AMPLE, _AMPLE_SECONDS = 1 << 30, 0.02
#: Left in the journal's log for the operation under way, whatever it is.
_LAST = 512 << 10
#: With less than this free, the draft takes no more room for itself than it must.
_ROOMY = 64 << 20


class Space:
    """The filesystem that `directory` is on."""

    def __init__(self, directory: Path, journal: Journal) -> None:
        self._directory = directory
        self._journal = journal
        self._ample_until = 0.0
        #: Whether little was left when somebody last asked.
        self.is_low = False
        self.require()

    def check(self, size: int) -> None:
        """Raise `NoSpace` unless there is room for `size` bytes and what the journal needs."""
        if self._free() < _MARGIN + size:
            raise NoSpace
        self.require()

    def is_ample(self) -> bool:
        """Whether `check` need not be asked before a request: it would take most of its time."""
        return time.monotonic() < self._ample_until and self._journal.has_reserved(_MARGIN)

    def make_room(self) -> None:
        """Before an operation that frees more than it takes: raise `NoSpace` only if not even it
        can be noted."""
        self._journal.reserve(_LAST)

    def require(self) -> None:
        """Before the journal takes much at once: raise `NoSpace` unless there is room for it."""
        self._journal.reserve(_MARGIN)

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

    def stats(self) -> FsStats:
        """What statfs shows: what is really left."""
        found = os.statvfs(self._directory)
        unit = found.f_frsize
        return FsStats(unit, found.f_blocks, found.f_bavail, found.f_files, found.f_favail)
