"""Artifacts with all their versions, and their types, as `Api` lists them."""

from __future__ import annotations

from artfs.api.artifact import Artifact
from artfs.api.place import Place
from artfs.api.version import Version
from artfs.errors import NotFound, NotThere, WrongType
from artfs.format.record import ArtifactRecord
from artfs.types import LATEST, ArtifactKey, named_in, parse_artifact


class ArtifactCollection:
    """An artifact, or a portfolio, with all its versions, as it was when it was looked up."""

    def __init__(self, place: Place, key: ArtifactKey, record: ArtifactRecord) -> None:
        self._place = place
        self._key = key
        self._record = record

    @property
    def name(self) -> str:
        """Its name."""
        return self._key.name

    @property
    def type(self) -> str:
        """The type of all its versions."""
        return self._record.type

    @property
    def entity(self) -> str:
        """The entity whose project it belongs to."""
        return self._key.entity

    @property
    def project(self) -> str:
        """The project it belongs to."""
        return self._key.project

    @property
    def description(self) -> str:
        """Free text."""
        return self._record.description

    @property
    def created_at(self) -> str:
        """When it was made, in UTC: `2026-11-21T05:59:20Z`."""
        return self._record.created

    @property
    def aliases(self) -> list[str]:
        """All aliases that are set now, `latest` first."""
        catalog = self._place.repository.catalog
        latest = [LATEST] if catalog.versions(self._key) else []
        return [*latest, *sorted(catalog.aliases(self._key))]

    def is_sequence(self) -> bool:
        """Whether it is an artifact, and no portfolio."""
        return not self._record.portfolio

    def artifacts(self, per_page: int = 50) -> list[Artifact]:
        """Its versions that are not deleted, the newest first. `per_page`: W&B's."""
        del per_page
        repository, key = self._place.repository, self._key
        numbers = repository.catalog.versions(key)[::-1]
        found = repository.catalog.records(key, numbers)
        return [
            Artifact.of_version(Version(repository, key, self.type, record)) for record in found
        ]

    versions = artifacts

    def __repr__(self) -> str:
        return f"<ArtifactCollection {self.name} ({self.type})>"


class ArtifactType:
    """A type of artifacts in a project. `name`: what it is called."""

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self.name = name

    def collections(self, per_page: int = 50) -> list[ArtifactCollection]:
        """The artifacts and portfolios of this type, by name. `per_page`: W&B's."""
        del per_page
        return [found for found in collections_of(self._place) if found.type == self.name]

    def collection(self, name: str) -> ArtifactCollection:
        """One of them. Raises `NotThere`, a ValueError; `WrongType`."""
        return find_collection(self._place, name, self.name)

    def __repr__(self) -> str:
        return f"<ArtifactType {self.name}>"


def collections_of(place: Place) -> list[ArtifactCollection]:
    """The artifacts of a project that have a version, by name."""
    catalog = place.repository.catalog
    found = catalog.artifact_records(catalog.artifacts(place.entity, place.project))
    return [ArtifactCollection(place, key, record) for key, record in found.items()]


def find_collection(place: Place, name: str, type_: str) -> ArtifactCollection:
    """An artifact, `[[ENTITY/]PROJECT/]NAME`. Raises `NotThere`, `WrongType`, `InvalidValue`."""
    key = parse_artifact(name, (place.entity, place.project))
    try:
        record = place.repository.catalog.artifact(key)
        place.repository.catalog.require(key)
    except NotFound as error:
        raise NotThere(error.what, error.why, error.hint) from None
    if record.type != type_:
        shown = named_in(key, (place.entity, place.project))
        raise WrongType(f"artifact '{shown}'", f"has type '{record.type}', not '{type_}'")
    return ArtifactCollection(place, key, record)
