"""Blocking work of a draft, in threads that are waited for.

Other than reading, writing has effects: a wait for it must not be given up while it goes on. So
these threads are not abandoned when their task is cancelled, and they have a limit of their own.
"""

from __future__ import annotations

import errno
import functools
import sqlite3
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

from artfs.vfs.errors import FileSystemError, FileTooLarge, NoSpace

T = TypeVar("T")
Args = TypeVarTuple("Args")

_limiter = trio.CapacityLimiter(8)


async def in_thread(fn: Callable[[*Args], T], *args: *Args) -> T:
    """What `fn` returns or raises, run in a thread, always to its end."""
    return await trio.to_thread.run_sync(fn, *args, limiter=_limiter)


@functools.cache
def disk_errors(what: str) -> _DiskErrors:
    """A context that turns what the disk under the draft refuses into `NoSpace`, `FileTooLarge` or
    else `FileSystemError`."""
    return _DiskErrors(what)


class _DiskErrors:
    # A generator under contextlib takes ten times as long, some 1 us, and each write needs one.

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(self._what) from error
            if error.errno == errno.EFBIG:
                raise FileTooLarge(self._what) from error
            raise FileSystemError(self._what, str(error)) from error
        if isinstance(error, sqlite3.Error):
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                raise NoSpace(self._what) from error
            raise FileSystemError(self._what, f"the draft's journal: {error}") from error
