"""What `Run.upsert_artifact` and `Run.finish_artifact` do with an artifact that is ready."""

from __future__ import annotations

import msgspec

from artfs.api.artifact import Artifact
from artfs.api.committing import Base, Wish, commit_wish
from artfs.api.place import Place
from artfs.errors import Conflict, InvalidValue
from artfs.format.record import FinishRecord, PartRecord, RootRecord
from artfs.repo.commit import Committed
from artfs.repo.distributed import Distributed, Gathered
from artfs.repo.packing import PackWriter
from artfs.repo.records import now
from artfs.repo.repository import Repository


class Sharing(msgspec.Struct, frozen=True):
    """One run's share in a version that several make, under the id that they have agreed on."""

    distributed_id: str
    run: str

    def require_new(self, artifact: Artifact) -> None:
        """Raises `InvalidValue` if the artifact is a version: there is nothing to add."""
        if artifact.state != "PENDING":
            raise InvalidValue(
                f"artifact '{artifact.name}'", "is logged, and cannot be a part of another version",
                "new_draft() begins a new one from it",
            )  # fmt: skip

    def require_open(self, place: Place, artifact: Artifact) -> None:
        """The same, and `Conflict` if the version is finished."""
        self.require_new(artifact)
        Distributed(place.repository, artifact.key_in(place), self.distributed_id).require_open()

    def add(self, repository: Repository, writer: PackWriter, wish: Wish) -> None:
        """Make the artifact the run's part. Raises as `Distributed.add`."""
        version = Distributed(repository, wish.key, self.distributed_id)
        version.add(self.run, _part(writer, wish), writer)

    def finish(self, repository: Repository, writer: PackWriter, wish: Wish) -> Committed:
        """Make the version of all parts, that of this artifact among them.

        Raises `Conflict`: parts that do not go together, or files of this artifact that are not in
        the version, because another run has finished it without them.
        """
        version = Distributed(repository, wish.key, self.distributed_id)
        part = _part(writer, wish)
        writer.settle()  # what was built is to be read
        finish, is_new = version.begun(), False
        if finish is None or version.made(finish) is None:
            is_new = version.put(self.run, part, writer)
            finish = version.seal(self.run)
        done = _made(repository, version, finish, wish)
        if done is None:
            try:
                done = _make(repository, writer, wish, version, finish, self.run, part.stored)
            except (Conflict, InvalidValue):
                self._open_again(version, finish, is_new)
                raise
        version.close(finish, done.record, done.changed)
        version.require_within(part, done.record)
        return done

    def _open_again(self, version: Distributed, finish: FinishRecord, is_new: bool) -> None:
        """Who can put it right must not find the version closed, nor what this run gave."""
        if version.made(finish) is None:
            if is_new:
                version.withdraw(self.run)
            version.unseal(finish)


def _make(
    repository: Repository,
    writer: PackWriter,
    wish: Wish,
    version: Distributed,
    finish: FinishRecord,
    last: str,
    own: int,
) -> Committed:
    """`own`: bytes that count as the writer's already, of those that all parts have stored."""
    gathered = version.gather(writer, last)
    # Another may have finished it and begun to remove the parts: it noted its version before.
    done = _made(repository, version, version.begun() or finish, wish)
    return done or commit_wish(repository, writer, _wish(wish, finish, gathered, own))


def _made(
    repository: Repository, version: Distributed, finish: FinishRecord, wish: Wish
) -> Committed | None:
    made = version.made(finish)
    if made is None:
        return None
    aliases = [*wish.aliases]
    if finish.version < 0:  # whoever made it may have died before all aliases were set
        aliases += version.aliases()
    for alias in aliases:
        repository.catalog.set_alias(wish.key, alias, made.version)
    return Committed(made.version, made.commit == finish.commit, made)


def _part(writer: PackWriter, wish: Wish) -> PartRecord:
    base, labels = wish.base, wish.labels
    return PartRecord(
        root=RootRecord.of(wish.root), run=wish.run, base=-1 if base is None else base.number,
        follows=base is not None and base.is_latest, type=wish.type,
        description=labels.description, metadata=labels.metadata, tags=labels.tags,
        ttl=labels.ttl, aliases=list(wish.aliases), created=now("microseconds"),
        stored=writer.stored,
    )  # fmt: skip


def _wish(wish: Wish, finish: FinishRecord, gathered: Gathered, own: int) -> Wish:
    base = None
    if gathered.follows or gathered.base >= 0:
        base = Base(wish.key, gathered.base, gathered.below, gathered.follows)
    return msgspec.structs.replace(
        wish, root=gathered.root, labels=gathered.labels, aliases=gathered.aliases, base=base,
        commit_id=finish.commit, since=finish.after, stored=gathered.stored - own,
        contributors=[run for run in gathered.runs if run != wish.run],
    )  # fmt: skip
