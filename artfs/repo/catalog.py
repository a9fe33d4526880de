"""Artifacts, versions and aliases: the small records, and what `latest` means.

`latest` is stored nowhere. Version numbers have no gaps, so the newest one is the end of a series
of objects (`Store.last_of`). A deletion is a mark beside the record, which stays.
"""

from __future__ import annotations

import contextlib
import functools
import threading

from artfs.errors import (
    AlreadyExists,
    Conflict,
    Damaged,
    InvalidValue,
    NotFound,
    ObjectNotFound,
)
from artfs.format import keys, record
from artfs.format.record import AliasRecord, ArtifactRecord, VersionRecord
from artfs.repo.labels import LabelBook, now
from artfs.store.base import Store
from artfs.types import LATEST, ArtifactKey, Ref, check_alias, parse_version


class Catalog:
    """The records of a store. Blocking, thread-safe; remembers only what cannot change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.labels = LabelBook(store)
        self._lock = threading.Lock()
        self._newest_seen: dict[ArtifactKey, int] = {}

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
        try:
            data, _ = self._store.read_record(keys.artifact_record(key))
        except ObjectNotFound as error:
            raise _no_artifact(key) from error
        return record.decode(data, ArtifactRecord, keys.artifact_record(key))

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
        with self._lock:
            known = self._newest_seen.get(key, -1)
        newest = self._store.last_of(functools.partial(keys.version, key), known)
        if newest >= 0:
            with self._lock:
                self._newest_seen[key] = max(newest, self._newest_seen.get(key, -1))
        return newest

    def deleted(self, key: ArtifactKey) -> set[int]:
        """Numbers of the deleted versions."""
        names = self._store.list_names(keys.artifact(key) + "deleted/")
        return set(keys.numbers(names))

    def versions(self, key: ArtifactKey) -> list[int]:
        """Numbers of the versions that can be read, ascending."""
        gone = self.deleted(key)
        return [n for n in range(self.newest_number(key) + 1) if n not in gone]

    def latest(self, key: ArtifactKey, newest: int | None = None) -> int:
        """The newest version that is not deleted, `newest` being what `newest_number` has said if
        that was asked already. Raises `NotFound` if there is none."""
        if newest is None:
            newest = self.newest_number(key)
        gone = self.deleted(key) if newest >= 0 and self.is_deleted(key, newest) else set()
        for number in range(newest, -1, -1):
            if number not in gone:
                return number
        if newest < 0:
            raise _no_artifact(key)
        raise NotFound(f"artifact '{key}'", "all its versions are deleted")

    def version(self, key: ArtifactKey, number: int) -> VersionRecord:
        """A version's record. Raises `NotFound` (also for a deleted one), `Damaged`."""
        found = self.version_ever(key, number)
        if self.is_deleted(key, number):
            raise NotFound(f"{key}:v{number}", "was deleted")
        return found

    def version_ever(self, key: ArtifactKey, number: int) -> VersionRecord:
        """A version's record, also of a deleted one. Raises `NotFound`, `Damaged`."""
        name = keys.version(key, number)
        try:
            data = self._store.get(name)
        except ObjectNotFound as error:
            if self.newest_number(key) < 0:
                raise _no_artifact(key) from error
            raise NotFound(
                f"{key}:v{number}", "no such version", f"artfs log {key} lists what there is"
            ) from error
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
        found = {}
        for name in self._store.list_names(keys.aliases(key)):
            try:
                check_alias(keys.alias_of(name))
            except InvalidValue:
                continue  # it would lead elsewhere in a mount, or steer a terminal
            try:
                data, _ = self._store.read_record(keys.aliases(key) + name)
            except ObjectNotFound:
                continue  # removed since the listing
            found[keys.alias_of(name)] = record.decode(data, AliasRecord, name).version
        return found

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
        for _ in range(100):
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
        name = keys.alias(key, alias)
        try:
            data, revision = self._store.read_record(name)
        except ObjectNotFound:
            return None, None
        return record.decode(data, AliasRecord, name).version, revision

    def resolve(self, ref: Ref) -> VersionRecord:
        """The version that a ref names now. Raises `NotFound`."""
        key = ref.artifact
        if ref.digest:
            return self._by_digest(key, ref.digest)
        if ref.selector == LATEST:
            # That it is not deleted has been seen just now.
            return self.version_ever(key, self.latest(key))
        number = parse_version(ref.selector)
        if number is None:
            number, _ = self._alias(key, ref.selector)
            if number is None:
                if self.newest_number(key) < 0:
                    raise _no_artifact(key)
                raise NotFound(
                    str(ref), "no such alias", f"artfs log {key} lists versions and aliases"
                )
        return self.version(key, number)

    def _by_digest(self, key: ArtifactKey, prefix: str) -> VersionRecord:
        for number in reversed(self.versions(key)):
            found = self.version(key, number)
            if found.digest.startswith(prefix):
                return found
        raise NotFound(f"{key}@{prefix}", "no version has this digest")

    def record_version(self, key: ArtifactKey, version: VersionRecord) -> None:
        """Write a version's record: the commit point. Raises `AlreadyExists` if taken."""
        self._store.put_if_absent(keys.version(key, version.version), record.encode(version))


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
        raise Conflict(
            f"artifact '{key}'", f"has type '{there.type}', not '{type_}'",
            "choose another name, or leave the type out",
        )  # fmt: skip


def _no_artifact(key: ArtifactKey) -> NotFound:
    return NotFound(f"artifact '{key}'", "no such artifact", "artfs ls lists what there is")
