"""Portfolios: links that are read like versions, made once by however many, and taken out."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from artfs.errors import CommitConflict, Conflict, InvalidValue, NotFound, Unreachable
from artfs.format import keys
from artfs.format.record import LinkRecord
from artfs.repo import links as links_module
from artfs.repo.catalog import Catalog
from artfs.repo.deletion import delete
from artfs.repo.links import link, links, source_of, unlink
from artfs.repo.repository import Repository
from artfs.store.base import Store
from artfs.store.directory import DirectoryStore
from artfs.store.memory import MemoryStore
from artfs.types import ArtifactKey, Ref
from tests.support.faulty import FaultyStore
from tests.unit.repo.trees import KEY, commit_tree, flat, memory_repository, read_version

BEST = ArtifactKey("default", "models", "best")
TREES = [{b"f": b"%d" % n} for n in range(3)]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path) as opened:
        fill(opened)
        yield opened


def fill(repository: Repository) -> None:
    for tree in TREES:
        commit_tree(repository, tree)


def linked(repository: Repository, number: int, *aliases: str, to: ArtifactKey = BEST) -> int:
    return link(repository, KEY, repository.catalog.version(KEY, number), to, aliases)


def test_a_portfolio_is_read_like_an_artifact(repository: Repository) -> None:
    stored = [info.key for info in repository.store.list(keys.PACKS)]
    assert linked(repository, 2, "production") == 0
    assert linked(repository, 0) == 1
    catalog = repository.catalog
    assert catalog.artifacts("default", "models") == [BEST]
    assert catalog.versions(BEST) == [0, 1]
    assert catalog.latest(BEST) == 1
    assert catalog.aliases(BEST) == {"production": 0}
    assert catalog.artifact(BEST).type == "dataset"
    assert read_version(repository, 0, BEST) == flat(TREES[2])
    found = catalog.resolve(Ref(BEST, "latest"))
    assert found.digest == catalog.version(KEY, 0).digest
    assert str(found.source) == "default/default/animals:v0"
    assert source_of(repository, BEST, found) == (KEY, catalog.version(KEY, 0))
    assert [info.key for info in repository.store.list(keys.PACKS)] == stored


def test_a_version_is_in_a_portfolio_once(repository: Repository) -> None:
    other = ArtifactKey("me", "mine", "all")
    assert linked(repository, 1) == 0
    assert linked(repository, 1, "good") == 0
    assert linked(repository, 1, to=other) == 0
    assert list(links(repository, KEY, 1)) == [(BEST, 0), (other, 0)]
    assert list(links(repository, KEY, 0)) == []
    assert repository.catalog.aliases(BEST) == {"good": 0}


def test_a_link_to_a_link_is_one_to_its_source(repository: Repository) -> None:
    linked(repository, 1)
    other = ArtifactKey("default", "models", "all")
    link(repository, BEST, repository.catalog.version(BEST, 0), other)
    source = repository.catalog.version(other, 0).source
    assert source is not None
    assert (source.key, source.version) == (KEY, 1)


def test_an_unlinked_version_can_be_linked_again(repository: Repository) -> None:
    linked(repository, 1, "a", "b")
    linked(repository, 2, "c")
    unlink(repository, BEST, 0)
    catalog = repository.catalog
    assert catalog.versions(BEST) == [1]
    assert catalog.aliases(BEST) == {"c": 1}
    assert list(links(repository, KEY, 1)) == []
    assert catalog.version(KEY, 1).version == 1
    assert linked(repository, 1) == 2
    with pytest.raises(NotFound, match="best:v0: was deleted"):
        unlink(repository, BEST, 0)


def test_what_cannot_be_linked_or_unlinked(repository: Repository) -> None:
    with pytest.raises(InvalidValue, match="is the artifact itself"):
        linked(repository, 0, to=KEY)
    with pytest.raises(InvalidValue, match="alias 'latest'"):
        linked(repository, 0, "latest")
    other = ArtifactKey("default", "default", "plants")
    commit_tree(repository, {b"f": b"x"}, other)
    with pytest.raises(Conflict, match="artifact 'plants': is no portfolio"):
        linked(repository, 0, to=other)
    repository.catalog.create_artifact(BEST, "model", portfolio=True)
    with pytest.raises(Conflict, match="has type 'model', not 'dataset'"):
        linked(repository, 0)
    with pytest.raises(InvalidValue, match="animals:v0: is a version and not a link"):
        unlink(repository, KEY, 0)
    with pytest.raises(NotFound):
        unlink(repository, BEST, 0)


def test_a_portfolio_takes_no_versions(repository: Repository) -> None:
    linked(repository, 0)
    for tree in (TREES[0], {b"new": b"1"}):
        with pytest.raises(Conflict, match="artifact 'models/best': is a portfolio") as raised:
            commit_tree(repository, tree, BEST)
        assert not isinstance(raised.value, CommitConflict)
    with pytest.raises(Conflict, match="is a portfolio"):
        repository.catalog.check_type(BEST, "")
    empty = ArtifactKey("default", "models", "empty")
    repository.catalog.create_artifact(empty, "dataset", portfolio=True)
    with pytest.raises(Conflict, match="is a portfolio"):
        commit_tree(repository, TREES[0], empty)


def test_a_link_whose_source_is_being_deleted_does_not_stay(repository: Repository) -> None:
    version = repository.catalog.version(KEY, 1)
    delete(repository, KEY, version)
    with pytest.raises(NotFound, match="animals:v1: was deleted"):
        link(repository, KEY, version, BEST)
    assert repository.catalog.versions(BEST) == []
    assert list(links(repository, KEY, 1)) == []


def test_two_make_one_link_at_once(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another has made it, and others more, since this one found that it was begun."""
    linked(repository, 0)
    real = links_module._Making._put

    def put(self: links_module._Making, begun: LinkRecord) -> int:
        monkeypatch.setattr(links_module._Making, "_put", real)
        assert linked(repository, 1) == 1
        assert linked(repository, 2) == 2
        return real(self, begun)

    monkeypatch.setattr(links_module._Making, "_put", put)
    assert linked(repository, 1) == 1
    assert repository.catalog.versions(BEST) == [0, 1, 2]


def test_linked_anew_while_it_is_unlinked(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = linked(repository, 1)
    real = Catalog.mark_deleted

    def mark_deleted(self: Catalog, key: ArtifactKey, at: int) -> bool:
        found = real(self, key, at)
        assert linked(repository, 1) == number + 1
        return found

    monkeypatch.setattr(Catalog, "mark_deleted", mark_deleted)
    unlink(repository, BEST, number)
    assert list(links(repository, KEY, 1)) == [(BEST, number + 1)]


CHANGES = ("put_if_absent", "compare_and_set", "delete_record")


def scenes(first: bool) -> Iterator[tuple[str, int, bool]]:
    """Each call that changes the store, in the course of a link, an alias and an unlink."""
    store = FaultyStore(MemoryStore())
    with memory_repository(Path("/proc/nowhere"), store) as repository:
        fill(repository)
        if not first:
            linked(repository, 0)
        store.calls.clear()
        unlink(repository, BEST, linked(repository, 1, "best"))
        calls = {name: store.calls[name] for name in CHANGES}
    for method, count in calls.items():
        for nth in range(1, count + 1):
            yield method, nth, False
            yield method, nth, True


@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_a_failure_at_every_change(first: bool, tmp_path: Path) -> None:
    """Link and unlink, tried until they succeed, have made one link and taken one out."""
    met = 0
    for method, nth, after in scenes(first):
        store: Store = FaultyStore(MemoryStore())
        assert isinstance(store, FaultyStore)
        with memory_repository(tmp_path, store) as repository:
            fill(repository)
            if not first:
                linked(repository, 0)
            store.fail(method, nth, Unreachable("store", "does not answer"), after)
            failures = 0
            for _ in range(2):
                try:
                    number = linked(repository, 1, "best")
                    break
                except Unreachable:
                    failures += 1
            assert number == (0 if first else 1)
            assert repository.catalog.aliases(BEST) == {"best": number}
            assert list(links(repository, KEY, 1)) == [(BEST, number)]
            for _ in range(2):
                try:
                    unlink(repository, BEST, number)
                    break
                except Unreachable:
                    failures += 1
                except NotFound:
                    break
            met += failures
            assert repository.catalog.versions(BEST) == ([] if first else [0])
            assert repository.catalog.aliases(BEST) == {}
            assert list(links(repository, KEY, 1)) == []
            assert linked(repository, 1) == number + 1
    assert met >= 8


def _link_all(root: Path, cache: Path) -> None:
    with memory_repository(cache, DirectoryStore(root)) as repository:
        for number in range(3):
            linked(repository, number, f"v-{number}")


def test_racing_processes_make_each_link_once(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with memory_repository(tmp_path / "cache", DirectoryStore.create(root)) as repository:
        fill(repository)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_link_all, args=(root, tmp_path / "cache")) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 6
    with memory_repository(tmp_path / "cache", DirectoryStore(root)) as repository:
        catalog = repository.catalog
        assert catalog.newest_number(BEST) == 2
        sources = [catalog.version(BEST, number).source for number in range(3)]
        assert sorted(source.version for source in sources if source) == [0, 1, 2]
        assert len(catalog.aliases(BEST)) == 3
