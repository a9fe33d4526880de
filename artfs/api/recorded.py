"""`RecordedRun`: a run as the store knows it, whoever did it, wherever, and whenever."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from artfs.api.version import Version
from artfs.errors import NotFound
from artfs.format.record import VersionRecord
from artfs.format.runs import RunArtifacts, RunRecord, RunVersion
from artfs.repo.repository import Repository
from artfs.repo.runs import state_of
from artfs.types import RunKey, parse_run

if TYPE_CHECKING:
    from artfs.api.artifact import Artifact


class RecordedRun:
    """A run that is recorded in a store.

    Its record is read once, when something is asked for that is in it, and says how things were
    then: of a run that goes on, another object may know more. Raises `NotFound`, `Damaged`,
    `Unreachable` where it cannot be read.
    """

    def __init__(self, repository: Repository, key: RunKey) -> None:
        self._repository = repository
        self._key = key

    @classmethod
    def that_made(cls, repository: Repository, record: VersionRecord) -> RecordedRun | None:
        """The run that made a version, if one did."""
        return cls(repository, parse_run(record.run, ("", ""))) if record.run else None

    @functools.cached_property
    def _record(self) -> RunRecord:
        return self._repository.runs.get(self._key)

    @functools.cached_property
    def _artifacts(self) -> RunArtifacts:
        return self._repository.runs.artifacts(self._key)

    @property
    def id(self) -> str:
        """What no other run of its project has."""
        return self._key.id

    @property
    def entity(self) -> str:
        """The entity whose project it belongs to."""
        return self._key.entity

    @property
    def project(self) -> str:
        """The project it belongs to."""
        return self._key.project

    @property
    def path(self) -> list[str]:
        """Entity, project and id."""
        return [self.entity, self.project, self.id]

    @property
    def name(self) -> str:
        """What it was called; its id, if nothing."""
        return self._record.name or self.id

    @property
    def group(self) -> str | None:
        """The group it was put in."""
        return self._record.group or None

    @property
    def job_type(self) -> str | None:
        """What it was to do: `train`, `evaluate`; `auto` of one that `Artifact.save` made."""
        return self._record.job_type or None

    @property
    def config(self) -> dict[str, Any]:
        """What it was begun with."""
        return dict(self._record.config)

    @property
    def summary(self) -> dict[str, Any]:
        """What came of it: of each value that it logged, the last one."""
        return dict(self._record.summary)

    @property
    def notes(self) -> str:
        """Free text."""
        return self._record.notes

    @property
    def tags(self) -> list[str]:
        """Words."""
        return list(self._record.tags)

    @property
    def created_at(self) -> str:
        """When it began to be recorded, in UTC: `2026-11-21T05:59:20Z`."""
        return self._record.started

    @property
    def ended_at(self) -> str | None:
        """When it ended; None as long as it has not."""
        return self._record.ended or None

    @property
    def state(self) -> str:
        """`running`, `finished`, `failed`, or `crashed`: it never ended, and its process is gone.
        That can be told only on its machine, before a reboot; elsewhere such a run is `running`."""
        return state_of(self._record)

    @property
    def exit_code(self) -> int | None:
        """Its exit status, if it has ended and that is known."""
        return self._record.exit

    @property
    def host(self) -> str:
        """The machine it ran on."""
        return self._record.host

    @property
    def user(self) -> str:
        """Whom it ran as."""
        return self._record.user

    @property
    def command(self) -> list[str]:
        """The command line of its process."""
        return list(self._record.command)

    def used_artifacts(self, per_page: int = 100) -> list[Artifact]:
        """The versions that it used, but for those deleted since. `per_page`: W&B's."""
        del per_page
        return self._found(self._artifacts.inputs)

    def logged_artifacts(self, per_page: int = 100) -> list[Artifact]:
        """The versions that it logged, but for those deleted since; also such as were there before,
        with the same content. `per_page`: W&B's."""
        del per_page
        return self._found(self._artifacts.outputs)

    def _found(self, versions: Sequence[RunVersion]) -> list[Artifact]:
        return [artifact for each in versions if (artifact := self._artifact(each))]

    def _artifact(self, version: RunVersion) -> Artifact | None:
        from artfs.api.artifact import Artifact  # artifacts know runs: this is the way back

        catalog, key = self._repository.catalog, version.key
        try:
            record = catalog.version(key, version.version)
        except NotFound:
            return None
        stored = Version(self._repository, key, catalog.artifact(key).type, record)
        return Artifact.of_version(stored, getattr(version, "use_as", None) or None)

    def __repr__(self) -> str:
        return f"<RecordedRun {self._key}>"
