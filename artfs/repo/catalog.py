"""Artifacts, versions and aliases: the small records, and what `latest` means.

`latest` is stored nowhere. Version numbers have no gaps, so the newest one is the end of a series
of objects (`repo.newest`). A deletion is a mark beside the record, which stays.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from artfs.errors import (
    AlreadyExists,
    Conflict,
    Damaged,
    InvalidValue,
    NotFound,
    WrongType,
)
from artfs.format import keys, record
from artfs.format.record import AliasRecord, ArtifactRecord, VersionRecord
from artfs.repo import records
from artfs.repo.labels import LabelBook
from artfs.repo.newest import Newest
from artfs.repo.records import now
from artfs.store.base import Store
from artfs.types import LATEST, ArtifactKey, Ref, check_alias, parse_version

#: Records that are read at once; what of a batch is not wanted in the end costs little.
_AT_ONCE = 64
#: Marks of deletions that are looked at first: as many as one listing of S3 has.
_MARKS = 900


class Catalog:
    """The records of a store. Blocking, thread-safe; remembers only what cannot change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.labels = LabelBook(store)
        self._newest = Newest(store)

    def projects(self) -> list[tuple[str, str]]:
        """Every (entity, project) that holds an artifact."""
        found = []
        for entity in self._store.list_names(keys.PROJECTS):
            names = self._store.list_names(f"{keys.PROJECTS}{entity}/")
            found += [(entity, name) for name in names]
        return found

    def artifacts(self, entity: str, project: str) -> list[ArtifactKey]:
        """A project's artifacts that have a version, by name."""
        names = self._store.list_names(keys.project(entity, project))
        all_keys = (ArtifactKey(entity, project, name) for name in names)
        firsts = {keys.version(key, 0): key for key in all_keys}
        there = self._store.existing(firsts)
        return [key for first, key in firsts.items() if first in there]

    def artifact(self, key: ArtifactKey) -> ArtifactRecord:
        """An artifact's record. Raises `NotFound`."""
        [found] = self.artifact_records([key]).values()
        return found

    def artifact_records(
        self, artifacts: Iterable[ArtifactKey]
    ) -> dict[ArtifactKey, ArtifactRecord]:
        """The records of artifacts. Raises `NotFound` if one of them has none."""
        names = {key: keys.artifact_record(key) for key in artifacts}
        there = self._store.get_all(names.values())
        for key, name in names.items():
            if name not in there:
                raise _no_artifact(key)
        return {
            key: record.decode(there[name], ArtifactRecord, name) for key, name in names.items()
        }

    def create_artifact(
        self, key: ArtifactKey, type_: str, description: str = "", *, portfolio: bool = False
    ) -> ArtifactRecord:
        """The artifact's record, made if there is none yet.

        Raises `Conflict` if the artifact has another type, or is a portfolio where an artifact is
        meant or the other way round.
        """
        new = ArtifactRecord(type_, description, now(), portfolio)
        try:
            self._store.compare_and_set(keys.artifact_record(key), record.encode(new), None)
        except Conflict:
            old = self.artifact(key)
            _check_kind(key, old, type_, portfolio)
            return old
        return new

    def check_type(self, key: ArtifactKey, type_: str) -> None:
        """Raises `Conflict` if the artifact is there and cannot get a version of a type ("": of
        whatever type it has)."""
        try:
            there = self.artifact(key)
        except NotFound:
            return
        _check_kind(key, there, type_, portfolio=False)

    def newest_number(self, key: ArtifactKey) -> int:
        """The highest version number ever given, or -1."""
        return self._newest.number(key)

    def latest_numbers(self, artifacts: Iterable[ArtifactKey]) -> dict[ArtifactKey, int]:
        """`latest` of several artifacts, 16 at once; -1 of one that has no version left."""
        wanted = list(artifacts)
        self._newest.expect(wanted)
        with ThreadPoolExecutor(16) as pool:
            newest = dict(zip(wanted, pool.map(self._newest.number, wanted), strict=True))
        marks = {keys.deletion(key, number): key for key, number in newest.items()}
        for key in map(marks.__getitem__, self._store.existing(marks)):
            try:
                newest[key] = self._latest_below(key, newest[key])
            except NotFound:
                newest[key] = -1
        return newest

    def require(self, key: ArtifactKey) -> None:
        """Raises `NotFound` if an artifact never had a version."""
        if not self._newest.is_any(key):
            raise _no_artifact(key)

    def deleted(self, key: ArtifactKey) -> set[int]:
        """Numbers of the deleted versions."""
        return self._deleted_above(key, -1)

    def _deleted_above(self, key: ArtifactKey, number: int) -> set[int]:
        after = keys.numbered(number) if number >= 0 else ""
        return set(keys.numbers(self._store.list_names(keys.deletions(key), after)))

    def versions(self, key: ArtifactKey) -> list[int]:
        """Numbers of the versions that can be read, ascending."""
        gone = self.deleted(key)
        return [n for n in range(self.newest_number(key) + 1) if n not in gone]

    def latest(self, key: ArtifactKey) -> int:
        """The newest version that is not deleted. Raises `NotFound` if there is none."""
        newest = self.newest_number(key)
        if newest >= 0 and not self.is_deleted(key, newest):
            return newest
        return self._latest_below(key, newest)

    def latest_version(self, key: ArtifactKey, newest: int | None = None) -> VersionRecord:
        """Its record; `newest` is what `newest_number` has said, if that was asked already. Raises
        `NotFound`, `Damaged`."""
        if newest is None:
            newest = self.newest_number(key)
        if newest >= 0:
            with contextlib.suppress(_Deleted):
                return self.version(key, newest)
        # That this one is not deleted has been seen just now.
        return self.version_ever(key, self._latest_below(key, newest))

    def _latest_below(self, key: ArtifactKey, number: int) -> int:
        """The newest version below one that is not deleted, found by few marks if it is near."""
        if number < 0:
            raise _no_artifact(key)
        for lowest in sorted({max(number - _MARKS, 0), 0}, reverse=True):
            gone = self._deleted_above(key, lowest - 1)
            for candidate in range(number - 1, lowest - 1, -1):
                if candidate not in gone:
                    return candidate
        raise NotFound(f"artifact '{key}'", "all its versions are deleted")

    def version(self, key: ArtifactKey, number: int) -> VersionRecord:
        """A version's record. Raises `NotFound` (also for a deleted one), `Damaged`."""
        name, mark = keys.version(key, number), keys.deletion(key, number)
        there = self._store.get_all([name, mark])
        if len(there) == 2:
            raise _Deleted(f"{key}:v{number}", "was deleted")
        return self._decoded(key, number, there.get(name))

    def version_ever(self, key: ArtifactKey, number: int) -> VersionRecord:
        """A version's record, also of a deleted one. Raises `NotFound`, `Damaged`."""
        [found] = self.records(key, [number])
        return found

    def records(self, key: ArtifactKey, numbers: Iterable[int]) -> Iterator[VersionRecord]:
        """The records of versions, also of deleted ones, in this order; read some at once, so that
        what was read last may not be wanted. Raises as `version_ever`."""
        for number, data in self._stored(key, numbers):
            yield self._decoded(key, number, data)

    def sound_records(
        self, key: ArtifactKey, numbers: Iterable[int]
    ) -> Iterator[VersionRecord | None]:
        """As `records`; None for one that is damaged, or not there."""
        for number, data in self._stored(key, numbers):
            found = None
            with contextlib.suppress(Damaged, NotFound):
                found = self._decoded(key, number, data)
            yield found

    def _stored(
        self, key: ArtifactKey, numbers: Iterable[int]
    ) -> Iterator[tuple[int, bytes | None]]:
        waiting = iter(numbers)
        while batch := list(itertools.islice(waiting, _AT_ONCE)):
            there = self._store.get_all({keys.version(key, number) for number in batch})
            for number in batch:
                yield number, there.get(keys.version(key, number))

    def _decoded(self, key: ArtifactKey, number: int, data: bytes | None) -> VersionRecord:
        if data is None:
            self.require(key)
            raise NotFound(
                f"{key}:v{number}", "no such version", f"artfs log {key} lists what there is"
            )
        name = keys.version(key, number)
        found = record.decode(data, VersionRecord, name)
        if found.version != number:
            raise Damaged(name, f"is the record of v{found.version}")
        return found

    def is_deleted(self, key: ArtifactKey, number: int) -> bool:
        """Whether a version is marked as deleted."""
        return self._store.exists(keys.deletion(key, number))

    def mark_deleted(self, key: ArtifactKey, number: int) -> bool:
        """Mark a version as deleted, for ever; whether it was not before. `repo.deletion` knows
        what else goes with it."""
        try:
            self._store.put_if_absent(keys.deletion(key, number), b"{}\n")
        except AlreadyExists:
            return False
        return True

    def aliases(self, key: ArtifactKey) -> dict[str, int]:
        """Aliases by name, `latest` not among them; none that could not be set."""
        names = {}
        for name in self._store.list_names(keys.aliases(key)):
            # Another would lead elsewhere in a mount, or steer a terminal.
            with contextlib.suppress(InvalidValue):
                names[keys.aliases(key) + name] = check_alias(keys.alias_of(name))
        there = self._store.get_all(names)
        return {
            alias: record.decode(there[name], AliasRecord, name).version
            for name, alias in names.items()
            if name in there  # else it was removed since the listing
        }

    def set_alias(
        self, key: ArtifactKey, alias: str, number: int, expect: int | None = None
    ) -> None:
        """Point an alias at a version, only if it is at `expect` where that is given.

        Raises `InvalidValue`, `NotFound`, `Conflict`.
        """
        check_alias(alias)
        self.version(key, number)
        name = keys.alias(key, alias)
        data = record.encode(AliasRecord(number))
        for _ in range(records.TRIES):
            current, revision = self._alias(key, alias)
            if expect is not None and current != expect:
                at = "unset" if current is None else f"at v{current}"
                raise Conflict(f"alias '{key}:{alias}'", f"is {at}, not at v{expect}")
            if current == number:
                return
            try:
                self._store.compare_and_set(name, data, revision)
            except Conflict:
                continue
            return
        raise Conflict(f"alias '{key}:{alias}'", "is being moved by others all the time")

    def delete_alias(self, key: ArtifactKey, alias: str, expect: int | None = None) -> None:
        """Remove an alias; with `expect`, only if it points at that version.

        Raises `NotFound`, `InvalidValue`, `Conflict` (it points elsewhere, or is being moved).
        """
        check_alias(alias)
        current, revision = self._alias(key, alias)
        if current is None or revision is None:
            raise NotFound(f"alias '{key}:{alias}'", "is not set")
        if expect is not None and current != expect:
            raise Conflict(f"alias '{key}:{alias}'", f"is at v{current}, not at v{expect}")
        try:
            self._store.delete_record(keys.alias(key, alias), revision)
        except Conflict:
            raise Conflict(f"alias '{key}:{alias}'", "was moved meanwhile") from None

    def release(self, key: ArtifactKey, number: int) -> None:
        """Remove the aliases that point at a version; those that move meanwhile stay."""
        for alias, at in self.aliases(key).items():
            if at == number:
                with contextlib.suppress(Conflict, NotFound):
                    self.delete_alias(key, alias, number)

    def _alias(self, key: ArtifactKey, alias: str) -> tuple[int | None, str | None]:
        there, revision = records.read(self._store, keys.alias(key, alias), AliasRecord)
        return None if there is None else there.version, revision

    def resolve(self, ref: Ref) -> VersionRecord:
        """The version that a ref names now. Raises `NotFound`."""
        key = ref.artifact
        if ref.digest:
            return self._by_digest(key, ref.digest)
        if ref.selector == LATEST:
            return self.latest_version(key)
        number = parse_version(ref.selector)
        if number is None:
            number, _ = self._alias(key, ref.selector)
            if number is None:
                self.require(key)
                raise NotFound(
                    str(ref), "no such alias", f"artfs log {key} lists versions and aliases"
                )
        return self.version(key, number)

    def _by_digest(self, key: ArtifactKey, prefix: str) -> VersionRecord:
        for found in self.records(key, reversed(self.versions(key))):
            if found.digest.startswith(prefix):
                return found
        raise NotFound(f"{key}@{prefix}", "no version has this digest")

    def record_version(self, key: ArtifactKey, version: VersionRecord) -> None:
        """Write a version's record: the commit point. Raises `AlreadyExists` if taken."""
        self._store.put_if_absent(keys.version(key, version.version), record.encode(version))
        self._newest.reached(key, version.version)


class _Deleted(NotFound):
    """A version that is marked as deleted."""


def _check_kind(key: ArtifactKey, there: ArtifactRecord, type_: str, portfolio: bool) -> None:
    if there.portfolio and not portfolio:
        raise Conflict(
            f"artifact '{key}'", "is a portfolio, which holds links and no versions of its own",
            "commit to the artifact that they link to, and link the new version",
        )  # fmt: skip
    if portfolio and not there.portfolio:
        raise Conflict(
            f"artifact '{key}'", "is no portfolio: it has versions of its own, and takes no links",
            "choose another name",
        )  # fmt: skip
    if type_ and there.type != type_:
        raise WrongType(
            f"artifact '{key}'", f"has type '{there.type}', not '{type_}'",
            "choose another name, or leave the type out",
        )  # fmt: skip


def _no_artifact(key: ArtifactKey) -> NotFound:
    return NotFound(f"artifact '{key}'", "no such artifact", "artfs ls lists what there is")
