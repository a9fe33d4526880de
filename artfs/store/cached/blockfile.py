"""One pack's file in the cache: a header, a state for each block, the blocks in their places.

artfs-format(5), CACHE has the layout and the order of writes. A file is shared by all processes of
the machine. It may be cut to nothing at any time by whoever makes room (`discard`), and what was
read from it then is short, or zeros, which the digest of a blob gives away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path

from artfs.store.files import read_at_hand

#: The unit that is kept. Half of the chunks of artfs-format(5) lie in two of them or fewer.
BLOCK = 64 << 10
_MAGIC = b"ARTFSBC1"
_HEADER = struct.Struct(">8sQ")  # magic, 1 + size of the pack or 0 for not known
_STATES = 4096
#: Blocks that a file can have: twice as many as the greatest pack.
MAX_BLOCKS = (BLOCK - _STATES) & ~4095
_DATA = BLOCK
_PRESENT = 1
_FLOCK = struct.Struct("hhqqi")  # struct flock of 64-bit Linux


class BlockFile:
    """An open file of the cache. Thread-safe, but for `close` while another thread reads."""

    def __init__(self, path: Path) -> None:
        """Open the file, made if it is missing. Raises `OSError`."""
        self._fd = -1
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.size: int | None = None
        head = os.pread(self._fd, _HEADER.size, 0)
        if len(head) == _HEADER.size and head.startswith(_MAGIC):
            self.size = (_HEADER.unpack(head)[1] or 0) - 1
            self.size = None if self.size < 0 else self.size
        else:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, _HEADER.pack(_MAGIC, 0), 0)

    def states(self, first: int, stop: int) -> bytes:
        """A byte for each block, 1 for one that is here; short where none follows."""
        return os.pread(self._fd, stop - first, _STATES + first)

    def is_discarded(self) -> bool:
        """Whether the file has lost its name: what is written to it is lost."""
        return os.fstat(self._fd).st_nlink == 0

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the pack, which must be here; short if they are not. May wait for the disk.
        Raises `OSError`."""
        data = os.pread(self._fd, length, _DATA + offset)
        return b"" if self.is_discarded() else data

    def read_at_hand(self, offset: int, length: int, patience: float) -> bytes | None:
        """The same if the kernel has them at hand, as `ObjectReader.read_cached`."""
        data = read_at_hand(self._fd, _DATA + offset, length, patience)
        # A file loses its name before it loses its blocks.
        return None if data is None or self.is_discarded() else data

    def expect(self, offset: int, length: int) -> None:
        """Have the kernel read ahead."""
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._fd, _DATA + offset, length, os.POSIX_FADV_WILLNEED)

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes of the pack into their place; they count when `fill` says so. Raises
        `OSError`."""
        view, at = memoryview(data), _DATA + offset
        while view:
            done = os.pwrite(self._fd, view, at)
            view, at = view[done:], at + done

    def fill(self, first: int, stop: int, size: int | None) -> None:
        """Say that blocks are here, after they were written: killed in between, they are absent.
        `size`: that of the pack, if it is known by now. Raises `OSError`."""
        if size is not None and size != self.size:
            os.pwrite(self._fd, _HEADER.pack(_MAGIC, size + 1), 0)
            self.size = size
        os.pwrite(self._fd, bytes([_PRESENT]) * (stop - first), _STATES + first)

    def drop(self, first: int, stop: int) -> None:
        """Make blocks absent again. Raises `OSError`."""
        os.pwrite(self._fd, bytes(stop - first), _STATES + first)
        os.pwrite(self._fd, _HEADER.pack(_MAGIC, 0), 0)
        self.size = None

    def try_lock(self, first: int, stop: int) -> bool:
        """Take blocks for filling; False if another process has one of them.

        Locks of the open file (fcntl(2)): they go when the process does, however it ends.
        """
        return self._lock(fcntl.F_WRLCK, first, stop)

    def unlock(self, first: int, stop: int) -> None:
        """Let others fill them."""
        self._lock(fcntl.F_UNLCK, first, stop)

    def _lock(self, kind: int, first: int, stop: int) -> bool:
        wanted = _FLOCK.pack(kind, os.SEEK_SET, _STATES + first, stop - first, 0)
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, wanted)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a file system without locks: two may fill one block, with equal bytes
        return True

    def touch(self) -> None:
        """Count as used now, for `room`."""
        with contextlib.suppress(OSError):
            os.utime(self._fd)

    def close(self) -> None:
        """Release the descriptor. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def discard(path: Path) -> None:
    """Give a pack's room back at once, whoever has it open. Raises `OSError`."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        path.unlink()
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)
