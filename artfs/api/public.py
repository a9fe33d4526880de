"""`Api`: what is in a store, for programs outside of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from artfs.api import current
from artfs.api.artifact import Artifact
from artfs.api.collected import (
    ArtifactCollection,
    ArtifactType,
    collections_of,
    find_collection,
)
from artfs.api.place import Place, find_place
from artfs.api.recorded import RecordedRun
from artfs.api.version import Version
from artfs.errors import InvalidValue, NotThere, WrongType
from artfs.types import parse_ref, parse_run


class Api:
    """Finds versions outside a run: in the store and project of the current run if there is one,
    else in those of the environment. Raises as `init`."""

    def __init__(
        self,
        store: str | os.PathLike[str] | None = None,
        project: str | None = None,
        entity: str | None = None,
        overrides: Mapping[str, str] | None = None,
        timeout: float | None = None,
        api_key: str | None = None,
    ) -> None:
        """`overrides`: `project` and `entity` in W&B's way. `timeout`, `api_key`: of its server."""
        del timeout, api_key
        place = current.current_place() if store is None else find_place(store)
        given = overrides or {}
        self._place = place.in_project(
            project or given.get("project"), entity or given.get("entity")
        )

    def artifact(self, name: str, type: str | None = None) -> Artifact:  # noqa: A002  # contract
        """A version, by `[[ENTITY/]PROJECT/]NAME[:ALIAS]` or `NAME@DIGEST`.

        Raises `NotFound`, `InvalidValue`, `Conflict` (it has another type), `Unreachable`.
        """
        return find_version(self._place, name, type)

    def run(self, path: str) -> RecordedRun:
        """A run that is recorded, by `[[ENTITY/]PROJECT/]ID`. Raises `NotFound`, `InvalidValue`."""
        place = self._place
        found = RecordedRun(place.repository, parse_run(path, (place.entity, place.project)))
        _ = found.created_at  # it is there
        return found

    def artifact_exists(self, name: str, type: str | None = None) -> bool:  # noqa: A002  # contract
        """Whether there is a version that `artifact` would find. Raises `Unreachable`."""
        try:
            self.artifact(name, type)
        except (NotThere, WrongType):
            return False
        return True

    def artifact_types(self, project: str | None = None) -> list[ArtifactType]:
        """The types of the artifacts of a project, `[ENTITY/]PROJECT`, by name."""
        place = self._place.in_project(project)
        found = {collection.type for collection in collections_of(place)}
        return [ArtifactType(place, name) for name in sorted(found)]

    def artifact_type(self, type_name: str, project: str | None = None) -> ArtifactType:
        """A type, of which there need be no artifact."""
        return ArtifactType(self._place.in_project(project), type_name)

    def artifact_collections(
        self, project_name: str, type_name: str, per_page: int = 50
    ) -> list[ArtifactCollection]:
        """The artifacts of a type in a project, `[ENTITY/]PROJECT`, by name. `per_page`: W&B's."""
        del per_page
        return self.artifact_type(type_name, project_name).collections()

    def artifact_collection(self, type_name: str, name: str) -> ArtifactCollection:
        """An artifact with all its versions, by `[[ENTITY/]PROJECT/]NAME`.

        Raises `NotThere`, a ValueError; `WrongType`.
        """
        return find_collection(self._place, name, type_name)

    def artifact_collection_exists(self, name: str, type: str) -> bool:  # noqa: A002  # contract
        """Whether there is an artifact of this name and type. Raises `Unreachable`."""
        try:
            find_collection(self._place, name, type)
        except (NotThere, WrongType):
            return False
        return True

    def artifacts(
        self,
        type_name: str,
        name: str,
        per_page: int = 50,
        tags: Sequence[str] | None = None,
    ) -> list[Artifact]:
        """The versions of an artifact, `[[ENTITY/]PROJECT/]NAME`, the newest first; with `tags`
        those that have all of them. `per_page`: W&B's. Raises as `artifact_collection`."""
        found = find_collection(self._place, name, type_name).artifacts(per_page)
        return [one for one in found if set(tags or ()) <= set(one.tags)]

    def artifact_versions(self, type_name: str, name: str, per_page: int = 50) -> list[Artifact]:
        """As `artifacts`, by an older name."""
        return self.artifacts(type_name, name, per_page)

    def runs(
        self,
        path: str | None = None,
        filters: Mapping[str, Any] | None = None,
        order: str = "+created_at",
        per_page: int = 50,
    ) -> list[RecordedRun]:
        """The recorded runs of a project, `[ENTITY/]PROJECT`, the oldest first, or ("-created_at")
        the youngest. `per_page`: W&B's.

        `filters`: only those that have these values of `state`, `group`, `job_type`, `display_name`
        or `config.NAME`. Raises `InvalidValue` of other names.
        """
        del per_page
        if order not in _ORDERS:
            raise InvalidValue(f"order '{order}'", f"is none of {', '.join(_ORDERS)}")
        place = self._place.in_project(path)
        keys = place.repository.runs.list(place.entity, place.project)
        found = [RecordedRun(place.repository, key) for key in keys]
        for name, value in (filters or {}).items():
            found = [run for run in found if _value(run, name) == value]
        return sorted(found, key=lambda run: run.created_at, reverse=order.startswith("-"))


_ORDERS = ("created_at", "+created_at", "-created_at")
_FILTERS: dict[str, Callable[[RecordedRun], object]] = {
    "state": lambda run: run.state, "group": lambda run: run.group,
    "job_type": lambda run: run.job_type, "jobType": lambda run: run.job_type,
    "display_name": lambda run: run.name,
}  # fmt: skip


def _value(run: RecordedRun, name: str) -> object:
    if name.startswith("config."):
        return run.config.get(name.removeprefix("config."))
    if name not in _FILTERS:
        shown = ", ".join(_FILTERS)
        raise InvalidValue(f"filter '{name}'", f"is none of {shown} and config.NAME")
    return _FILTERS[name](run)


def find_version(
    place: Place, name: str, type_: str | None = None, use_as: str | None = None
) -> Artifact:
    """The version that a name means now, in a place. Raises as `Api.artifact`."""
    ref = parse_ref(name, (place.entity, place.project))
    return Artifact.of_version(Version.of(place.repository, ref, type_), use_as)
