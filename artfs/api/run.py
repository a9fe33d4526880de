"""`Run`: one execution that uses versions and makes versions."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from artfs.api import current
from artfs.api.artifact import Artifact
from artfs.api.committing import How, commit_wish
from artfs.api.distributed import Sharing
from artfs.api.models import Modelling
from artfs.api.place import Place
from artfs.api.public import find_version
from artfs.api.told import Given, Told
from artfs.api.underway import Logging
from artfs.errors import InvalidValue, NotFound
from artfs.repo.recording import Recorder
from artfs.repo.worker import Worker
from artfs.types import RunKey, check_distributed_id, check_name

if TYPE_CHECKING:
    from artfs.api.values import Value  # loaded when one is added or got


class Run(Told, Modelling):
    """A run; a context manager, at whose end everything it logs is logged.

    What it uses and makes is recorded in the store, with the program's command line; of a run that
    uses and makes nothing, nothing is. A run with an `id` that is there already goes on.
    A forked child may log in it too; what was being logged then is its parent's to do.
    `id`, `name`, `entity`, `project`, `job_type`, `group`, `config`, `summary`, `notes`, `tags`.
    Thread-safe.
    """

    def __init__(
        self,
        place: Place,
        *,
        job_type: str | None = None,
        group: str | None = None,
        name: str | None = None,
        id: str | None = None,  # noqa: A002  # the word of the contract
        config: Given | None = None,
        notes: str | None = None,
        tags: Sequence[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        for what, text in (("name", name), ("group", group), ("job_type", job_type)):
            if text is not None and not isinstance(text, str):  # a record of it could not be read
                raise InvalidValue(f"{what} of a run", f"is a {type(text).__name__}, not text")
        run_id = check_name(id, "run id") if id is not None else secrets.token_hex(6)
        key = RunKey(place.entity, place.project, run_id)
        before = None
        if id is not None:
            with contextlib.suppress(NotFound):
                before = place.repository.runs.get(key)
        super().__init__(
            run_id, before, name=name, config=config, notes=notes, tags=tags, directory=directory
        )
        self.place = place
        self.job_type = job_type
        self.group = group
        self._lock = threading.Lock()
        self._worker = Worker("artfs-log")
        self._recorder = Recorder(
            place.repository.runs, key, group=group or "", job_type=job_type or "",
            command=sys.orig_argv, said=self._said,
        )  # fmt: skip
        self._underway: list[Logging] = []
        self._used: list[Artifact] = []
        self._finished = False

    @property
    def path(self) -> str:
        """`ENTITY/PROJECT/ID`, which `Api.run` takes."""
        return f"{self.entity}/{self.project}/{self.id}"

    def project_name(self) -> str:
        """As `project`."""
        return self.project

    @property
    def entity(self) -> str:
        """The entity of the run's project."""
        return self.place.entity

    @property
    def project(self) -> str:
        """The project whose artifacts it makes, and those that are named without one."""
        return self.place.project

    def log_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,  # noqa: A002  # the word of the contract
        aliases: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> Artifact:
        """Make an artifact the next version of its name, `v0` if it is the first, in the
        background: artifacts of one run in the order in which they were logged. `wait` of the
        artifact waits for it; so does leaving the run.

        Content that is that of the newest version makes no new one; the artifact then stands for
        that version. An artifact that is logged already only gets the aliases and tags. Of a path,
        or a URI that `add_reference` takes, an artifact is made first: `name` (`run-ID-FILE`),
        `type` (`unspecified`).
        Raises `InvalidValue` (an alias `latest` or `vN`; the run has finished), `Conflict` (another
        artifact type has this name), and what adding files raises.
        """
        self._refuse_finished()
        artifact = self._artifact(artifact_or_path, name, type)
        self._begin(artifact, aliases, tags or (), commit_wish)
        return artifact

    def upsert_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,  # noqa: A002  # the word of the contract
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Add an artifact to a version that several runs make, in the background, as
        `log_artifact`. It is no version before one of them finishes it with `finish_artifact`.

        The runs agree on `distributed_id`; the run's group, if it is not given. A run that adds
        more than once adds to what it gave, and what it gave before under the same path goes: also
        one that was killed and runs again, under the same `id`.
        Raises as `log_artifact`; `InvalidValue` if there is neither a group nor an id, and if the
        artifact is a version; `Conflict` if the version is finished.
        """
        sharing = self._sharing(distributed_id)
        artifact = self._artifact(artifact_or_path, name, type)
        sharing.require_open(self.place, artifact)
        self._begin(artifact, aliases, (), sharing.add)
        return artifact

    def finish_artifact(
        self,
        artifact_or_path: Artifact | str | os.PathLike[str],
        name: str | None = None,
        type: str | None = None,  # noqa: A002  # the word of the contract
        aliases: Sequence[str] | None = None,
        distributed_id: str | None = None,
    ) -> Artifact:
        """Make the version that several runs have added to, with this artifact's files as well, in
        the background, as `log_artifact`; the artifact then is that version.

        Of several runs that finish it one makes the version, and all get it. After that nobody can
        add to it. Raises as `upsert_artifact`; in `wait`, or when the run is left, also `Conflict`,
        if two runs gave different content for one path (it can be finished once that is settled),
        or if another has finished it without this artifact's files.
        """
        sharing = self._sharing(distributed_id)
        artifact = self._artifact(artifact_or_path, name, type)
        sharing.require_new(artifact)
        self._begin(artifact, aliases, (), sharing.finish)
        return artifact

    def _sharing(self, distributed_id: str | None) -> Sharing:
        self._refuse_finished()
        agreed = self.group if distributed_id is None else distributed_id
        if agreed is None:
            raise InvalidValue(
                "distributed_id", "is not given, and the run is in no group",
                "init(group=...) is what all runs that add to the version agree on",
            )  # fmt: skip
        return Sharing(check_distributed_id(agreed), self.id)

    def _begin(
        self, artifact: Artifact, aliases: Sequence[str] | None, tags: Sequence[str], how: How
    ) -> None:
        aliases = [aliases] if isinstance(aliases, str) else aliases or ()
        tags = [tags] if isinstance(tags, str) else tags
        job = artifact.log_in(self.place, aliases, self._worker, self._recorder, tags=tags, how=how)
        if job is not None:
            with self._lock:
                self._underway = [one for one in self._underway if not one.has_succeeded]
                self._underway.append(job)
                is_late = self._finished
            if is_late:  # finished by another thread meanwhile, which has not waited for this
                job.wait()

    def _artifact(
        self,
        given: Artifact | str | os.PathLike[str],
        name: str | None,
        type_: str | None,
    ) -> Artifact:
        if isinstance(given, Artifact):
            if name is not None or type_ is not None:
                raise InvalidValue(
                    "name and type", "are those of the artifact; they go with a path"
                )
            return given
        path = os.fspath(given)
        is_uri = "://" in path and not os.path.exists(path)
        if not is_uri:
            path = os.path.abspath(path)
        own = re.sub(r"[^A-Za-z0-9_.-]", "-", f"run-{self.id}-{os.path.basename(path)}")[:128]
        artifact = Artifact(name or own, type_ or "unspecified")
        artifact.fill_in(self.place)
        if is_uri:
            artifact.add_reference(path)
        elif os.path.isdir(path):
            artifact.add_dir(path)
        else:
            artifact.add_file(path)
        return artifact

    def use_artifact(
        self,
        artifact_or_name: Artifact | str,
        type: str | None = None,  # noqa: A002  # the word of the contract
        aliases: Sequence[str] | None = None,
        use_as: str | None = None,
    ) -> Artifact:
        """A version, by `[[ENTITY/]PROJECT/]NAME[:ALIAS]` or `NAME@DIGEST`; an artifact that is
        not logged yet is logged first, with these aliases.

        Raises `NotFound`, `InvalidValue`, `Conflict` (it has another type), `Unreachable`.
        """
        self._refuse_finished()
        if isinstance(artifact_or_name, Artifact):
            artifact = artifact_or_name
            if artifact.is_pending:
                self.log_artifact(artifact, aliases=aliases)
            artifact.wait()
            artifact.check_type(type)
            if use_as is not None:
                artifact.use_as = use_as
        else:
            artifact = find_version(self.place, artifact_or_name, type, use_as)
        with self._lock:
            self._used.append(artifact)
        artifact.note_use(self._recorder)
        self._worker.submit(self._recorder.flush)
        return artifact

    def get(self, name: str) -> Value | None:
        """The value called so in the artifacts that this run uses, the last used first; None if
        none of them has it. Raises as `Artifact.get`."""
        with self._lock:
            used = list(self._used)
        found = (artifact.get(name) for artifact in reversed(used))
        return next((value for value in found if value is not None), None)

    def link_artifact(
        self, artifact: Artifact, target_path: str, aliases: Sequence[str] | None = None
    ) -> Artifact:
        """Put an artifact into a portfolio, `[[ENTITY/]PROJECT/]PORTFOLIO[:ALIAS]`, once it is
        logged, and return it as it is there. One that nobody has logged is logged by this run.

        Raises as `Artifact.link` and `log_artifact`.
        """
        self._refuse_finished()
        if artifact.is_pending:
            self.log_artifact(artifact)
        return artifact.wait().link(target_path, aliases)

    def finish(self, exit_code: int | None = 0, quiet: bool | None = None) -> None:
        """Wait for all that is being logged, and end the run with an exit status: 0 it has done
        what it was to do, None nobody knows. Idempotent. `quiet`: W&B's; nothing is ever printed.

        Raises what failed first, unless `wait` has raised it already; notes name what else failed.
        """
        del quiet
        with self._lock:
            first, self._finished = not self._finished, True
            underway, self._underway = self._underway, []
        try:
            failures = [one for one in (each.untold_failure() for each in underway) if one]
            if first:
                self._recorder.end(1 if failures and not exit_code else exit_code)
        finally:
            current.end(self)
        if failures:
            for other in failures[1:]:
                failures[0].add_note(f"and: {other}")
            raise failures[0]

    def _refuse_finished(self) -> None:
        if self._finished:
            raise InvalidValue(f"run '{self.name}'", "has finished", "init() begins another")

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.finish(_exit_code(error))
        except Exception as failure:
            if error is None:
                raise
            error.add_note(f"and logging failed: {failure}")  # the block's own error is the news


def _exit_code(error: BaseException | None) -> int:
    """What a program that an exception ends exits with."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return int(error is not None)
