"""The one table from error to exit status; artfs(1), EXIT STATUS, has the same one."""

from __future__ import annotations

from artfs.errors import (
    ArtfsError,
    Conflict,
    Damaged,
    InvalidValue,
    NotFound,
    ObjectNotFound,
    SourceRefused,
    Unreachable,
    UnsupportedFormat,
)

FAILED, USAGE, NOT_FOUND, CONFLICT, DAMAGED, UNREACHABLE = 1, 2, 3, 4, 5, 6

_STATUS: tuple[tuple[type[ArtfsError], int], ...] = (
    (InvalidValue, USAGE),
    # Nobody names objects of a store: others refer to this one, and it is gone.
    (ObjectNotFound, DAMAGED),
    (NotFound, NOT_FOUND),
    (Conflict, CONFLICT),
    (Damaged, DAMAGED),
    (UnsupportedFormat, FAILED),
    (Unreachable, UNREACHABLE),
    (SourceRefused, UNREACHABLE),
    (ArtfsError, FAILED),
)


def status_of(error: ArtfsError) -> int:
    """The exit status for an error: that of its nearest class in the table."""
    return next(status for kind, status in _STATUS if isinstance(error, kind))
