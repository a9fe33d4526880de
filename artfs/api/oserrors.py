"""The one table from domain error to errno for programs that read files: they know `OSError`."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from artfs.errors import (
    ArtfsError,
    InvalidValue,
    NotFound,
    ObjectNotFound,
    SourceRefused,
    Unsupported,
)

#: The nearest class counts, the first one here.
_ERRNO: tuple[tuple[type[ArtfsError], int], ...] = (
    (ObjectNotFound, errno.EIO),  # what a version refers to is gone: damage, not an absent file
    (NotFound, errno.ENOENT),
    (InvalidValue, errno.ENOENT),  # a name that cannot be is not there
    (Unsupported, errno.EOPNOTSUPP),
    (SourceRefused, errno.EACCES),
    (ArtfsError, errno.EIO),
)
#: There is nothing at a path. Any other error says nothing of what is there.
ABSENT = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))


def failure(number: int, path: str, why: str = "") -> OSError:
    """The error in the class that Python has for it, such as `FileNotFoundError`."""
    return OSError(number, why or os.strerror(number), path)


@contextlib.contextmanager
def as_os_errors(path: str) -> Iterator[None]:
    """What artfs raises in here is raised as `OSError` with this path, the reason kept."""
    try:
        yield
    except ArtfsError as error:
        number = next(number for kind, number in _ERRNO if isinstance(error, kind))
        raise failure(number, path, str(error)) from error
