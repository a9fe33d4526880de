"""From what went wrong to errno: the one table, and the decorator that applies it.

Only `FUSEError` may leave a handler of pyfuse3: anything else ends its main loop, and the mount
with it. So what nobody foresaw becomes EIO here, and goes to the log with its traceback.
"""

from __future__ import annotations

import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import pyfuse3

from artfs import errors
from artfs.fuse.pump import passing_on
from artfs.vfs import errors as vfs

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: By class; a class that is not here counts as its nearest base.
TABLE: dict[type[errors.ArtfsError], int] = {
    errors.ArtfsError: errno.EIO,
    errors.InvalidValue: errno.EINVAL,
    errors.NotFound: errno.ENOENT,
    # ENOENT would say that the file is not there; it is, but what it is made of is gone.
    errors.ObjectNotFound: errno.EIO,
    errors.AlreadyExists: errno.EEXIST,
    errors.Conflict: errno.EBUSY,
    errors.Damaged: errno.EIO,
    errors.UnsupportedFormat: errno.EIO,
    errors.Unreachable: errno.EIO,
    errors.Refused: errno.EIO,
    errors.Unsupported: errno.EOPNOTSUPP,
    errors.SourceChanged: errno.EIO,
    errors.SourceRefused: errno.EACCES,
    errors.MountFailed: errno.EIO,
    vfs.FileSystemError: errno.EIO,
    vfs.NoEntry: errno.ENOENT,
    vfs.Exists: errno.EEXIST,
    vfs.NotADirectory: errno.ENOTDIR,
    vfs.IsADirectory: errno.EISDIR,
    vfs.NotEmpty: errno.ENOTEMPTY,
    vfs.ReadOnly: errno.EROFS,
    vfs.NotPermitted: errno.EPERM,
    vfs.AccessDenied: errno.EACCES,
    vfs.NameTooLong: errno.ENAMETOOLONG,
    vfs.InvalidArgument: errno.EINVAL,
    vfs.NotSupported: errno.EOPNOTSUPP,
    # The kernel says EOPNOTSUPP to the program, and from then on without asking.
    vfs.NeverSupported: errno.ENOSYS,
    vfs.NoAttribute: errno.ENODATA,
    vfs.FileTooLarge: errno.EFBIG,
    vfs.TooManyLinks: errno.EMLINK,
    vfs.NoSpace: errno.ENOSPC,
    vfs.BadHandle: errno.EBADF,
}

#: What the disk below may say to the caller as it is. Any other OSError is a fault of ours: it
#: would tell the caller about a file that he knows nothing of.
_PASSED_ON = frozenset({errno.ENOSPC, errno.EDQUOT})


def errno_of(error: Exception) -> int:
    """The errno of an error; logs those that the table does not foresee."""
    for class_ in type(error).__mro__:
        number = TABLE.get(class_)
        if number is not None:
            is_logged = isinstance(error, errors.Damaged) and error.is_logged
            if number == errno.EIO and not is_logged:
                log.warning("%s", error)
            return number
    if isinstance(error, OSError) and error.errno in _PASSED_ON:
        return error.errno
    log.error("unforeseen error in a handler", exc_info=error)
    return errno.EIO


def handler(fn: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A handler from which only `FUSEError` comes; cancellation passes, as it must."""
    return _handling(fn, reads=False)


def reading_handler(
    fn: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """The same for one that changes nothing, and may be cancelled once the mount is gone."""
    return _handling(fn, reads=True)


def _handling(
    fn: Callable[P, Coroutine[Any, Any, T]], *, reads: bool
) -> Callable[P, Coroutine[Any, Any, T]]:
    @functools.wraps(fn)
    async def handle(*args: P.args, **kwargs: P.kwargs) -> T:
        steps = fn(*args, **kwargs)
        try:
            # Most do not wait for anything, and are answered without what waiting takes.
            trap = steps.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            raise pyfuse3.FUSEError(errno_of(error)) from error
        try:
            return await passing_on(steps, trap, reads=reads)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            raise pyfuse3.FUSEError(errno_of(error)) from error

    return handle
