"""From a finished tree to a version. The write order of artfs-format(5), WRITE ORDER:

1. packs, each synced and under its name (`PackWriter.finish`);
2. the artifact's record, if it is the first version;
3. the version record, put if absent: the one commit point; at times the floor (`repo.newest`);
4. aliases.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec

from artfs.errors import AlreadyExists, Conflict, NotFound
from artfs.format.record import RootRecord, VersionRecord
from artfs.repo.labels import Labels
from artfs.repo.packing import PackWriter
from artfs.repo.records import now
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, Entry, check_alias

DEFAULT_TYPE = "dataset"


class Committed(msgspec.Struct, frozen=True):
    """A commit's outcome; `changed` is False where the content was that of `version` already."""

    version: int
    changed: bool
    record: VersionRecord


def commit(
    repository: Repository,
    key: ArtifactKey,
    root: Entry,
    writer: PackWriter,
    *,
    commit_id: str,
    base: int | None = None,
    parent: int | None = None,
    type: str = "",  # noqa: A002  # the word of the contract, in API and command line alike
    labels: Labels = Labels(),  # noqa: B008  # frozen
    aliases: Sequence[str] = (),
    since: int | None = None,
    stored: int = 0,
    run: str = "",
    contributors: Sequence[str] = (),
) -> Committed:
    """Make `root`, whose blobs are in `writer`, the next version of an artifact.

    `commit_id` is random and the same in every try at one commit: where an earlier try's record
    is there, that version is the answer. With `base`, the commit is refused with `Conflict` unless
    that is still the newest version (-1: unless there is none). `parent` is the version that this
    one was made from, where that is neither `base` nor the newest. Tags are also given to a version
    that has the content already, as aliases are, and so is the ttl, unless it is 0.
    `since`: others may have tried this commit since that version was the newest; `stored`: bytes
    that they stored for it.
    `run`: the run that logs it, ENTITY/PROJECT/ID, which is recorded already; `contributors`: the
    other runs that made it.
    Raises `InvalidValue`, `Conflict`, `OSError`, `Unreachable`.
    """
    for alias in aliases:
        check_alias(alias)
    catalog = repository.catalog
    newest = catalog.newest_number(key)
    if newest >= 0:
        catalog.check_type(key, type)
    first = min(n for n in (since, base, newest) if n is not None) + 1
    done = _earlier_try(repository, key, commit_id, range(first, newest + 1))
    if done is None:
        done = _unchanged(repository, key, root, commit_id, newest, base)
    if done is None:
        writer.finish()
        if newest < 0:
            catalog.create_artifact(key, type or DEFAULT_TYPE, labels.description)
        made_from = next(n for n in (parent, base, newest) if n is not None)
        draft = VersionRecord(
            version=0, commit=commit_id, root=RootRecord.of(root), base=made_from, created=now(),
            description=labels.description, metadata=labels.metadata, tags=labels.tags,
            ttl=labels.ttl, stored=writer.stored + stored, run=run,
            contributors=list(contributors),
        )  # fmt: skip
        done = _record(repository, key, newest, draft, base)
    if not done.changed and (labels.tags or labels.ttl):
        catalog.labels.change(key, done.record, lambda there: _labelled(there, labels))
    for alias in aliases:
        catalog.set_alias(key, alias, done.version)
    return done


def _earlier_try(
    repository: Repository, key: ArtifactKey, commit_id: str, numbers: range
) -> Committed | None:
    for number in numbers:
        version = _version(repository, key, number)
        if version is not None and version.commit == commit_id:
            return Committed(number, True, version)
    return None


def _version(repository: Repository, key: ArtifactKey, number: int) -> VersionRecord | None:
    """A version's record; None of one that is deleted."""
    try:
        return repository.catalog.version(key, number)
    except NotFound:
        return None


def _unchanged(
    repository: Repository,
    key: ArtifactKey,
    root: Entry,
    commit_id: str,
    newest: int,
    base: int | None,
) -> Committed | None:
    if newest < 0:
        return None
    catalog = repository.catalog
    latest: VersionRecord | None = None
    with contextlib.suppress(NotFound):  # all of them are deleted
        latest = catalog.latest_version(key, newest)
    if base is not None and base != (-1 if latest is None else latest.version):
        raise _moved_on(key, base, newest)
    if latest is not None and latest.digest == root.digest.hex():
        return Committed(latest.version, latest.commit == commit_id, latest)
    return None


def _record(
    repository: Repository, key: ArtifactKey, newest: int, draft: VersionRecord, base: int | None
) -> Committed:
    number = newest
    while True:
        number += 1
        version = msgspec.structs.replace(draft, version=number)
        try:
            repository.catalog.record_version(key, version)
        except AlreadyExists:
            # Somebody took the number, or this is our own record whose answer was lost.
            there = _version(repository, key, number)
            if there is not None and there.commit == draft.commit:
                return Committed(number, True, there)
            if base is not None:
                raise _moved_on(key, base, number) from None
            if there is not None and there.digest == draft.digest:
                return Committed(number, False, there)
            continue
        return Committed(number, True, version)


def _labelled(there: Labels, new: Labels) -> Labels:
    return msgspec.structs.replace(there.with_tags(new.tags), ttl=new.ttl or there.ttl)


def _moved_on(key: ArtifactKey, base: int, newest: int) -> Conflict:
    return Conflict(
        f"artifact '{key}'",
        f"moved on to v{newest} since the draft's base v{base}" if base >= 0
        else f"exists already, up to v{newest}",
        "the draft is kept; artfs diff shows what changed",
    )  # fmt: skip
