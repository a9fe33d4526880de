"""A version in the store, as an artifact that is logged stands for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from blake3 import blake3

from artfs.errors import InvalidValue, NotFound, NotThere, ObjectNotFound, WrongType
from artfs.format import record as records
from artfs.format.record import VersionRecord
from artfs.repo import own_source
from artfs.repo.labels import Labels
from artfs.repo.links import source_of
from artfs.repo.repository import Repository
from artfs.types import LATEST, ArtifactKey, Entry, Ref, check_alias, parse_version


class Version(msgspec.Struct, frozen=True):
    """A version and where it is."""

    repository: Repository
    key: ArtifactKey
    type: str
    record: VersionRecord

    @classmethod
    def of(cls, repository: Repository, ref: Ref, type_: str | None = None) -> Version:
        """The version that a ref names now. Raises `NotThere`; `WrongType` if it has another type
        than the one given."""
        try:
            record = repository.catalog.resolve(ref)
        except ObjectNotFound:
            raise  # damage
        except NotFound as error:
            raise NotThere(error.what, error.why, error.hint) from None
        found = repository.catalog.artifact(ref.artifact).type
        if type_ and found != type_:
            raise WrongType(f"artifact '{ref.artifact}'", f"has type '{found}', not '{type_}'")
        return cls(repository, ref.artifact, found, record)

    @property
    def name(self) -> str:
        """`NAME:vN`."""
        return f"{self.key.name}:v{self.record.version}"

    @property
    def tree(self) -> Entry:
        """The root directory."""
        return self.record.root.entry()

    @property
    def commit_hash(self) -> str:
        """BLAKE3 of the version's record, hex: of content, metadata and origin."""
        return blake3(records.encode(self.record)).hexdigest()

    def labels(self) -> Labels:
        """What people say of it now."""
        return self.repository.catalog.labels.of(self.key, self.record)

    def add_tags(self, tags: Sequence[str]) -> None:
        """Give it tags; those that it has already stay where they are."""
        if tags:
            self.repository.catalog.labels.change(
                self.key, self.record, lambda labels: labels.with_tags(tags)
            )

    @property
    def source(self) -> Version:
        """What it is a link to; of a version that is no link, itself. Raises `NotFound` if that was
        deleted."""
        key, record = source_of(self.repository, self.key, self.record)
        return Version(self.repository, key, self.type, record)

    @property
    def origin(self) -> str:
        """The URI below which its entries are; of a link, that of what it is a link to."""
        key, number = self.key, self.record.version
        if self.record.source is not None:
            key, number = self.source.key, self.source.record.version
        return own_source.uri_of(key, number, b"")

    def aliases(self) -> list[str]:
        """The aliases that point at it now, `latest` first."""
        catalog, number = self.repository.catalog, self.record.version
        found = [a for a, at in catalog.aliases(self.key).items() if at == number]
        is_latest = catalog.latest(self.key) == number
        return [LATEST, *sorted(found)] if is_latest else sorted(found)

    def change_aliases(self, old: Sequence[str], new: Sequence[str]) -> None:
        """Set the aliases that are new, and remove those that are no more; one that has gone to
        another version meanwhile is left there. Raises `InvalidValue`."""
        check_aliases([alias for alias in new if alias not in old])
        catalog = self.repository.catalog
        removed = [alias for alias in old if alias not in new]
        if LATEST in removed:
            raise InvalidValue(f"alias '{LATEST}'", "always means the newest version; it stays")
        for alias in new:
            if alias not in old:
                catalog.set_alias(self.key, alias, self.record.version)
        there = catalog.aliases(self.key) if removed else {}
        for alias in removed:
            if there.get(alias) == self.record.version:
                catalog.delete_alias(self.key, alias)


def check_aliases(aliases: Sequence[str]) -> None:
    """Raises `InvalidValue` for one that nobody may set."""
    if isinstance(aliases, str):
        raise InvalidValue(f"aliases '{aliases}'", "is one text, not a list of aliases")
    for alias in aliases:
        if not isinstance(alias, str) or not alias:
            check_alias(alias)
        if parse_version(alias) is not None or alias == LATEST:
            why = "cannot be set: versions are numbered, and the newest is always 'latest'"
            raise InvalidValue(f"alias '{alias}'", why, "leave it out")
        check_alias(alias)
