"""The journal's write-ahead log: how long it is, and room on the disk that is taken ahead for it.

SQLite appends to the log whatever a transaction changed. Where another program takes the last of
the disk meanwhile, a transaction could not be written whose changes have been answered for. So the
files are made longer than what SQLite has written to them: it takes what lies behind the last valid
frame for nothing, writes over it without asking the disk for more, and keeps the log's length when
it begins anew. The database gets its room so that the log can be copied into it, but is cut again
each time. (https://www.sqlite.org/walformat.html: a frame without the header's salt, or with a
wrong checksum, is the end; the -shm file is an index of 32 KiB for each 4,096 frames. Of the
database only as many pages count as its header says.) Event loop only, but for `sync` and `copied`.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

from artfs.vfs.errors import NoSpace

_HEADER, _FRAME_HEADER = 32, 24
_INDEX, _INDEX_FRAMES = 32 << 10, 4096
#: In the -shm file, as native integers: frames in the log and pages of the database with them;
#: frames that the database has.
_FRAMES_AT, _COPIED_AT = 16, 96
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
        #: Bytes that are known to fit into both.
        self.room = 0
        #: How long they are, or less.
        self._length = self._database_length = 0
        #: What `_state` found since the last transaction.
        self._known: tuple[int, int] | None = None
        #: The errno with which it could not be synced.
        self._lost: int | None = None

    def _state(self) -> tuple[int, int]:
        """Frames in the log, pages of the database with them."""
        if self._known is None:
            frames, pages = struct.unpack("=II", os.pread(self._shm, 8, _FRAMES_AT))
            self._known = frames, pages
        return self._known

    def grew(self) -> None:
        """There is a new transaction."""
        self._known = None
        self.room = 0

    @property
    def size(self) -> int:
        """Bytes that committed transactions take."""
        return _HEADER + self._state()[0] * self._frame

    @property
    def uncopied(self) -> int:
        """`size` if the database does not have all of it, else 0: it can begin anew."""
        (copied,) = struct.unpack("=I", os.pread(self._shm, 4, _COPIED_AT))
        return self.size if copied < self._state()[0] else 0

    @property
    def length(self) -> int:
        """Bytes of its file."""
        return os.fstat(self._wal).st_size

    def reserve(self, size: int) -> None:
        """See to it that `size` bytes can be appended. Raises `NoSpace`."""
        end = _HEADER + self._state()[0] * self._frame + size
        if end > self._length:
            indexes = end // (self._frame * _INDEX_FRAMES) + 2
            _lengthen(self._shm, indexes * _INDEX)
            self._length = _lengthen(self._wal, end)

    def reserve_copy(self, size: int) -> None:
        """See to it that the database can take what the log holds, with `size` bytes more. Raises
        `NoSpace`."""
        frames, pages = self._state()
        end = pages * self._page
        if end + size > self._database_length:
            self._database_length = _lengthen(self._database, end + size)
        log_end = _HEADER + frames * self._frame
        self.room = min(self._length - log_end, self._database_length - end)

    def copied(self) -> None:
        """SQLite has cut the database, and maybe the log, to what it needs. Any thread."""
        self._length = self._database_length = self.room = 0
        self._known = None

    def sync(self) -> None:
        """Make it durable. Blocks; any thread. Raises `OSError`; then nothing that is behind what
        was lost can be promised any more, though the kernel tells of an error but once."""
        if self._lost is not None:
            raise OSError(self._lost, os.strerror(self._lost))
        try:
            os.fdatasync(self._wal)
        except OSError as error:
            self._lost = error.errno or errno.EIO
            raise

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._wal, self._shm, self._database):
            os.close(file)


def _lengthen(file: int, size: int) -> int:
    """Make a file at least `size` bytes long, some more if there is room; its length."""
    have = os.fstat(file).st_size
    if size <= have:
        return have
    for length in (size + _STEP, size):
        try:
            os.posix_fallocate(file, have, length - have)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        else:
            return length
    raise NoSpace
