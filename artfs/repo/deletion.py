"""Deleting versions, and how many bytes that sets free. See artfs-format(5), WRITE ORDER."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from artfs.errors import Conflict, Damaged, NotFound, ObjectNotFound
from artfs.format.node import DirInner, DirLeaf, ListInner, ListLeaf
from artfs.format.record import VersionRecord
from artfs.repo.distributed import part_roots
from artfs.repo.links import links, unlink
from artfs.repo.repository import Repository
from artfs.types import ArtifactKey, BlobRef, Entry

#: Nodes and records that are read at most to find out what becomes reclaimable: some seconds.
BUDGET = 20_000


def holders(repository: Repository, key: ArtifactKey, version: VersionRecord) -> str:
    """What keeps a version from being deleted, as text; "" if nothing does."""
    number = version.version
    aliases = sorted(a for a, at in repository.catalog.aliases(key).items() if at == number)
    found = []
    if aliases:
        found.append(f"the {'alias' if len(aliases) == 1 else 'aliases'} {', '.join(aliases)}")
    if version.source is None:
        found += [
            f"a link in {portfolio.entity}/{portfolio.project}/{portfolio}:v{at}"
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
) -> Reclaimable:
    """The bytes of what these versions hold and no other live version of the store does.

    Each node is read once, and at most `budget` of them; what is not known to be held by others
    then counts as reclaimable, and so it does where others cannot be read. If reading the doomed
    versions alone takes more than that, the answer is what their commits stored.
    Raises `Unreachable`.
    """
    reading = _Reading(repository, budget)
    sizes: dict[bytes, int] = {}

    def add(blob: BlobRef) -> None:
        sizes[blob.digest] = blob.stored

    def drop(blob: BlobRef) -> None:
        sizes.pop(blob.digest, None)

    for _, version in doomed:
        reading.walk(version.root.entry(), add)
    if reading.is_spent:
        return Reclaimable(sum(version.stored for _, version in doomed), is_exact=False)
    reading.seen.clear()
    names = {(key, version.version) for key, version in doomed}
    for root in part_roots(repository):
        reading.walk(root, drop)
    for key in _artifacts(repository, [key for key, _ in doomed]):
        for number in reversed(repository.catalog.versions(key)):
            if not sizes or reading.is_spent:
                break
            if (key, number) not in names:
                reading.version(key, number, drop)
    return Reclaimable(sum(sizes.values()), is_exact=not sizes or reading.is_whole)


def _artifacts(repository: Repository, first: Sequence[ArtifactKey]) -> Iterator[ArtifactKey]:
    """Every artifact of the store: those first that most likely share something."""
    yield from dict.fromkeys(first)
    for entity, project in repository.catalog.projects():
        for key in repository.catalog.artifacts(entity, project):
            if key not in first:
                yield key


class _Reading:
    """Walks trees, looking into no node twice, until the budget is spent."""

    def __init__(self, repository: Repository, budget: int) -> None:
        self._repository = repository
        self._left = budget
        self._is_damaged = False
        self.seen: set[bytes] = set()

    @property
    def is_spent(self) -> bool:
        return self._left < 0

    @property
    def is_whole(self) -> bool:
        """Whether all that was to be read was read."""
        return not self.is_spent and not self._is_damaged

    def version(self, key: ArtifactKey, number: int, visit: Callable[[BlobRef], None]) -> None:
        self._left -= 1
        try:
            version = self._repository.catalog.version(key, number)
        except (Damaged, NotFound):  # NotFound: deleted this moment
            self._is_damaged = True
            return
        self.walk(version.root.entry(), visit)

    def walk(self, root: Entry, visit: Callable[[BlobRef], None]) -> None:
        waiting = [] if root.blob is None else [root.blob]
        while waiting and not self.is_spent:
            blob = waiting.pop()
            if blob.digest in self.seen:
                continue
            self.seen.add(blob.digest)
            visit(blob)
            self._left -= 1
            try:
                node = self._repository.blobs.node(blob)
            except (Damaged, ObjectNotFound):
                self._is_damaged = True
                continue
            if isinstance(node, DirInner | ListInner):
                waiting += [child.blob for child in node.children]
            elif isinstance(node, ListLeaf):
                for run in node.runs:
                    visit(run.blob)
            elif isinstance(node, DirLeaf):
                for entry in node.entries:
                    if entry.blob is None:
                        continue
                    if entry.is_dir or entry.height:
                        waiting.append(entry.blob)
                    else:
                        visit(entry.blob)
