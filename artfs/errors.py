"""What can go wrong, as facts about stores, versions and paths.

Every error says *what* failed, *why*, and where there is something to do, *hint*. Nothing here
knows of errno or of exit statuses: the one table from class to errno is in `artfs.fuse.errno`,
the one from class to exit status in `artfs.cli.exits`.
"""

from __future__ import annotations


class ArtfsError(Exception):
    """Base of all domain errors; `str()` of it is the user's one line ``WHAT: WHY``."""

    def __init__(self, what: str, why: str, hint: str = "") -> None:
        super().__init__(what, why, hint)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class InvalidValue(ArtfsError, ValueError):
    """A name, ref, alias, URL or option that can never be right, whatever the store holds."""


class CommError(ArtfsError):
    """What a store does not give: it is not there, or not reached. W&B's word, which programs that
    were written for it catch."""


class NotFound(CommError):
    """An artifact, version, alias, path, draft or store that is not there."""


class NotThere(NotFound, ValueError):
    """A version or a local file that a program names and that is not there."""


class NoSuchEntry(NotFound, KeyError):
    """A path that an artifact does not have."""


class ObjectNotFound(NotFound):
    """A store holds no object under a key."""

    def __init__(self, key: str) -> None:
        super().__init__(key, "no such object in the store")
        self.key = key


class AlreadyExists(ArtfsError):
    """A put-if-absent met an object, or a target that must be new is there."""


class Conflict(ArtfsError):
    """Somebody else changed what this operation was based on."""


class WrongType(Conflict, ValueError):
    """An artifact that has another type: one name has one type."""


class CommitConflict(Conflict):
    """A draft and the newest version changed the same paths."""

    def __init__(self, artifact: str, paths: list[bytes]) -> None:
        shown = ", ".join(p.decode("utf-8", "backslashreplace") for p in paths[:5])
        more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
        super().__init__(
            artifact,
            f"changed on both sides: {shown}{more}",
            "the draft is kept; settle these paths, or commit with --on-conflict=ours",
        )
        self.paths = paths


class InUse(Conflict):
    """A draft or a mount point that another process holds."""


class Damaged(ArtfsError):
    """Stored bytes that are not what was stored: truncated, flipped, or not decodable.

    `is_logged`: a mount's log says already which file they are part of.
    """

    is_logged = False


class UnsupportedFormat(ArtfsError):
    """A store written in a format that this program does not know."""


class Unreachable(CommError):
    """The store does not answer, or refuses us.

    `after`: seconds for which it wants not to be asked again; 0 if it does not say.
    """

    after = 0.0


class Refused(Unreachable):
    """The store has answered, and refuses us: asking again will not help until a person acts."""


class Unsupported(ArtfsError):
    """Asked of something that cannot do it, such as reading a reference of unknown scheme."""


class SourceChanged(ArtfsError):
    """A file changed while it was read, or is of a kind that a version cannot hold; or the source
    of a reference is not what was recorded."""


class SourceRefused(ArtfsError):
    """The source of a reference lets us not read it, or is one that nothing may be read from."""


class UnreadableReference(UserWarning):
    """A reference is recorded that nobody with these settings will read: its scheme is not known,
    or its source is one that nothing may be read from."""


class MountFailed(ArtfsError):
    """The kernel or fusermount3 refused the mount, or the daemon ended before it answered."""


# As in W&B these two are of AttributeError, so that getattr(artifact, "version", None) works.


class ArtifactFinalizedError(ArtfsError, AttributeError):
    """A change to an artifact that takes no more: it was finalized, or is logged."""


class ArtifactNotLoggedError(ArtfsError, AttributeError):
    """Asked of an artifact for what only a version in the store has."""


class VerificationFailed(ArtfsError, ValueError):
    """A directory that does not hold what the version does."""


#: What programs that were written for W&B call these.
Error = ArtfsError
UsageError = InvalidValue
