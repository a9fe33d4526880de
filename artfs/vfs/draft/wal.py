"""The journal's write-ahead log: how long it is, and room on the disk that is taken ahead for it.

SQLite appends to the log whatever a transaction changed. Where another program takes the last of
the disk meanwhile, a transaction could not be written whose changes have been answered for. So the
files are made longer than what SQLite has written to them: it takes what lies behind the last valid
frame for nothing, writes over it without asking the disk for more, and keeps the log's length when
it begins anew. The database gets its room so that the log can be copied into it, but is cut again
each time. (https://www.sqlite.org/walformat.html: a frame without the header's salt, or with a
wrong checksum, is the end; the -shm file is an index of 32 KiB for each 4,096 frames. Of the
database only as many pages count as its header says.) Event loop only, but for `sync`.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

from artfs.vfs.errors import NoSpace

_HEADER, _FRAME_HEADER = 32, 24
_INDEX, _INDEX_FRAMES = 32 << 10, 4096
#: In the -shm file, as native integers: frames in the log; pages of the database with them; frames
#: that the database has.
_FRAMES_AT, _PAGES_AT, _COPIED_AT = 16, 20, 96
#: Taken at a time.
_STEP = 1 << 20


class Log:
    """The log of `journal`, a database with pages of `page` bytes that has been read from.

    `close` it after all of the process's connections: closing a file ends SQLite's locks on it.
    """

    def __init__(self, journal: Path, page: int) -> None:
        self._page = page
        self._frame = _FRAME_HEADER + page
        self._database, self._wal, self._shm = (
            os.open(f"{journal}{suffix}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            for suffix in ("", "-wal", "-shm")
        )

    def _number(self, offset: int) -> int:
        number: int = struct.unpack("=I", os.pread(self._shm, 4, offset))[0]
        return number

    @property
    def size(self) -> int:
        """Bytes that committed transactions take."""
        return _HEADER + self._number(_FRAMES_AT) * self._frame

    @property
    def uncopied(self) -> int:
        """`size` if the database does not have all of it, else 0: it can begin anew."""
        return self.size if self._number(_COPIED_AT) < self._number(_FRAMES_AT) else 0

    @property
    def length(self) -> int:
        """Bytes up to which it can grow without asking the disk."""
        return os.fstat(self._wal).st_size

    def reserve(self, size: int) -> None:
        """See to it that `size` bytes can be appended, and copied. Raises `NoSpace`."""
        end = self.size + size
        database = self._number(_PAGES_AT) * self._page + size
        if end <= self.length and database <= os.fstat(self._database).st_size:
            return
        for more in (_STEP, 0):
            try:
                indexes = (end + more) // (self._frame * _INDEX_FRAMES) + 2
                _lengthen(self._shm, indexes * _INDEX)
                _lengthen(self._wal, end + more)
                _lengthen(self._database, database + more)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
            else:
                return
        raise NoSpace

    def sync(self) -> None:
        """Make it durable. Blocks; any thread."""
        os.fdatasync(self._wal)

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._wal, self._shm, self._database):
            os.close(file)


def _lengthen(file: int, size: int) -> None:
    have = os.fstat(file).st_size
    if size > have:
        os.posix_fallocate(file, have, size - have)
