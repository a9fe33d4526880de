"""A distributed version is made once and whole, whatever fails and whoever dies on the way."""

from __future__ import annotations

import contextlib
import functools
import secrets
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from artfs.api import distributed
from artfs.api.committing import Wish, commit_wish
from artfs.api.distributed import Sharing
from artfs.errors import Conflict, NotFound, Unreachable
from artfs.format import keys
from artfs.format.record import PartRecord
from artfs.repo.commit import Committed
from artfs.repo.distributed import Distributed, Gathered
from artfs.repo.labels import Labels
from artfs.repo.packing import PackWriter
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
    stored_tree,
)

OLD: Tree = {b"old": b"old"}
ONE: Tree = {b"parts": {b"one": noise(40_000, "one")}, b"same": b"s"}
TWO: Tree = {b"parts": {b"two": noise(5000, "two")}, b"same": b"s"}
LAST: Tree = {b"index": b"all"}
WHOLE: Tree = {
    b"parts": {b"one": noise(40_000, "one"), b"two": noise(5000, "two")}, b"same": b"s",
    b"index": b"all",
}  # fmt: skip

CHANGES = ("writer.write", "writer.commit", "put_if_absent", "compare_and_set", "delete_record")


def wish(tree: Tree, writer: PackWriter, *aliases: str) -> Wish:
    return Wish(KEY, "dataset", stored_tree(tree, writer), Labels(), aliases, None)


def add(repository: Repository, tree: Tree, run: str) -> None:
    with PackWriter(repository) as writer:
        Sharing("job 1", run).add(repository, writer, wish(tree, writer, f"by-{run}"))


def finish(repository: Repository, run: str = "last", tree: Tree = LAST) -> Committed:
    with PackWriter(repository) as writer:
        return Sharing("job 1", run).finish(repository, writer, wish(tree, writer, "best"))


def make(store: Store, cache: Path) -> None:
    """An earlier version, and the parts of two writers."""
    with memory_repository(cache, store) as repository:
        commit_tree(repository, OLD)
        add(repository, ONE, "one")
        add(repository, TWO, "two")


def check(store: Store, cache: Path) -> None:
    """Finishing it (again, as another run) gives one whole version, and then nobody can add."""
    with memory_repository(cache, store) as repository:
        numbers = repository.catalog.versions(KEY)
        assert numbers in ([0], [0, 1])
        if numbers == [0, 1]:
            assert read_version(repository, 1) == flat(WHOLE)
        done = finish(repository, secrets.token_hex(4))
        assert done.version == 1
        assert repository.catalog.versions(KEY) == [0, 1]
        assert read_version(repository, 1) == flat(WHOLE)
        assert repository.catalog.aliases(KEY) == {"best": 1, "by-one": 1, "by-two": 1}
        assert list(repository.store.list(keys.writers("job 1", KEY))) == []
        with pytest.raises(Conflict, match="'job 1' of artifact 'animals': was finished by run"):
            add(repository, ONE, "late")


def dry_run(cache: Path, action: Callable[[Repository], object]) -> Counter[str]:
    store = FaultyStore(MemoryStore())
    make(store, cache)
    store.calls.clear()
    with memory_repository(cache, store) as repository:
        action(repository)
    return +Counter({name: n for name, n in store.calls.items() if "close" not in name})


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_every_store_call_of_a_finish_fails_once(
    tmp_path_factory: pytest.TempPathFactory, after: bool
) -> None:
    calls = dry_run(tmp_path_factory.mktemp("dry"), finish)
    assert {*CHANGES, "list", "read_record", "info"} <= calls.keys()
    for method, count in calls.items():
        if after and method not in CHANGES:
            continue  # a lost answer is a failure before
        for nth in range(1, count + 1):
            store, cache = FaultyStore(MemoryStore()), tmp_path_factory.mktemp("cache")
            make(store, cache)
            store.fail(method, nth, Unreachable("store", "does not answer"), after)
            failing = contextlib.suppress(Unreachable) if after else pytest.raises(Unreachable)
            with memory_repository(cache, store) as repository, failing:
                finish(repository)
            store.verify_all_hit()
            check(store.inner, cache)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_every_store_call_of_a_writer_fails_once(
    tmp_path_factory: pytest.TempPathFactory, after: bool
) -> None:
    """A writer that runs again, under whatever id, does no harm."""
    more: Tree = {b"parts": {b"three": noise(9000, "three")}}
    calls = dry_run(tmp_path_factory.mktemp("dry"), lambda found: add(found, more, "three"))
    for again in ("three", "third"):
        for method, count in calls.items():
            if after and method not in CHANGES:
                continue
            for nth in range(1, count + 1):
                store, cache = FaultyStore(MemoryStore()), tmp_path_factory.mktemp("cache")
                make(store, cache)
                store.fail(method, nth, Unreachable("store", "does not answer"), after)
                # An answer that was an error by itself is not lost.
                failing = contextlib.suppress(Unreachable) if after else pytest.raises(Unreachable)
                with memory_repository(cache, store) as repository:
                    with failing:
                        add(repository, more, "three")
                    add(repository, more, again)
                    assert finish(repository).version == 1
                    found = read_version(repository, 1)
                    assert found == flat(WHOLE) | flat(more)


def test_a_finish_that_begins_while_a_writer_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is refused: whether its part was seen is not known."""
    real = Distributed.put

    def put(self: Distributed, run: str, part: PartRecord, writer: PackWriter) -> bool:
        found = real(self, run, part, writer)
        self.seal("other")
        return found

    with memory_repository(tmp_path) as repository:
        monkeypatch.setattr(Distributed, "put", put)
        with pytest.raises(Conflict, match="was finished by run 'other', and takes no more"):
            add(repository, ONE, "one")


@pytest.mark.parametrize("unchanged", [False, True])
def test_another_finishes_while_parts_are_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchanged: bool
) -> None:
    """The parts are gone then, and no version is made of what is left of them."""
    real = Distributed.gather
    with memory_repository(tmp_path) as repository:
        make(repository.store, tmp_path)
        if unchanged:
            commit_tree(repository, WHOLE)

        def gather(self: Distributed, writer: PackWriter, last: str) -> Gathered:
            monkeypatch.setattr(Distributed, "gather", real)
            assert finish(repository, "fast").version == 1
            return real(self, writer, last)

        monkeypatch.setattr(Distributed, "gather", gather)
        assert finish(repository, "slow").version == 1
        assert repository.catalog.versions(KEY) == [0, 1]
        assert read_version(repository, 1) == flat(WHOLE)


def test_another_finishes_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same commit is found, although the artifact has moved on since."""
    with memory_repository(tmp_path) as repository:
        make(repository.store, tmp_path)

        def commit(repository: Repository, writer: PackWriter, wish: Wish) -> Committed:
            monkeypatch.setattr(distributed, "commit_wish", commit_wish)
            assert finish(repository, "fast").version == 1
            commit_tree(repository, OLD)
            return commit_wish(repository, writer, wish)

        monkeypatch.setattr(distributed, "commit_wish", commit)
        assert finish(repository, "slow").version == 1
        assert repository.catalog.versions(KEY) == [0, 1, 2]


def test_a_finisher_that_was_overtaken_leaves_the_parts(tmp_path: Path) -> None:
    with memory_repository(tmp_path) as repository:
        make(repository.store, tmp_path)
        version = Distributed(repository, KEY, "job 1")
        slow = version.seal("slow")
        version.unseal(slow)
        version.close(slow, repository.catalog.version(KEY, 0), False)
        assert finish(repository).version == 1
        assert read_version(repository, 1) == flat(WHOLE)


def test_a_version_that_was_deleted_is_not_made_again(tmp_path: Path) -> None:
    with memory_repository(tmp_path) as repository:
        make(repository.store, tmp_path)
        finish(repository)
        repository.catalog.mark_deleted(KEY, 1)
        with pytest.raises(NotFound, match="animals:v1: was deleted"):
            finish(repository)
        assert repository.catalog.versions(KEY) == [0]


def _in(root: Path, cache: Path, action: Callable[[Repository], object]) -> None:
    with memory_repository(cache, DirectoryStore(root)) as repository:
        action(repository)


@pytest.mark.slow
def test_a_finisher_is_killed_at_every_step(tmp_path: Path) -> None:
    made = tmp_path / "store", tmp_path / "cache"
    make(DirectoryStore.create(made[0]), made[1])

    def fresh(number: int) -> tuple[Path, Path]:
        root, cache = tmp_path / f"store{number}", tmp_path / f"cache{number}"
        shutil.copytree(made[0], root)
        shutil.copytree(made[1], cache)
        return root, cache

    root, cache = fresh(0)
    steps = die_at(None, root, functools.partial(_in, root, cache, finish))
    assert steps > 30
    outcomes = set()
    for fatal in range(1, steps + 1):
        root, cache = fresh(fatal)
        die_at(fatal, root, functools.partial(_in, root, cache, finish))
        store = DirectoryStore(root)
        with memory_repository(cache, store) as repository:
            outcomes.add(len(repository.catalog.versions(KEY)))
        check(store, cache)
    assert outcomes == {1, 2}, "the commit point lies within the steps"
