"""Versions that several writers make together, each its part, until one of them finishes.

The parts lie in the store under the distributed id that the writers have agreed on. Their content
is stored by then: finishing reads and writes only nodes of directories in which parts meet. See
artfs-format(5), WRITE ORDER, for who wins which race.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from artfs.errors import Conflict, InvalidValue
from artfs.format import keys, record, walk
from artfs.format.build import unstored
from artfs.format.record import FinishRecord, PartRecord, RootRecord, VersionRecord
from artfs.format.runs import Output, RunArtifacts
from artfs.repo import records
from artfs.repo.blobs import Blobs
from artfs.repo.compare import content_of
from artfs.repo.editing import empty_directory
from artfs.repo.labels import MAX_KEYS, Labels
from artfs.repo.merge import merge
from artfs.repo.packing import PackWriter
from artfs.repo.reading import drive
from artfs.repo.repository import Repository
from artfs.repo.union import Clash, unite
from artfs.types import ArtifactKey, Entry, parse_run, path_shown


class Gathered(msgspec.Struct, frozen=True):
    """All parts together. `base`: the newest version that one of them was made from, -1 if none
    was, and `below` its tree; `follows`: whether it was the newest of all when that one was begun.
    `runs`: whose they are, ENTITY/PROJECT/ID.
    """

    root: Entry
    below: Entry
    labels: Labels
    aliases: list[str]
    base: int
    follows: bool
    stored: int
    runs: list[str]


class Distributed:
    """The version of an artifact that goes by a distributed id. Blocking, thread-safe."""

    def __init__(self, repository: Repository, key: ArtifactKey, distributed_id: str) -> None:
        self._repository = repository
        self._catalog = repository.catalog
        self._key = key
        self._id = distributed_id
        self._finish = keys.finish(distributed_id, key)

    # Adding --------------------------------------------------------------------------------

    def begun(self) -> FinishRecord | None:
        """The record of its finish, if somebody has begun that."""
        return self._read_finish()[0]

    def require_open(self) -> None:
        """Raises `Conflict` if the version is finished, or being finished."""
        finish = self.begun()
        if finish is None:
            return
        made = f" as v{finish.version}" if finish.version >= 0 else ""
        raise Conflict(
            self._what(), f"was finished by run '{finish.run}'{made}, and takes no more",
            "another distributed_id, or group, begins another version",
        )  # fmt: skip

    def add(self, run: str, part: PartRecord, writer: PackWriter) -> None:
        """Make a tree, whose blobs are in `writer`, the part of a run, or lay it over the part that
        the run has. Raises `Conflict` (it is finished, the artifact has another type), `OSError`,
        `Unreachable`."""
        self.require_open()
        self.put(run, part, writer)
        self.require_open()

    def put(self, run: str, part: PartRecord, writer: PackWriter) -> bool:
        """The same for the run that finishes it, whoever else does; whether it had no part yet."""
        writer.finish()
        self._catalog.create_artifact(self._key, part.type)
        name = keys.part(self._id, self._key, run)
        for _ in range(records.TRIES):
            old, revision = self._read_part(name)
            new = part if old is None else self._laid_over(old, part, writer)
            try:
                self._repository.store.compare_and_set(name, record.encode(new), revision)
            except Conflict:
                continue
            return old is None
        raise Conflict(self._what(), f"its part of run '{run}' is being changed all the time")

    def _laid_over(self, old: PartRecord, new: PartRecord, writer: PackWriter) -> PartRecord:
        """What one writer adds twice: where both have a path, the later one."""
        merged = merge(
            self._tree(new.base), new.root.entry(), old.root.entry(), writer,
            self._repository.blobs, ours=True,
        )  # fmt: skip
        writer.finish()
        labels, aliases = _labels_of([old, new])
        return msgspec.structs.replace(
            new, root=RootRecord.of(merged.root), base=old.base, follows=old.follows,
            description=labels.description, metadata=labels.metadata, tags=labels.tags,
            ttl=labels.ttl, aliases=aliases,
            stored=old.stored + (new.stored if new.root.digest != old.root.digest else 0),
        )  # fmt: skip

    def withdraw(self, run: str) -> None:
        """Remove the part of a run."""
        name = keys.part(self._id, self._key, run)
        _, revision = self._read_part(name)
        if revision is not None:
            self._repository.store.delete_record(name, revision)

    # Finishing -----------------------------------------------------------------------------

    def seal(self, run: str) -> FinishRecord:
        """Let nobody add to it any more; what another has begun to finish is gone on with."""
        newest = self._catalog.newest_number(self._key)
        new = FinishRecord(secrets.token_hex(16), newest, run)
        with contextlib.suppress(Conflict):
            self._repository.store.compare_and_set(self._finish, record.encode(new), None)
            return new
        found = self.begun()
        if found is None:
            raise Conflict(self._what(), "another run has failed to finish it", "try again")
        return found

    def unseal(self, finish: FinishRecord) -> None:
        """Take parts again: it could not be finished."""
        found, revision = self._read_finish()
        if found == finish and revision is not None:
            with contextlib.suppress(Conflict):
                self._repository.store.delete_record(self._finish, revision)

    def made(self, finish: FinishRecord) -> VersionRecord | None:
        """The version that was made of it already. Raises `NotFound` if it was deleted."""
        number = finish.version
        if number < 0:
            newest = self._catalog.newest_number(self._key)
            for number in range(finish.after + 1, newest + 1):
                if self._catalog.version_ever(self._key, number).commit == finish.commit:
                    break
            else:
                return None
        return self._catalog.version(self._key, number)

    def gather(self, writer: PackWriter, last: str) -> Gathered:
        """Unite the parts; where labels differ, those of the run `last` hold, else the latest ones.

        Raises `Conflict` naming paths of which several made different things, and who did."""
        parts = sorted(self._parts(), key=lambda item: (item[1].base, item[0]))
        groups = [(base, list(items)) for base, items in groupby(parts, lambda item: item[1].base)]
        united: Entry | None = None
        for base, items in reversed(groups):  # the newest first: others are put on it
            below = self._tree(base)
            sides = {run: part.root.entry() for run, part in items}
            found = unite(below, sides, writer.node, self._repository.blobs)
            self._refuse(found.clashes)
            writer.settle()
            if united is None:
                united = found.root
                continue
            merged = merge(below, found.root, united, writer, self._repository.blobs)
            writer.settle()
            self._refuse([Clash(path, self._who(path, parts)) for path in merged.conflicts])
            united = merged.root
        by_time = sorted(parts, key=lambda item: (item[0] == last, item[1].created, item[0]))
        labels, aliases = _labels_of([part for _, part in by_time])
        base = groups[-1][0] if groups else -1
        return Gathered(
            united or empty_directory(), self._tree(base), labels, aliases, base,
            any(part.follows for _, part in parts if part.base == base),
            sum(part.stored for _, part in parts), sorted({p.run for _, p in parts if p.run}),
        )  # fmt: skip

    def aliases(self) -> list[str]:
        """The aliases that the version is to get from its parts."""
        return [alias for _, part in self._parts() for alias in part.aliases]

    def close(self, finish: FinishRecord, version: VersionRecord, made: bool) -> None:
        """Note which version was made of it, or (not `made`) had its content already, also with the
        runs that added to it, and remove the parts."""
        found, revision = self._read_finish()
        if found is None or found.commit != finish.commit:
            return  # it was opened again meanwhile, and others go on adding
        if found.version < 0:
            new = record.encode(msgspec.structs.replace(found, version=version.version))
            with contextlib.suppress(Conflict):  # another has noted it
                self._repository.store.compare_and_set(self._finish, new, revision)
        output = Output(
            artifact=f"{self._key.entity}/{self._key.project}/{self._key.name}",
            version=version.version, digest=version.digest, made=made,
        )  # fmt: skip
        for run, part in list(self._parts()):
            self._note_with(part.run, output)
            with contextlib.suppress(Conflict):  # another removes them as well
                self.withdraw(run)

    def _note_with(self, run: str, output: Output) -> None:
        if run:
            runs, key = self._repository.runs, parse_run(run, ("", ""))
            runs.add(key, RunArtifacts([], [output]), runs.next_part(key))

    def require_within(self, part: PartRecord, version: VersionRecord) -> None:
        """Raises `Conflict` unless a version has all of a part: another run may have finished it
        before the part was there."""
        whole = version.root.entry()
        sides = {"part": part.root.entry(), "version": whole}
        found = unite(self._tree(part.base), sides, unstored, self._repository.blobs)
        if found.clashes or found.root.digest != whole.digest:
            raise Conflict(
                self._what(), f"was finished as v{version.version} by another run, without all that"
                " this one adds", "another distributed_id, or group, begins another version",
            )  # fmt: skip

    def _tree(self, base: int) -> Entry:
        if base < 0:
            return empty_directory()
        return self._catalog.version_ever(self._key, base).root.entry()

    def _parts(self) -> Iterator[tuple[str, PartRecord]]:
        for info in list(self._repository.store.list(keys.writers(self._id, self._key))):
            part, _ = self._read_part(info.key)
            if part is not None:
                yield info.key.rpartition("/")[2].removesuffix(".json"), part

    def _who(self, path: bytes, parts: Sequence[tuple[str, PartRecord]]) -> tuple[str, ...]:
        """The runs that changed a path."""
        blobs = self._repository.blobs
        return tuple(
            run
            for run, part in parts
            if _at(part.root.entry(), path, blobs) != _at(self._tree(part.base), path, blobs)
        )

    def _refuse(self, clashes: Sequence[Clash]) -> None:
        if not clashes:
            return
        shown = "; ".join(
            f"{path_shown(clash.path)} by runs {', '.join(clash.sides)}" for clash in clashes[:5]
        )
        more = f"; and {len(clashes) - 5} more" if len(clashes) > 5 else ""
        raise Conflict(
            self._what(), f"was given different content for one path: {shown}{more}",
            "the parts are kept; a run that upserts again as init(id=RUN) replaces what it gave",
        )  # fmt: skip

    def _what(self) -> str:
        return f"distributed version '{self._id}' of artifact '{self._key}'"

    def _read_part(self, name: str) -> tuple[PartRecord | None, str | None]:
        return records.read(self._repository.store, name, PartRecord)

    def _read_finish(self) -> tuple[FinishRecord | None, str | None]:
        return records.read(self._repository.store, self._finish, FinishRecord)


def part_roots(repository: Repository) -> Iterator[Entry]:
    """The trees of all parts of versions that are not finished."""
    for info in repository.store.list(keys.PARTS):
        if "/writers/" in info.key:
            part, _ = records.read(repository.store, info.key, PartRecord)
            if part is not None:  # else it was removed this moment
                yield part.root.entry()


def _at(root: Entry, path: bytes, blobs: Blobs) -> tuple[int, bytes, bool] | None:
    entry = drive(walk.resolve(root, path), blobs)
    return None if entry is None else content_of(entry)


def _labels_of(parts: Sequence[PartRecord]) -> tuple[Labels, list[str]]:
    """Labels and aliases of parts in the order in which they came: the later one's, where two say
    something. Raises `InvalidValue`."""
    description, ttl = "", 0
    metadata: dict[str, object] = {}
    tags: list[str] = []
    aliases: list[str] = []
    for part in parts:
        description, ttl = part.description or description, part.ttl or ttl
        metadata |= part.metadata
        tags += part.tags
        aliases += part.aliases
    if len(metadata) > MAX_KEYS:
        why = f"has {len(metadata)} keys in all parts together; {MAX_KEYS} are the most"
        raise InvalidValue("metadata", why)
    return Labels(description, metadata, list(dict.fromkeys(tags)), ttl), list(
        dict.fromkeys(aliases)
    )
