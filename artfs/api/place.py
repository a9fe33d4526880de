"""Where artifacts are logged to and found: a store, and a project in it."""

from __future__ import annotations

import os

import msgspec

from artfs import settings
from artfs.api.stores import absolute, opened
from artfs.errors import InvalidValue
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, check_name, parse_project


class Place(msgspec.Struct, frozen=True):
    """A project of an open store."""

    repository: Repository
    entity: str
    project: str

    def key(self, name: str) -> ArtifactKey:
        """The key of an artifact of this project."""
        return ArtifactKey(self.entity, self.project, check_name(name))

    def in_project(self, project: str | None, entity: str | None = None) -> Place:
        """Another project, `[ENTITY/]PROJECT`, of the same store. Raises `InvalidValue`."""
        if project is None:
            return Place(self.repository, _entity(entity) or self.entity, self.project)
        if entity and "/" in project:
            raise InvalidValue(f"project '{project}'", "names an entity, which is given beside it")
        own, name = parse_project(project)
        return Place(self.repository, _entity(entity) or own, name)


def _entity(entity: str | None) -> str | None:
    return entity and check_name(entity, "entity")


def find_place(
    store: str | os.PathLike[str] | None = None,
    project: str | None = None,
    entity: str | None = None,
) -> Place:
    """The place that is given, else the environment's, as the command line finds it.

    Reads the environment. Raises `InvalidValue`, `NotFound` (no such store), `Unreachable`.
    """
    found = settings.load(os.fspath(store) if store is not None else None)
    repository = opened(
        absolute(found.store), found.cache, found.options, create=found.is_default_store
    )
    return Place(repository, *found.project).in_project(project, entity)
