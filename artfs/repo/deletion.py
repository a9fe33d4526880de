"""Deleting versions, and how many bytes that sets free. See artfs-format(5), WRITE ORDER."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

import msgspec

from artfs.errors import Conflict, Damaged, NotFound, ObjectNotFound
from artfs.format.node import DirInner, ListInner, ListLeaf
from artfs.format.record import VersionRecord
from artfs.repo.distributed import part_roots
from artfs.repo.links import links, unlink
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, BlobRef

#: Nodes and records that are read at most to find out what becomes reclaimable, 0.1 ms each from a
#: directory, and seconds that it may take.
BUDGET, PATIENCE = 20_000, 10.0


def holders(repository: Repository, key: ArtifactKey, version: VersionRecord) -> str:
    """What keeps a version from being deleted, as text; "" if nothing does."""
    number = version.version
    aliases = sorted(a for a, at in repository.catalog.aliases(key).items() if at == number)
    found = []
    if aliases:
        found.append(f"the {'alias' if len(aliases) == 1 else 'aliases'} {', '.join(aliases)}")
    if version.source is None:
        found += [
            f"a link in {portfolio.entity}/{portfolio.project}/{portfolio.name}:v{at}"
            for portfolio, at in links(repository, key, number)
        ]
    return " and ".join(found)


def delete(
    repository: Repository, key: ArtifactKey, version: VersionRecord, *, force: bool = False
) -> None:
    """Delete a version for ever; of a link, only the link.

    One that has aliases, or that portfolios link to, is refused with `Conflict` unless forced: then
    the aliases go, and the links read as deleted. Raises `NotFound` if it is deleted already.
    """
    if not force and (held := holders(repository, key, version)):
        raise Conflict(f"{key}:v{version.version}", f"has {held}")
    if version.source is not None:
        unlink(repository, key, version.version)
        return
    catalog = repository.catalog
    catalog.release(key, version.version)
    is_new = catalog.mark_deleted(key, version.version)
    for portfolio, number in links(repository, key, version.version):
        catalog.release(portfolio, number)
        catalog.mark_deleted(portfolio, number)
    if not is_new:
        raise NotFound(f"{key}:v{version.version}", "was deleted")


class Reclaimable(msgspec.Struct, frozen=True):
    """`size`: bytes, as stored. `is_exact`: False where the store is too large to look through; it
    is no more than `size` then."""

    size: int
    is_exact: bool


def reclaimable(
    repository: Repository,
    doomed: Sequence[tuple[ArtifactKey, VersionRecord]],
    budget: int = BUDGET,
    patience: float = PATIENCE,
) -> Reclaimable:
    """The bytes of what these versions hold and no other live version of the store does.

    Links to them go with them, and count for nothing. Nodes that a version shares with the nearest
    one that stays are not looked into. What is left of it is looked for in the rest of the store,
    of which each node is read once; at most `budget` of all nodes are read, in at most `patience`
    seconds. What is not found, or cannot be read, then counts as reclaimable. Raises `Unreachable`.
    """
    reading = _Reading(repository, budget, patience)
    sizes: dict[bytes, int] = {}

    def add(blob: BlobRef) -> None:
        sizes[blob.digest] = blob.stored

    def drop(blob: BlobRef) -> None:
        sizes.pop(blob.digest, None)

    gone = _going(repository, doomed)
    staying = {
        key: [n for n in repository.catalog.versions(key) if (key, n) not in gone]
        for key in dict.fromkeys(key for key, _ in doomed)
    }
    for key, version in doomed:
        if not reading.is_spent:
            reading.apart(version, _nearest(repository, key, version.version, staying[key]), add)
    if reading.is_spent:
        return Reclaimable(sum(version.root.size for _, version in doomed), is_exact=False)
    reading.seen.clear()
    for root in part_roots(repository):
        reading.walk(root.blob, drop)
    for other in _others(repository, staying, gone) if sizes else ():
        if not sizes or reading.is_spent:
            break
        reading.version(other, drop)
    return Reclaimable(sum(sizes.values()), is_exact=not sizes or reading.is_whole)


def _going(
    repository: Repository, doomed: Sequence[tuple[ArtifactKey, VersionRecord]]
) -> set[tuple[ArtifactKey, int]]:
    going = {(key, version.version) for key, version in doomed}
    for key, version in doomed:
        if version.source is None:
            going.update(links(repository, key, version.version))
    return going


def _nearest(
    repository: Repository, key: ArtifactKey, number: int, staying: Sequence[int]
) -> VersionRecord | None:
    """The nearest version of an artifact that stays, if it can be read."""
    if not staying:
        return None
    with contextlib.suppress(Damaged, NotFound):
        return repository.catalog.version(key, min(staying, key=lambda n: abs(n - number)))
    return None


def _others(
    repository: Repository,
    staying: Mapping[ArtifactKey, Sequence[int]],
    gone: Set[tuple[ArtifactKey, int]],
) -> Iterator[VersionRecord | None]:
    """Every version of the store that stays, None for one that cannot be read; those first that
    most likely share something."""
    catalog = repository.catalog
    for key, numbers in staying.items():
        yield from catalog.sound_records(key, reversed(numbers))
    for project in catalog.projects():
        for key in catalog.artifacts(*project):
            if key not in staying:
                numbers = [n for n in catalog.versions(key) if (key, n) not in gone]
                yield from catalog.sound_records(key, reversed(numbers))


class _Reading:
    """Walks trees, looking into no node twice, until budget or time is spent."""

    def __init__(self, repository: Repository, budget: int, patience: float) -> None:
        self._repository = repository
        self._left = budget
        self._deadline = time.monotonic() + patience
        self._is_damaged = False
        self.seen: set[bytes] = set()

    @property
    def is_spent(self) -> bool:
        return self._left < 0 or time.monotonic() > self._deadline

    @property
    def is_whole(self) -> bool:
        """Whether all that was to be read was read."""
        return not self.is_spent and not self._is_damaged

    def version(self, version: VersionRecord | None, visit: Callable[[BlobRef], None]) -> None:
        """Visit what a version holds; None: one that cannot be read."""
        self._left -= 1
        if version is None:
            self._is_damaged = True
            return
        self.walk(version.root.entry().blob, visit)

    def walk(self, top: BlobRef | None, visit: Callable[[BlobRef], None]) -> None:
        """Visit a node and all that is below it."""
        waiting = [] if top is None else [top]
        while waiting and not self.is_spent:
            blob = waiting.pop()
            if blob.digest in self.seen:
                continue
            self.seen.add(blob.digest)
            visit(blob)
            nodes, chunks = self._below(blob)
            waiting += nodes
            for chunk in chunks:
                visit(chunk)

    def apart(
        self, version: VersionRecord, other: VersionRecord | None, visit: Callable[[BlobRef], None]
    ) -> None:
        """Visit what a version holds, but for nodes that another has at the same depth, and for
        what is below them."""
        mine = _by_digest([version.root.entry().blob])
        theirs = {} if other is None else _by_digest([other.root.entry().blob])
        while mine and not self.is_spent:
            shared = mine.keys() & theirs.keys()
            mine = {digest: blob for digest, blob in mine.items() if digest not in shared}
            chunks: dict[bytes, BlobRef] = {}
            below: list[BlobRef] = []
            for blob in mine.values():
                visit(blob)
                nodes, held = self._below(blob)
                below += nodes
                chunks |= _by_digest(held)
            next_to: list[BlobRef] = []
            for digest, blob in theirs.items():
                if digest not in shared and not self.is_spent:
                    nodes, held = self._below(blob)
                    next_to += nodes
                    for chunk in held:
                        chunks.pop(chunk.digest, None)
            for chunk in chunks.values():
                visit(chunk)
            mine, theirs = _by_digest(below), _by_digest(next_to)

    def _below(self, blob: BlobRef) -> tuple[list[BlobRef], list[BlobRef]]:
        """The nodes and the chunks that a node refers to."""
        self._left -= 1
        try:
            node = self._repository.blobs.node(blob)
        except (Damaged, ObjectNotFound):
            self._is_damaged = True
            return [], []
        if isinstance(node, DirInner | ListInner):
            return [child.blob for child in node.children], []
        if isinstance(node, ListLeaf):
            return [], [run.blob for run in node.runs]
        nodes: list[BlobRef] = []
        chunks: list[BlobRef] = []
        for entry in node.entries:
            if entry.blob is not None:
                (nodes if entry.is_dir or entry.height else chunks).append(entry.blob)
        return nodes, chunks


def _by_digest(blobs: Iterable[BlobRef | None]) -> dict[bytes, BlobRef]:
    return {blob.digest: blob for blob in blobs if blob is not None}
