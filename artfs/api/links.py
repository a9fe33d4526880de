"""Versions and portfolios: linking, unlinking, where a link comes from, and deletion."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

from artfs.api.attributes import Attributes
from artfs.api.current import current
from artfs.api.version import Version, check_aliases
from artfs.errors import Conflict, InvalidValue
from artfs.format.record import SourceRecord
from artfs.repo.deletion import delete
from artfs.repo.links import link, links, unlink
from artfs.types import LATEST, Ref, parse_ref, parse_version


class Linkable(Attributes):
    """What an artifact has to do with portfolios."""

    @classmethod
    @abstractmethod
    def of_version(cls, version: Version, use_as: str | None = None) -> Self:
        """The artifact that is a version in the store."""

    @property
    def is_link(self) -> bool:
        """Whether this is a version of a portfolio, which is a link to a version."""
        return self._logged().record.source is not None

    def _source(self) -> SourceRecord:
        version = self._logged()
        key = version.key
        return version.record.source or SourceRecord(
            key.entity, key.project, key.name, version.record.version
        )

    @property
    def source_entity(self) -> str:
        """The entity of the artifact; of a link, of the one that it links to."""
        return self._source().entity

    @property
    def source_project(self) -> str:
        """The project of the artifact; of a link, of the one that it links to."""
        return self._source().project

    @property
    def source_name(self) -> str:
        """`NAME:vN`; of a link, of the version that it links to."""
        return f"{self._source().name}:{self.source_version}"

    @property
    def source_version(self) -> str:
        """`vN`; of a link, of the version that it links to."""
        return f"v{self._source().version}"

    @property
    def source_qualified_name(self) -> str:
        """`ENTITY/PROJECT/NAME:vN`; of a link, of the version that it links to."""
        return f"{self.source_entity}/{self.source_project}/{self.source_name}"

    @property
    def source_artifact(self) -> Self:
        """The version that a link is a link to; of another version, that version.

        Raises `NotFound` if it was deleted."""
        return self.of_version(self._logged().source)

    @property
    def linked_artifacts(self) -> list[Self]:
        """The links to this version, as they are in portfolios now."""
        version = self._logged()
        source = self._source()
        return [
            self.of_version(Version.of(version.repository, Ref(portfolio, f"v{number}")))
            for portfolio, number in links(version.repository, source.key, source.version)
        ]

    def delete(self, delete_aliases: bool = False) -> None:
        """Delete this version, for ever; of a link, only the link.

        A version that has aliases, or that portfolios link to, is refused with `Conflict` unless
        `delete_aliases`: then the aliases go too, and the links read as deleted.
        Raises `ArtifactNotLoggedError`, `NotFound` (it is deleted already).
        """
        with self._lock:
            version = self._logged()
            self._refuse_deleted()
            force = delete_aliases or version.record.source is not None
            try:
                delete(version.repository, version.key, version.record, force=force)
            except Conflict as error:
                error.hint = "delete(delete_aliases=True) deletes it all the same"
                raise
            self._deleted = True

    def link(self, target_path: str, aliases: Sequence[str] | None = None) -> Self:
        """Put this version into a portfolio, `[[ENTITY/]PROJECT/]PORTFOLIO[:ALIAS]`, and return it
        as it is there. Nothing is copied; one that is there already is not put there again.

        `aliases`: the portfolio's, which are moved to it. Raises `ArtifactNotLoggedError`,
        `InvalidValue`, `Conflict` (the portfolio has another type, or is an artifact), `NotFound`
        (this version was deleted).
        """
        version = self._logged()
        self._refuse_deleted()
        check_aliases(aliases or ())
        ref = parse_ref(target_path, self._project_of_links())
        named = [] if ref.selector == LATEST else [ref.selector]
        if ref.digest or parse_version(ref.selector) is not None:
            raise InvalidValue(f"portfolio '{target_path}'", "names a version", "name an alias")
        found = [*named, *(aliases or ())]
        number = link(version.repository, version.key, version.record, ref.artifact, found)
        linked = Ref(ref.artifact, f"v{number}")
        return self.of_version(Version.of(version.repository, linked))

    def _project_of_links(self) -> tuple[str, str]:
        run = current()
        place = self._place if run is None else run.place
        if place is None:
            return self.source_entity, self.source_project
        return place.entity, place.project

    def unlink(self) -> None:
        """Remove this link from its portfolio; the version it links to stays.

        Raises `ArtifactNotLoggedError`, `InvalidValue` (this is no link), `NotFound` (it is gone).
        """
        with self._lock:
            version = self._logged()
            self._refuse_deleted()
            unlink(version.repository, version.key, version.record.version)
            self._deleted = True
