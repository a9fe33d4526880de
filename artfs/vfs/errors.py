"""What a filesystem operation can run into. The one table to errno is `artfs.fuse.errno`."""

from __future__ import annotations

from artfs.errors import ArtfsError


class FileSystemError(ArtfsError):
    """Base; `what` is the path or name as far as it is known."""

    reason = "failed"

    def __init__(self, what: str = "", why: str = "") -> None:
        super().__init__(what, why or self.reason)


class NoEntry(FileSystemError):
    reason = "no such file or directory"


class Exists(FileSystemError):
    reason = "is there already"


class NotADirectory(FileSystemError):
    reason = "is not a directory"


class IsADirectory(FileSystemError):
    reason = "is a directory"


class NotEmpty(FileSystemError):
    reason = "is not empty"


class ReadOnly(FileSystemError):
    reason = "committed versions cannot be changed; open a draft"


class NotPermitted(FileSystemError):
    reason = "operation not permitted"


class AccessDenied(FileSystemError):
    reason = "permission denied"


class NameTooLong(FileSystemError):
    reason = "name is longer than 255 bytes"


class InvalidArgument(FileSystemError):
    reason = "invalid argument"


class NotSupported(FileSystemError):
    reason = "not supported"


class NeverSupported(NotSupported):
    """Not supported for any file, so whoever asked need not ask again."""


class NoAttribute(FileSystemError):
    reason = "no such extended attribute"


class FileTooLarge(FileSystemError):
    reason = "is larger than a file can be"


class TooManyLinks(FileSystemError):
    reason = "has as many links as it can have"


class NoSpace(FileSystemError):
    reason = "no space left for the draft"


class BadHandle(FileSystemError):
    reason = "is not open"
