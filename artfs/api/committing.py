"""From an artifact's finished tree to its version."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from artfs.errors import CommitConflict, Conflict, NotFound, ObjectNotFound
from artfs.format.record import VersionRecord
from artfs.repo.commit import Committed, commit
from artfs.repo.editing import empty_directory
from artfs.repo.labels import Labels
from artfs.repo.merge import merge
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, Entry


class Base(msgspec.Struct, frozen=True):
    """What an incremental artifact is made from.

    `number` is -1 and `root` empty where there was no version. `is_latest`: nothing was newer when
    the artifact was begun, so what others log meanwhile is not to be lost.
    """

    key: ArtifactKey
    number: int
    root: Entry
    is_latest: bool

    @classmethod
    def of_latest(cls, repository: Repository, key: ArtifactKey) -> Base:
        """The newest version of an artifact, if there is one."""
        number = _latest(repository, key)
        if number < 0:
            return cls(key, -1, empty_directory(), is_latest=True)
        return cls(key, number, repository.catalog.version(key, number).root.entry(), True)

    @classmethod
    def of_version(cls, repository: Repository, key: ArtifactKey, record: VersionRecord) -> Base:
        """A version that somebody chose."""
        is_latest = _latest(repository, key) == record.version
        return cls(key, record.version, record.root.entry(), is_latest)


class Wish(msgspec.Struct, frozen=True):
    """What is to be logged, by which run. `commit_id` stays the same in every try."""

    key: ArtifactKey
    type: str
    root: Entry
    labels: Labels
    aliases: Sequence[str]
    base: Base | None
    run: str = ""
    commit_id: str = msgspec.field(default_factory=lambda: secrets.token_hex(16))
    #: Others may try the same commit since this version was the newest; what they stored for it.
    since: int | None = None
    stored: int = 0
    #: The other runs that made it.
    contributors: Sequence[str] = ()


#: Does something with what is to be logged; None where no version comes of it.
How: TypeAlias = Callable[[Repository, PackWriter, Wish], Committed | None]


def commit_wish(repository: Repository, writer: PackWriter, wish: Wish) -> Committed:
    """Make a version of it, unless the newest one has this content.

    An incremental artifact made from the newest version is put on what others have logged
    meanwhile; it is refused with `CommitConflict` if they changed the same paths.
    Raises `Conflict`, `OSError`, `Unreachable`.
    """
    try:
        if wish.base is None or not wish.base.is_latest:
            parent = None if wish.base is None else wish.base.number
            return _commit(repository, writer, wish, wish.root, None, parent)
        return _follow(repository, writer, wish, wish.base)
    except ObjectNotFound as error:
        raise Conflict(
            f"artifact '{wish.key}'",
            "stored content that it shares with other versions was removed meanwhile",
            "make the artifact again",
        ) from error


def _follow(repository: Repository, writer: PackWriter, wish: Wish, base: Base) -> Committed:
    root, below, at = wish.root, base.root, base.number
    newest = at
    while True:
        try:
            return _commit(repository, writer, wish, root, newest, at)
        except Conflict:
            before, newest = newest, _latest(repository, wish.key)
            if newest == before:
                raise  # about something else
        if newest < at:
            continue  # it was deleted, and nobody has made another: nothing to be put on
        writer.settle()  # what was built is to be read
        theirs = repository.catalog.version_ever(wish.key, newest).root.entry()
        merged = merge(below, root, theirs, writer, repository.blobs)
        if merged.conflicts:
            error = CommitConflict(f"artifact '{wish.key}'", merged.conflicts)
            error.hint = f"make the change again from v{newest}"
            raise error
        root, below, at = merged.root, theirs, newest


def _commit(
    repository: Repository,
    writer: PackWriter,
    wish: Wish,
    root: Entry,
    base: int | None,
    parent: int | None,
) -> Committed:
    return commit(
        repository, wish.key, root, writer, commit_id=wish.commit_id, base=base, parent=parent,
        type=wish.type, labels=wish.labels, aliases=wish.aliases, since=wish.since,
        stored=wish.stored, run=wish.run, contributors=wish.contributors,
    )  # fmt: skip


def _latest(repository: Repository, key: ArtifactKey) -> int:
    try:
        return repository.catalog.latest(key)
    except NotFound:
        return -1
