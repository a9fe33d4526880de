"""Blocking work of a draft, in threads that are waited for.

Other than reading, writing has effects: a wait for it must not be given up while it goes on. So
these threads are not abandoned when their task is cancelled, and they have a limit of their own.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, TypeVarTuple

import trio

from artfs.vfs.errors import FileSystemError, FileTooLarge, NoSpace

T = TypeVar("T")
Args = TypeVarTuple("Args")

_limiter = trio.CapacityLimiter(8)


async def in_thread(fn: Callable[[*Args], T], *args: *Args) -> T:
    """What `fn` returns or raises, run in a thread, always to its end."""
    return await trio.to_thread.run_sync(fn, *args, limiter=_limiter)


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn what the disk under the draft refuses into `NoSpace`, `FileTooLarge` or else
    `FileSystemError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(what) from error
        if error.errno == errno.EFBIG:
            raise FileTooLarge(what) from error
        raise FileSystemError(what, str(error)) from error
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            raise NoSpace(what) from error
        raise FileSystemError(what, f"the draft's journal: {error}") from error
