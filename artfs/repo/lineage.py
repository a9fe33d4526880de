"""What a version came from, and what came from it: versions and runs as a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec

from artfs.errors import NotFound
from artfs.format import keys, record
from artfs.format.record import VersionRecord
from artfs.format.runs import RunArtifacts, RunRecord
from artfs.repo.recording import origin
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, RunKey, parse_run

USED, MADE, UNCHANGED, BASE = "used", "made", "unchanged", "base"
#: Versions after one that are looked at for those made from it without a run.
FOLLOWERS = 256

VersionKey: TypeAlias = tuple[ArtifactKey, int]
NodeKey: TypeAlias = "VersionKey | RunKey"


class VersionNode(msgspec.Struct, frozen=True):
    """A version of the graph; `record` is None where there is none any more."""

    key: ArtifactKey
    number: int
    record: VersionRecord | None
    deleted: bool


class Edge(msgspec.Struct, frozen=True):
    """What came first, and what came of it: a version that a run `used`, a run that `made` a
    version, alone or with others, or had the content of one that was there (`unchanged`), a version
    that is the `base` of one that no run made."""

    source: NodeKey
    target: NodeKey
    kind: str


class Lineage(msgspec.Struct):
    """A version, all that it came from, and all that came from it. `cut`: there is more."""

    start: VersionKey
    versions: dict[VersionKey, VersionNode] = {}
    runs: dict[RunKey, RunRecord] = {}
    edges: dict[Edge, None] = {}
    cut: bool = False


def lineage(
    repository: Repository,
    artifact: ArtifactKey,
    version: VersionRecord,
    *,
    depth: int | None = None,
    limit: int = 1000,
) -> Lineage:
    """The lineage of a version; of a link, of its source.

    `depth` is how many runs lie between it and the farthest versions, `limit` how many versions and
    runs there are at most. A run that made what it used makes a cycle, which is met once.
    Raises `Damaged`, `Unreachable`.
    """
    found = Lineage(origin(artifact, version))
    records = _Records(repository)
    for step in (_before, _after):
        _Walk(repository, records, found, depth, limit, step).run()
    return found


class _Records:
    """Records of versions, each read once: of one version after the other, the versions after it
    are looked at. Also of deleted versions, whose records tell where they came from still."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._found: dict[VersionKey, VersionRecord | None] = {}
        self._newest: dict[ArtifactKey, int] = {}

    def newest(self, key: ArtifactKey) -> int:
        """The highest version number of an artifact, -1 if there is none."""
        if key not in self._newest:
            self._newest[key] = self._repository.catalog.newest_number(key)
        return self._newest[key]

    def get(self, versions: Iterable[VersionKey]) -> list[VersionRecord | None]:
        """The records of versions, None where there is none; asked for all at once."""
        wanted = list(versions)
        missing = {keys.version(*one): one for one in wanted if one not in self._found}
        there = self._repository.store.get_all(missing)
        for name, one in missing.items():
            data = there.get(name)
            self._found[one] = None if data is None else record.decode(data, VersionRecord, name)
        return [self._found[one] for one in wanted]


class _Walk:
    """A walk in one direction, breadth first."""

    def __init__(
        self,
        repository: Repository,
        records: _Records,
        found: Lineage,
        depth: int | None,
        limit: int,
        step: Callable[[_Walk, VersionNode], list[tuple[Edge, NodeKey]]],
    ) -> None:
        self.repository = repository
        self.records = records
        self.found = found
        self._depth = depth
        self._limit = limit
        self._step = step
        self._artifacts: dict[RunKey, RunArtifacts] = {}

    def run(self) -> None:
        front, seen, depth = [self.found.start], {self.found.start}, 0
        while front:
            following: list[VersionKey] = []
            for key in front:
                node = self.version(key)
                if node is None:
                    continue
                for further in self._next(node, at_end=depth == self._depth):
                    if further not in seen:
                        seen.add(further)
                        following.append(further)
            front, depth = following, depth + 1

    def _next(self, node: VersionNode, at_end: bool) -> list[VersionKey]:
        steps = self._step(self, node)
        if at_end:
            self.found.cut = self.found.cut or bool(steps)
            return []
        reached: list[VersionKey] = []
        for edge, key in steps:
            if isinstance(key, RunKey):
                reached += self._through(edge, key)
            elif self.version(key) is not None:
                self.found.edges[edge] = None
                reached.append(key)
        return reached

    def _through(self, edge: Edge, run: RunKey) -> list[VersionKey]:
        """The versions on the other side of a run."""
        if run not in self.found.runs:
            if self._is_full():
                return []
            try:
                self.found.runs[run] = self.repository.runs.get(run)
            except NotFound:
                return []
        self.found.edges[edge] = None
        if run in self._artifacts:
            return []
        artifacts = self._artifacts[run] = self.repository.runs.artifacts(run)
        used = [(one.key, one.version) for one in artifacts.inputs]
        if edge.kind == MADE:
            ends = [(key, Edge(key, run, USED)) for key in used]
        else:
            made = [((o.key, o.version), MADE if o.made else UNCHANGED) for o in artifacts.outputs]
            ends = [
                (key, Edge(run, key, kind))
                for key, kind in made
                if kind == MADE or key not in used  # it has used it, and not changed it
            ]
        return self._joined(ends)

    def _joined(self, ends: list[tuple[VersionKey, Edge]]) -> list[VersionKey]:
        self._add(key for key, _ in ends)
        there = [(key, edge) for key, edge in ends if self.version(key) is not None]
        self.found.edges.update(dict.fromkeys(edge for _, edge in there))
        return [key for key, _ in there]

    def version(self, key: VersionKey) -> VersionNode | None:
        """A version's node, made if there is none; None if there are too many."""
        self._add([key])
        return self.found.versions.get(key)

    def _add(self, versions: Iterable[VersionKey]) -> None:
        """Make nodes of versions that have none, as many as there may be; all read at once."""
        new = [key for key in dict.fromkeys(versions) if key not in self.found.versions]
        room = self._room()
        self.found.cut = self.found.cut or len(new) > room
        marks = {key: keys.deletion(*key) for key in new[:room]}
        deleted = self.repository.store.get_all(marks.values())
        for key, found in zip(marks, self.records.get(marks), strict=True):
            is_gone = found is None or marks[key] in deleted
            self.found.versions[key] = VersionNode(*key, found, is_gone)

    def _room(self) -> int:
        return self._limit - len(self.found.versions) - len(self.found.runs)

    def _is_full(self) -> bool:
        if self._room() > 0:
            return False
        self.found.cut = True
        return True


def _before(walk: _Walk, node: VersionNode) -> list[tuple[Edge, NodeKey]]:
    """What a version came from: the run that made it, or those that did together; or else its
    base."""
    this = (node.key, node.number)
    if node.record is None:
        return []
    if node.record.run:
        names = [node.record.run, *node.record.contributors]
        runs = [parse_run(name, ("", "")) for name in names]
        return [(Edge(run, this, MADE), run) for run in runs]
    if node.record.base >= 0:
        base = (node.key, node.record.base)
        return [(Edge(base, this, BASE), base)]
    return []


def _after(walk: _Walk, node: VersionNode) -> list[tuple[Edge, NodeKey]]:
    """What came from a version: the runs that used it, and versions it is the base of."""
    this = (node.key, node.number)
    found: list[tuple[Edge, NodeKey]] = [
        (Edge(this, run, USED), run) for run in walk.repository.runs.users(node.key, node.number)
    ]
    newest, last = walk.records.newest(node.key), node.number + FOLLOWERS
    walk.found.cut = walk.found.cut or newest > last
    following = [(node.key, number) for number in range(node.number + 1, min(newest, last) + 1)]
    for key, other in zip(following, walk.records.get(following), strict=True):
        if other is not None and not other.run and not other.source and other.base == node.number:
            found.append((Edge(this, key, BASE), key))
    return found
