"""Portfolios: artifacts whose versions are links to versions of artifacts.

A link is a version record with the root of its source: nothing is copied, and whoever reads
versions reads links. Beside the source lies which portfolios link to it. See artfs-format(5), WRITE
ORDER.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence

import msgspec

from artfs.errors import AlreadyExists, Conflict, InvalidValue, NotFound
from artfs.format import keys, record
from artfs.format.record import LinkRecord, SourceRecord, VersionRecord
from artfs.repo import records
from artfs.repo.records import now
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, check_alias


def source_of(
    repository: Repository, key: ArtifactKey, version: VersionRecord
) -> tuple[ArtifactKey, VersionRecord]:
    """What a link is a link to; of another version, that version. Raises `NotFound`."""
    if version.source is None:
        return key, version
    source = version.source
    return source.key, repository.catalog.version(source.key, source.version)


def link(
    repository: Repository,
    key: ArtifactKey,
    version: VersionRecord,
    portfolio: ArtifactKey,
    aliases: Sequence[str] = (),
) -> int:
    """Put a version, or what it is a link to, into a portfolio, which is made if there is none.

    Returns the number of the link there: the old one where it is linked already. The aliases are
    the portfolio's. Raises `InvalidValue`, `Conflict` (the portfolio has another type, or is an
    artifact), `NotFound` (the version was deleted).
    """
    for alias in aliases:
        check_alias(alias)
    key, version = source_of(repository, key, version)
    if portfolio == key:
        raise InvalidValue(f"portfolio '{portfolio}'", "is the artifact itself")
    catalog = repository.catalog
    catalog.create_artifact(portfolio, catalog.artifact(key).type, portfolio=True)
    number = _Making(repository, key, version, portfolio).number()
    if catalog.is_deleted(key, version.version):
        # Its deletion may have looked for links before this one was there.
        catalog.mark_deleted(portfolio, number)
        raise NotFound(f"{key}:v{version.version}", "was deleted")
    for alias in aliases:
        catalog.set_alias(portfolio, alias, number)
    return number


def unlink(repository: Repository, portfolio: ArtifactKey, number: int) -> None:
    """Remove a link and its aliases from a portfolio; what it links to stays.

    Raises `NotFound`, `InvalidValue` (a version that is no link).
    """
    catalog = repository.catalog
    version = catalog.version(portfolio, number)
    source = require_link(portfolio, version)
    catalog.release(portfolio, number)
    catalog.mark_deleted(portfolio, number)
    name = keys.link(source.key, source.version, portfolio)
    there, revision = _read(repository, name)
    if there is not None and revision is not None and there.commit == version.commit:
        with contextlib.suppress(Conflict):  # linked anew meanwhile
            repository.store.delete_record(name, revision)


def require_link(portfolio: ArtifactKey, version: VersionRecord) -> SourceRecord:
    """What a link is a link to. Raises `InvalidValue` of a version that is no link."""
    if version.source is None:
        raise InvalidValue(
            f"{portfolio}:v{version.version}", "is a version and not a link",
            "artfs rm deletes versions",
        )  # fmt: skip
    return version.source


def links(
    repository: Repository, key: ArtifactKey, number: int
) -> Iterator[tuple[ArtifactKey, int]]:
    """(portfolio, number) of every link to a version, those that are being made included."""
    for info in repository.store.list(keys.links(key, number)):
        portfolio = keys.portfolio_of(info.key)
        there, _ = _read(repository, info.key)
        if there is None:
            continue
        at = there.version if there.version >= 0 else _made(repository, portfolio, there)
        if at is not None and not repository.catalog.is_deleted(portfolio, at):
            yield portfolio, at


def _read(repository: Repository, name: str) -> tuple[LinkRecord | None, str | None]:
    return records.read(repository.store, name, LinkRecord)


def _made(repository: Repository, portfolio: ArtifactKey, begun: LinkRecord) -> int | None:
    """The number of a link whose maker has not noted it; None if there is none yet."""
    catalog = repository.catalog
    for number in range(begun.after + 1, catalog.newest_number(portfolio) + 1):
        if catalog.version_ever(portfolio, number).commit == begun.commit:
            return number
    return None


class _Making:
    """Makes one link, with others who make the same one."""

    def __init__(
        self,
        repository: Repository,
        key: ArtifactKey,
        version: VersionRecord,
        portfolio: ArtifactKey,
    ) -> None:
        self._repository = repository
        self._catalog = repository.catalog
        self._portfolio = portfolio
        self._name = keys.link(key, version.version, portfolio)
        self._version = VersionRecord(
            version=0, commit="", root=version.root, created=now(),
            source=SourceRecord(key.entity, key.project, key.name, version.version),
        )  # fmt: skip

    def number(self) -> int:
        """The number of the link, which is there then."""
        for _ in range(records.TRIES):
            begun, revision = _read(self._repository, self._name)
            number = None if begun is None else self._standing(begun)
            if begun is None or (number is not None and self._is_gone(number)):
                newest = self._catalog.newest_number(self._portfolio)
                new = LinkRecord(secrets.token_hex(16), newest)
                try:
                    revision = self._note(new, revision)
                except Conflict:
                    continue
                begun, number = new, None
            if number is None:
                number = self._put(begun)
                if self._is_gone(number):
                    continue  # removed by another already
            if begun.version < 0:
                with contextlib.suppress(Conflict):  # another has noted it
                    self._note(msgspec.structs.replace(begun, version=number), revision)
            return number
        raise Conflict(f"portfolio '{self._portfolio}'", "is being changed by others all the time")

    def _standing(self, begun: LinkRecord) -> int | None:
        if begun.version >= 0:
            return begun.version
        return _made(self._repository, self._portfolio, begun)

    def _is_gone(self, number: int) -> bool:
        return self._catalog.is_deleted(self._portfolio, number)

    def _note(self, link_record: LinkRecord, revision: str | None) -> str:
        data = record.encode(link_record)
        return self._repository.store.compare_and_set(self._name, data, revision)

    def _put(self, begun: LinkRecord) -> int:
        """Put the version record where all who know `begun` put it: at the first number above
        `begun.after` that nobody else has taken."""
        number = begun.after
        while True:
            number += 1
            version = msgspec.structs.replace(self._version, version=number, commit=begun.commit)
            try:
                self._catalog.record_version(self._portfolio, version)
            except AlreadyExists:
                there = self._catalog.version_ever(self._portfolio, number)
                if there.commit != begun.commit:
                    continue
            return number
