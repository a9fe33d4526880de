"""Files that get their name when they are whole, and what writers that were killed leave of them.

Such a file is locked with flock(2) for as long as it is written, so whether its writer lives can
be told on this machine. Another machine's lock may not show here, if the directory is one of a
network; so the name says which boot of which machine wrote it, and what another one wrote is taken
to be dead when nothing has been written to it for a day.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO

from blake3 import blake3

from artfs.repo.process import boot

_NAME = re.compile(rb"\.artfs-(?P<boot>[0-9a-f]{8})-[0-9a-f]{16}\Z")
#: Seconds.
_PATIENCE = 86_400.0
#: Where /proc does not say.
_NO_BOOT = b"0" * 8


def new_name(directory: bytes) -> bytes:
    """A path for something new in a directory."""
    return b"%s/.artfs-%s-%s" % (directory, _this_boot(), secrets.token_hex(8).encode())


@contextlib.contextmanager
def named_when_whole(directory: bytes) -> Iterator[tuple[BinaryIO, bytes]]:
    """A new file and its path; the block gives it another name, or fails: then it is removed.

    Raises `OSError`.
    """
    file, path = _created(directory)
    with file:
        try:
            yield file, path
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            raise


def flushed(file: BinaryIO) -> None:
    """Meet the errors that a file system of a network keeps for when a file is closed."""
    os.close(os.dup(file.fileno()))


def sweep(directory: bytes, kept: Callable[[], Collection[bytes]]) -> None:
    """Remove what killed writers left in a directory; `kept` says which names are no leavings.

    What cannot be removed stays. Raises `OSError` if the directory cannot be read.
    """
    with os.scandir(directory) as found:
        left = {entry.name for entry in found if is_partial(entry.name)}
    for name in left.difference(kept()) if left else ():
        path = directory + b"/" + name
        with contextlib.suppress(OSError):
            remove(path, 0.0 if _is_ours(path) else _PATIENCE)


def is_partial(name: bytes) -> bool:
    """Whether it is the name of something that is not whole, or was not."""
    return _NAME.match(name) is not None


def remove(path: bytes, age: float = 0.0) -> None:
    """Remove a file or link, unless somebody is seen to write it, or it was changed less than `age`
    seconds ago. Raises `OSError`."""
    with contextlib.ExitStack() as stack:
        if not os.path.islink(path):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # NFS: LOCK_EX is for writers only
            except OSError:
                return  # it is written, or that cannot be told
        # With the lock: who has just made the file, and is about to lock it, sees that it is gone.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - os.lstat(path).st_ctime >= age:
                os.unlink(path)


def _created(directory: bytes) -> tuple[BinaryIO, bytes]:
    while True:
        path = new_name(directory)
        file = open(path, "xb", buffering=0)  # noqa: SIM115  # closed by who gets it
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                return file, path
        except BaseException:
            file.close()
            raise
        file.close()  # swept before it was locked


def _is_ours(path: bytes) -> bool:
    """Whether a lock of its writer would show: one of this boot of this machine, of a file."""
    name = _NAME.match(os.path.basename(path))
    is_here = name is not None and name["boot"] == _this_boot() != _NO_BOOT
    return is_here and not os.path.islink(path)


@functools.cache
def _this_boot() -> bytes:
    here = boot()
    return blake3(here.encode()).hexdigest()[:8].encode() if here else _NO_BOOT
