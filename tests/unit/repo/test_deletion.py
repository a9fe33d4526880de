"""Versions are deleted as a whole or not, and what that frees is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from artfs.errors import Conflict, NotFound, Unreachable
from artfs.format import keys
from artfs.repo.deletion import Reclaimable, delete, holders, reclaimable
from artfs.repo.links import link, links
from artfs.repo.repository import Repository
from artfs.store.memory import MemoryStore
from artfs.types import ArtifactKey
from tests.support.faulty import FaultyStore
from tests.unit.repo.trees import KEY, commit_tree, memory_repository, noise

BEST = ArtifactKey("default", "default", "best")
BIG = noise(3_000_000, "big")


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path) as opened:
        yield opened


def deleted(repository: Repository, number: int, force: bool = False) -> None:
    delete(repository, KEY, repository.catalog.version_ever(KEY, number), force=force)


def freed(repository: Repository, *numbers: int, budget: int = 20_000) -> Reclaimable:
    doomed = [(KEY, repository.catalog.version(KEY, number)) for number in numbers]
    return reclaimable(repository, doomed, budget)


def test_a_version_with_aliases_or_links_is_refused(repository: Repository) -> None:
    commit_tree(repository, {b"f": b"0"}, aliases=("good", "best"))
    version = repository.catalog.version(KEY, 0)
    link(repository, KEY, version, BEST, ["production"])
    held = "the aliases best, good and a link in default/default/best:v0"
    assert holders(repository, KEY, version) == held
    with pytest.raises(Conflict, match=f"animals:v0: has {held}"):
        deleted(repository, 0)
    repository.catalog.delete_alias(KEY, "best")
    repository.catalog.delete_alias(KEY, "good")
    with pytest.raises(Conflict, match="has a link in"):
        deleted(repository, 0)
    assert repository.catalog.versions(BEST) == [0]
    deleted(repository, 0, force=True)
    for key in (KEY, BEST):
        with pytest.raises(NotFound, match="v0: was deleted"):
            repository.catalog.version(key, 0)
        assert repository.catalog.aliases(key) == {}
    with pytest.raises(NotFound, match="animals:v0: was deleted"):
        deleted(repository, 0)


def test_deleting_a_link_leaves_the_version(repository: Repository) -> None:
    commit_tree(repository, {b"f": b"0"})
    link(repository, KEY, repository.catalog.version(KEY, 0), BEST, ["a"])
    linked = repository.catalog.version(BEST, 0)
    with pytest.raises(Conflict, match="has the alias a"):
        delete(repository, BEST, linked)
    delete(repository, BEST, linked, force=True)
    assert repository.catalog.versions(BEST) == []
    assert repository.catalog.versions(KEY) == [0]
    assert list(links(repository, KEY, 0)) == []


def test_a_failure_at_every_change(tmp_path: Path) -> None:
    """After any failure a second deletion finishes: no alias and no link is left."""
    met = 0
    for method in ("delete_record", "put_if_absent"):
        for nth in (1, 2):
            for after in (False, True):
                store = FaultyStore(MemoryStore())
                with memory_repository(tmp_path, store) as repository:
                    commit_tree(repository, {b"f": b"0"}, aliases=("a",))
                    link(repository, KEY, repository.catalog.version(KEY, 0), BEST, ["b"])
                    store.fail(method, nth, Unreachable("store", "does not answer"), after)
                    with pytest.raises(Unreachable):
                        deleted(repository, 0, force=True)
                    met += 1
                    if repository.catalog.is_deleted(KEY, 0):
                        with pytest.raises(NotFound, match="was deleted"):
                            deleted(repository, 0, force=True)
                    else:
                        deleted(repository, 0, force=True)
                    for key in (KEY, BEST):
                        assert repository.catalog.versions(key) == []
                        assert repository.catalog.aliases(key) == {}
    assert met == 8


def test_the_bytes_of_nobody_else_are_reclaimable(repository: Repository) -> None:
    other = ArtifactKey("me", "mine", "copy")
    commit_tree(repository, {b"big": BIG, b"f": b"0"})
    commit_tree(repository, {b"big": BIG, b"g": noise(1000, "g")})
    commit_tree(repository, {b"f": b"0"}, other)
    stored = sum(info.size for info in repository.store.list(keys.PACKS))
    alone = freed(repository, 1)
    assert alone.is_exact
    assert 1000 < alone.size < 2000  # g and a node
    both = freed(repository, 0, 1)
    assert both.is_exact
    assert len(BIG) < both.size < stored
    commit_tree(repository, {b"elsewhere": {b"big": BIG}}, other)
    assert freed(repository, 0, 1).size < 3000


def test_what_other_deleted_versions_hold_counts_as_reclaimable(repository: Repository) -> None:
    commit_tree(repository, {b"big": BIG})
    commit_tree(repository, {b"big": BIG, b"f": b"1"})
    assert freed(repository, 1).size < 3000
    deleted(repository, 0)
    assert freed(repository, 1).size > len(BIG)


def test_a_link_holds_what_it_links_to(repository: Repository) -> None:
    commit_tree(repository, {b"big": BIG})
    link(repository, KEY, repository.catalog.version(KEY, 0), BEST)
    found = [(BEST, repository.catalog.version(BEST, 0))]
    assert reclaimable(repository, found) == Reclaimable(0, is_exact=True)


def test_links_that_go_with_it_hold_nothing(repository: Repository) -> None:
    commit_tree(repository, {b"big": BIG})
    link(repository, KEY, repository.catalog.version(KEY, 0), BEST)
    found = freed(repository, 0)
    assert found.is_exact
    assert found.size > len(BIG)


def test_records_of_other_versions_are_read_several_at_once(tmp_path: Path) -> None:
    store = Counting()
    with memory_repository(tmp_path, store) as repository:
        for number in range(20):
            commit_tree(repository, {b"f": b"%d" % number})
            commit_tree(repository, {b"f": b"%d" % number}, BEST)
    with memory_repository(tmp_path / "fresh", store) as repository:
        doomed = [(KEY, repository.catalog.version(KEY, number)) for number in range(5)]
        store.keys.clear()
        assert reclaimable(repository, doomed).is_exact
    alone = [some for some in store.keys if len(some) == 1 and "versions/" in some[0]]
    assert alone == []
    asked = {key for some in store.keys for key in some}
    assert asked.issuperset(keys.version(KEY, number) for number in range(5, 20))
    # Which versions there are is not asked for each that goes.
    assert store.calls["list_names"] < 12


def test_a_budget_bounds_the_reading(repository: Repository) -> None:
    commit_tree(repository, {b"f": noise(10_000), b"same": {b"big": BIG}})
    commit_tree(repository, {b"deep": {b"f": noise(10_000)}, b"same": {b"big": BIG}})
    commit_tree(repository, {b"same": {b"big": BIG}})
    exact = freed(repository, 0)
    assert exact.is_exact
    assert exact.size < 1000
    unread = freed(repository, 0, budget=3)  # v0 next to v1 takes two
    assert not unread.is_exact
    assert 10_000 <= unread.size < 11_000
    doomed = [(KEY, repository.catalog.version(KEY, 0))]
    unknown = Reclaimable(len(BIG) + 10_000, is_exact=False)
    assert freed(repository, 0, budget=0) == unknown
    assert reclaimable(repository, doomed, patience=-1) == unknown


def test_a_huge_version_costs_what_it_does_not_share(repository: Repository) -> None:
    files = {b"%d" % n: {b"%d" % m: b"%d %d" % (n, m) for m in range(20)} for n in range(200)}
    commit_tree(repository, files)
    commit_tree(repository, {**files, b"7": {b"new": noise(5000)}})
    new = freed(repository, 1, budget=20)
    assert not new.is_exact
    assert 5000 <= new.size < 15_000 < repository.catalog.version(KEY, 1).root.size
    assert 5000 <= freed(repository, 1).size <= new.size


class Counting(FaultyStore):
    """Notes which objects were asked for at once."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.keys: list[list[str]] = []

    def get_all(self, keys: Iterable[str]) -> dict[str, bytes]:
        asked = list(keys)
        self.keys.append(asked)
        return super().get_all(asked)


def test_a_damaged_version_can_be_deleted(repository: Repository) -> None:
    commit_tree(repository, {b"f": b"0"})
    commit_tree(repository, {b"f": b"1"})
    pack = repository.catalog.version(KEY, 0).root.pack
    repository.store.delete(keys.pack(bytes.fromhex(pack)))
    repository.blobs.close()
    with memory_repository(Path("/proc/nowhere"), repository.store) as fresh:
        assert not freed(fresh, 0).is_exact
        deleted(fresh, 0)
        assert fresh.catalog.versions(KEY) == [1]
