"""Whatever fails, and whenever the process dies: no version or a whole one, and never two."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from artfs.errors import NotFound, Unreachable
from artfs.repo.commit import Committed
from artfs.repo.repository import Repository
from artfs.store.base import Store
from artfs.store.directory import DirectoryStore
from artfs.store.memory import MemoryStore
from tests.support.deadly import die_at
from tests.support.faulty import FaultyStore
from tests.unit.repo.trees import (
    KEY,
    Tree,
    commit_tree,
    flat,
    memory_repository,
    noise,
    read_version,
)

OLD: Tree = {b"same": noise(40_000, "same"), b"d": {b"old": b"1"}, b"l": "same"}
NEW: Tree = {b"same": noise(40_000, "same"), b"d": {b"new": noise(5000, "new")}, b"l": "d"}

CHANGES = ("writer.write", "writer.commit", "put_if_absent", "compare_and_set")


def make(store: Store, cache: Path, first: bool) -> None:
    """The store as the commit finds it: with an earlier version, or without."""
    with memory_repository(cache, store) as repository:
        if not first:
            commit_tree(repository, OLD)


def commit(repository: Repository) -> Committed:
    return commit_tree(repository, NEW, commit_id="the one", aliases=("best",))


def dry_run(first: bool, tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    store = FaultyStore(MemoryStore())
    cache = tmp_path_factory.mktemp("dry")
    make(store, cache, first)
    store.calls.clear()
    with memory_repository(cache, store) as repository:
        commit(repository)
        return +Counter({name: n for name, n in store.calls.items() if "close" not in name})


def check(store: Store, cache: Path, first: bool) -> None:
    """All versions whole; the commit can be repeated, and then is there once."""
    before = 0 if first else 1
    with memory_repository(cache, store) as repository:
        numbers = repository.catalog.versions(KEY)
        assert numbers in (list(range(before)), list(range(before + 1)))
        contents = [read_version(repository, number) for number in numbers]
        assert contents == [flat(OLD), flat(NEW)][1 - before :][: len(numbers)]
        try:
            assert repository.catalog.aliases(KEY) in ({}, {"best": before})
        except NotFound:
            assert first
        done = commit(repository)
        assert (done.version, done.changed) == (before, True)
        assert repository.catalog.versions(KEY) == list(range(before + 1))
        assert repository.catalog.aliases(KEY) == {"best": before}
        assert read_version(repository, before) == flat(NEW)
        done = commit_tree(repository, OLD)
        assert (done.version, done.changed) == (before + 1, True)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("first", [False, True], ids=["second", "first"])
def test_every_store_call_fails_once(
    tmp_path_factory: pytest.TempPathFactory, first: bool, after: bool
) -> None:
    calls = dry_run(first, tmp_path_factory)
    assert {"writer.commit", "put_if_absent", "compare_and_set", "info"} <= calls.keys()
    for method, count in calls.items():
        if after and method not in CHANGES:
            continue  # a lost answer is a failure before
        for nth in range(1, count + 1):
            store = FaultyStore(MemoryStore())
            cache = tmp_path_factory.mktemp("cache")
            make(store, cache, first)
            store.fail(method, nth, Unreachable("store", "does not answer"), after)
            # An answer that was an error by itself is not lost.
            failing = contextlib.suppress(Unreachable) if after else pytest.raises(Unreachable)
            with memory_repository(cache, store) as repository, failing:
                commit(repository)
            store.verify_all_hit()
            check(store.inner, cache, first)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("method", CHANGES)
def test_every_write_to_a_directory_fails_once(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, method: str, after: bool
) -> None:
    for nth in range(1, dry_run(True, tmp_path_factory)[method] + 1):
        root = tmp_path / f"store{nth}"
        store = FaultyStore(DirectoryStore.create(root))
        store.fail(method, nth, OSError(28, "No space left on device"), after)
        with (
            memory_repository(tmp_path / f"cache{nth}", store) as repository,
            pytest.raises(OSError, match="No space"),
        ):
            commit(repository)
        store.verify_all_hit()
        assert list(root.glob(".tmp/*")) == []
        check(store.inner, tmp_path / f"cache{nth}", first=True)


def commit_in(root: Path, cache: Path) -> None:
    with memory_repository(cache, DirectoryStore(root)) as repository:
        commit(repository)


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], tuple[Path, Path]]:
    """Makes stores, each with its cache, that have one version."""
    made = 0

    def make_one() -> tuple[Path, Path]:
        nonlocal made
        made += 1
        root, cache = tmp_path / f"store{made}", tmp_path / f"cache{made}"
        make(DirectoryStore.create(root), cache, first=False)
        return root, cache

    return make_one


@pytest.mark.slow
def test_killed_at_every_step(fresh: Callable[[], tuple[Path, Path]]) -> None:
    root, cache = fresh()
    steps = die_at(None, root, lambda: commit_in(root, cache))
    assert steps > 15
    outcomes = set()
    for fatal in range(1, steps + 1):
        root, cache = fresh()
        die_at(fatal, root, functools.partial(commit_in, root, cache))
        store = DirectoryStore(root)
        with memory_repository(cache, store) as repository:
            outcomes.add(len(repository.catalog.versions(KEY)))
        check(store, cache, first=False)
    assert outcomes == {1, 2}, "the commit point lies within the steps"
