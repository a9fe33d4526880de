"""Making holes in files: fallocate(2), which Python does not have."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

#: <linux/falloc.h>
_KEEP_SIZE, _PUNCH_HOLE = 1, 2

_UNKNOWN = (errno.EOPNOTSUPP, errno.ENOSYS)

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


#: Where there are no holes, zeros are written so many at a time.
_ZEROS = bytes(64 << 10)


def punch(fd: int, start: int, size: int) -> None:
    """Make `size` bytes of a file zeros that take no room, but do where the filesystem, as one that
    a draft was moved to, has no holes. Raises `OSError`."""
    try:
        _punch(fd, start, size)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        _zero(fd, start, min(start + size, os.fstat(fd).st_size))


def _punch(fd: int, start: int, size: int) -> None:
    if _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, size):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _zero(fd: int, start: int, end: int) -> None:
    for at in range(start, end, len(_ZEROS)):
        zeros = _ZEROS[: end - at]
        if os.pread(fd, len(zeros), at) != zeros:  # may be a hole
            os.pwrite(fd, zeros, at)


def can_punch(directory: Path) -> bool:
    """Whether the filesystem of a directory, which is empty, knows holes."""
    path = directory / "probe"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, b"x", 0)
        _punch(fd, 0, 4096)
    except OSError as error:
        if error.errno in _UNKNOWN:
            return False
        raise
    finally:
        os.close(fd)
        path.unlink()
    return True
