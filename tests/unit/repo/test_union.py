"""What several writers made of one tree comes together by path, each directory written once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artfs.repo.editing import empty_directory
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.repo.union import Clash, Union, unite
from artfs.types import BlobRef, Entry
from tests.unit.repo.trees import Tree, flat, memory_repository, read_flat, stored_tree


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with memory_repository(tmp_path) as opened:
        yield opened


class Stored:
    """Trees in a store, united there; `nodes` counts those that uniting wrote."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.writer = PackWriter(repository)
        self.nodes = 0

    def tree(self, tree: Tree) -> Entry:
        return stored_tree(tree, self.writer)

    def united(self, base: Tree, sides: Mapping[str, Tree]) -> Union:
        roots = {name: self.tree(side) for name, side in sides.items()}
        below = self.tree(base) if base else empty_directory()
        self.writer.settle()

        def store(node: bytes) -> BlobRef:
            self.nodes += 1
            return self.writer.node(node)

        found = unite(below, roots, store, self._repository.blobs)
        self.writer.settle()
        return found

    def read(self, root: Entry) -> dict[bytes, object]:
        return read_flat(root, self._repository)


@pytest.fixture
def stored(repository: Repository) -> Iterator[Stored]:
    found = Stored(repository)
    yield found
    found.writer.abort()


def test_files_of_all_sides_are_there(stored: Stored) -> None:
    found = stored.united({}, {
        "a": {b"x": b"1", b"d": {b"a": b"a", b"same": b"s"}, b"only a": {b"deep": {b"f": b"f"}}},
        "b": {b"y": b"2", b"d": {b"b": b"b", b"same": b"s"}},
        "c": {},
    })  # fmt: skip
    assert found.clashes == []
    assert stored.read(found.root) == flat({
        b"x": b"1", b"y": b"2", b"d": {b"a": b"a", b"b": b"b", b"same": b"s"},
        b"only a": {b"deep": {b"f": b"f"}},
    })  # fmt: skip
    assert stored.nodes == 2  # the root and d


def test_one_side_is_taken_as_it_is(stored: Stored) -> None:
    tree: Tree = {b"x": b"1", b"d": {b"y": b"2"}}
    found = stored.united({}, {"a": tree})
    assert found.root.digest == stored.tree(tree).digest
    assert stored.nodes == 0


def test_many_sides_write_each_directory_once(stored: Stored) -> None:
    sides: dict[str, Tree] = {f"{n}": {b"parts": {b"%d" % n: b"%d" % n}} for n in range(40)}
    found = stored.united({}, sides)
    assert found.root.count == 41
    assert stored.nodes <= 4


def test_different_content_of_one_path_clashes(stored: Stored) -> None:
    found = stored.united({}, {
        "a": {b"f": b"1", b"d": {b"x": b"1"}, b"k": b"file"},
        "b": {b"f": b"2", b"d": {b"x": b"1"}, b"k": {b"in": b"dir"}},
        "c": {b"f": b"1", b"d": {b"x": b"3"}},
    })  # fmt: skip
    assert found.clashes == [
        Clash(b"d/x", ("a", "b", "c")), Clash(b"f", ("a", "b", "c")), Clash(b"k", ("a", "b")),
    ]  # fmt: skip


def test_changes_to_a_base(stored: Stored) -> None:
    base: Tree = {b"keep": b"k", b"gone": b"g", b"d": {b"x": b"0", b"y": b"0"}, b"e": {b"z": b"0"}}
    found = stored.united(base, {
        "a": {b"keep": b"k", b"d": {b"x": b"a", b"y": b"0"}, b"e": {b"z": b"0"}},
        "b": {b"keep": b"k", b"gone": b"g", b"d": {b"x": b"0", b"y": b"b"}, b"new": b"n"},
        "c": base,
    })  # fmt: skip
    assert found.clashes == []
    assert stored.read(found.root) == flat({
        b"keep": b"k", b"d": {b"x": b"a", b"y": b"b"}, b"new": b"n",
    })  # fmt: skip


def test_removing_what_another_changed_clashes(stored: Stored) -> None:
    base: Tree = {b"f": b"0", b"d": {b"x": b"0", b"y": b"0"}}
    found = stored.united(base, {
        "a": {b"f": b"1", b"d": {b"x": b"1", b"y": b"0", b"new": b"n"}},
        "b": {},
    })  # fmt: skip
    assert [clash.path for clash in found.clashes] == [b"d/x", b"f"]
    assert stored.read(found.root)[b"d/new"] == b"n"


def test_a_directory_that_one_removed_and_another_emptied_is_gone(stored: Stored) -> None:
    base: Tree = {b"keep": b"k", b"d": {b"x": b"0"}}
    found = stored.united(base, {"a": {b"keep": b"k", b"d": {}}, "b": {b"keep": b"k"}})
    assert (found.clashes, stored.read(found.root)) == ([], {b"keep": b"k"})


def test_the_execute_bit_is_content_and_other_modes_are_not(stored: Stored) -> None:
    found = stored.united({}, {"a": {b"f": (b"1", 0o755)}, "b": {b"f": b"1"}})
    assert [clash.path for clash in found.clashes] == [b"f"]
    found = stored.united({}, {"a": {b"f": (b"1", 0o600)}, "b": {b"f": b"1"}})
    assert found.clashes == []


names = st.sampled_from([b"a", b"b", b"c", b"d"])
trees = st.recursive(
    st.dictionaries(names, st.sampled_from([b"0", b"1"]), max_size=3),
    lambda inner: st.dictionaries(names, inner | st.sampled_from([b"0", b"1"]), max_size=3),
    max_leaves=8,
)


@given(trees, st.lists(trees, min_size=2, max_size=4))
def test_against_a_model(base: Tree, sides: list[Tree]) -> None:
    """Files: what each side changed, unless two changed one path to different things."""
    with memory_repository(Path("/proc/nowhere")) as repository:
        stored = Stored(repository)
        named = {f"{n}": side for n, side in enumerate(sides)}
        found = stored.united(base, named)
        clashes = {clash.path for clash in found.clashes}
        was = flat(base)
        wanted: dict[bytes, set[object]] = {}
        for side in sides:
            now = flat(side)
            for path in was.keys() | now.keys():
                if was.get(path, "") != now.get(path, ""):
                    wanted.setdefault(path, set()).add(now.get(path, ""))
        if not clashes:
            result = stored.read(found.root)
            for path, values in wanted.items():
                if None not in values | {was.get(path)}:  # of directories, what is in them decides
                    assert len(values) == 1
                    assert result.get(path, "") in values
            for path, value in was.items():
                if path not in wanted and value is not None:
                    assert result[path] == value
        stored.writer.abort()
