"""Runs in a store: who they are, what they used and made, and who used a version.

The write order is that of artfs-format(5), WRITE ORDER, Runs; `artfs.repo.recording` keeps it.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator

import msgspec

from artfs.errors import AlreadyExists, Conflict, NotFound
from artfs.format import keys, record
from artfs.format.runs import RunArtifacts, RunRecord, RunSaid, UseRecord, summed
from artfs.repo import records
from artfs.repo.process import is_gone
from artfs.repo.records import now
from artfs.store.base import Store
from artfs.types import ArtifactKey, RunKey

RUNNING, FINISHED, FAILED, CRASHED = "running", "finished", "failed", "crashed"


class Runs:
    """The runs of a store. Blocking, thread-safe; remembers nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, key: RunKey, new: RunRecord) -> RunRecord:
        """Record that a run has begun; one that is there already goes on, in another process.

        Raises `Unreachable`, `OSError`.
        """
        for _ in range(records.TRIES):
            there, revision = self._read(key)
            if there is not None:
                going_on = msgspec.structs.replace(
                    new.on(there), process=new.process, ended="", exit=None
                )
            else:
                going_on = new
            if self._changed(key, going_on, revision):
                return going_on
        raise _contended(key)

    def end(
        self,
        key: RunKey,
        exit: int | None,  # noqa: A002  # the word of the format
        said: RunSaid | None = None,
    ) -> None:
        """Record that a run has ended, and what it says in the end. Raises `NotFound`,
        `Unreachable`, `OSError`."""
        for _ in range(records.TRIES):
            there, revision = self._read(key)
            if there is None:
                raise _no_run(key)
            ended = msgspec.structs.replace(
                said.on(there) if said else there, ended=now(), exit=exit
            )
            if self._changed(key, ended, revision):
                return
        raise _contended(key)

    def _read(self, key: RunKey) -> tuple[RunRecord | None, str | None]:
        return records.read(self._store, keys.run_record(key), RunRecord)

    def _changed(self, key: RunKey, new: RunRecord, revision: str | None) -> bool:
        try:
            self._store.compare_and_set(keys.run_record(key), record.encode(new), revision)
        except Conflict:
            return False
        return True

    def get(self, key: RunKey) -> RunRecord:
        """A run's record. Raises `NotFound`, `Damaged`, `Unreachable`."""
        found, _ = self._read(key)
        if found is None:
            raise _no_run(key)
        return found

    def list(self, entity: str, project: str) -> builtins.list[RunKey]:
        """A project's runs, by id."""
        found = self._store.list_names(keys.runs(entity, project))
        return [RunKey(entity, project, name) for name in found]

    def add(self, key: RunKey, more: RunArtifacts, number: int) -> int:
        """Record versions that a run used or made, as part `number` or the next one that is free.

        Returns the number after it. Another try of the same call finds its own part. Raises
        `Unreachable`, `OSError`.
        """
        data = record.encode(more)
        while True:
            name = keys.run_part(key, number)
            try:
                self._store.put_if_absent(name, data)
            except AlreadyExists:
                if self._store.get(name) != data:
                    number += 1
                    continue
            return number + 1

    def next_part(self, key: RunKey) -> int:
        """A number above those of all parts."""
        return 1 + max(self._parts(key), default=-1)

    def _parts(self, key: RunKey) -> Iterator[int]:
        return keys.numbers(self._store.list_names(keys.run_artifacts(key)))

    def artifacts(self, key: RunKey) -> RunArtifacts:
        """All versions that a run is known to have used and made. Raises `Damaged`."""
        names = [keys.run_part(key, number) for number in self._parts(key)]
        return summed([record.decode(self._store.get(n), RunArtifacts, n) for n in names])

    def mark_uses(self, key: RunKey, used: Iterable[tuple[ArtifactKey, int]]) -> None:
        """Record with versions that a run used them. Raises `Unreachable`, `OSError`."""
        for artifact, number in used:
            data = record.encode(UseRecord(now()))
            try:
                self._store.put_if_absent(keys.use(artifact, number, key), data)
            except AlreadyExists:
                continue

    def users(self, artifact: ArtifactKey, number: int) -> builtins.list[RunKey]:
        """The runs that used a version: one listing."""
        return [keys.user_of(info.key) for info in self._store.list(keys.uses(artifact, number))]


def state_of(run: RunRecord) -> str:
    """What became of a run, as far as can be told from this machine."""
    if not run.ended:
        return CRASHED if is_gone(run.process) else RUNNING
    return FAILED if run.exit else FINISHED


def _no_run(key: RunKey) -> NotFound:
    return NotFound(f"run '{key.id}'", "no such run", "artfs runs lists what there is")


def _contended(key: RunKey) -> Conflict:
    return Conflict(f"run '{key.id}'", "is being changed by others all the time")
