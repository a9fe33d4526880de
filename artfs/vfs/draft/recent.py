"""What was changed since the journal's last transaction, in file `journal.recent`.

A transaction for every file that is made takes SQLite as long as all else about it. So changes that
are only new rows are noted here, by a write to the page cache, and go into a transaction together.
After a kill the journal takes them from here; after a reset of the machine they may be lost, as
only transactions are synced.

Records follow each other from the file's beginning: a header, which is the generation, the length
and the CRC-32 of generation and data, little-endian; and the data. Each transaction has a
generation of its own, which the journal holds, and begins the file anew: what counts are the whole
records from the beginning on that have the generation of the journal, so those made right behind
it. What was a generation before the machine was reset must not become one again, so their numbers
begin at random with each daemon. Event loop only.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_HEADER = struct.Struct("<QII")
_GENERATION = struct.Struct("<Q")
#: Taken on the disk once and for all, so that a full disk is none of its business.
_SIZE = 1 << 20


class Recent:
    """The file at `path`."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = 0
        self._size = 0
        #: Of the record before, and what its CRC began with.
        self._generation = -1
        self._seed = 0

    def records(self, generation: int) -> Iterator[bytes]:
        """The data of all records of a generation."""
        found = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        at = 0
        while at + _HEADER.size <= len(found):
            of, length, crc = _HEADER.unpack_from(found, at)
            at += _HEADER.size
            data = found[at : at + length]
            at += length
            if of != generation or not length or crc != zlib.crc32(data, _seed(of)):
                return
            yield data

    def append(self, generation: int, data: bytes) -> bool:
        """Note data, so that it outlives the daemon; False: there is no room. Raises `OSError`."""
        if generation != self._generation:
            self._generation, self._seed = generation, _seed(generation)
        record = _HEADER.pack(generation, len(data), zlib.crc32(data, self._seed)) + data
        if self._end + len(record) > self._size and not self._make_room(len(record)):
            return False
        written = os.pwrite(self._fd, record, self._end)
        if written < len(record):
            return False
        self._end += written
        return True

    def _make_room(self, size: int) -> bool:
        if self._end + size > _SIZE:
            return False
        with contextlib.suppress(OSError):
            os.posix_fallocate(self._fd, 0, _SIZE)
            self._size = _SIZE
        return bool(self._size)

    def restart(self) -> None:
        """Begin anew: the journal is of another generation now."""
        self._end = 0

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def _seed(generation: int) -> int:
    return zlib.crc32(_GENERATION.pack(generation))
