"""Making holes in files: fallocate(2), which Python does not have."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

#: <linux/falloc.h>
_KEEP_SIZE, _PUNCH_HOLE = 1, 2

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch(fd: int, start: int, size: int) -> None:
    """Make `size` bytes of a file zeros that take no room. Raises `OSError`."""
    if _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, start, size):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def can_punch(directory: Path) -> bool:
    """Whether the filesystem of a directory, which is empty, knows holes."""
    path = directory / "probe"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, b"x", 0)
        punch(fd, 0, 4096)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        raise
    finally:
        os.close(fd)
        path.unlink()
    return True
