"""Three-way merging by path: right by a naive way of doing it on flat trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from artfs.repo.editing import edit
from artfs.repo.merge import Merged, merge
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.types import Entry
from tests.unit.repo.trees import (
    Node,
    Tree,
    flat,
    memory_repository,
    read_flat,
    stored_file,
    stored_tree,
)

names = st.sampled_from([b"a", b"b", b"c"])
contents: st.SearchStrategy[Node] = st.sampled_from([b"1", b"2", b"3", (b"1", 0o755), "1", "2"])
nodes = st.recursive(
    contents, lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3), max_leaves=8
)
trees: st.SearchStrategy[Tree] = st.dictionaries(names, nodes, max_size=3)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    with memory_repository(tmp_path_factory.mktemp("cache")) as found:
        yield found


def stored(repository: Repository, *wanted: Tree) -> list[Entry]:
    with PackWriter(repository) as writer:
        roots = [stored_tree(tree, writer) for tree in wanted]
        writer.finish()
    return roots


def merged(
    repository: Repository, base: Entry, mine: Entry, theirs: Entry, *, ours: bool = False
) -> Merged:
    with PackWriter(repository) as writer:
        result = merge(base, mine, theirs, writer, repository.blobs, ours=ours)
        writer.finish()
    return result


def leaves(tree: Mapping[bytes, object]) -> dict[bytes, object]:
    return {path: node for path, node in tree.items() if node is not None}


def is_in_the_way(paths: set[bytes]) -> bool:
    """Whether one of the paths is also the directory of another one."""
    return any(other.startswith(path + b"/") for path in paths for other in paths)


@settings(max_examples=300)
@given(base=trees, mine=trees, theirs=trees)
def test_disjoint_changes_are_all_there_and_others_are_conflicts(
    repository: Repository, base: Tree, mine: Tree, theirs: Tree
) -> None:
    result = merged(repository, *stored(repository, base, mine, theirs))
    b, m, t = (leaves(flat(tree)) for tree in (base, mine, theirs))
    paths = b.keys() | m.keys() | t.keys()
    both = {
        p for p in paths if b.get(p) not in (m.get(p), t.get(p)) and m.get(p) != t.get(p)
    }  # fmt: skip
    if result.conflicts:
        assert both or is_in_the_way(paths)
        return
    assert not both
    wanted = {p: (m if m.get(p) != b.get(p) else t).get(p) for p in paths}
    found = leaves(read_flat(result.root, repository))
    assert found == leaves(wanted)


@given(base=trees, mine=trees, theirs=trees)
def test_either_side_may_come_first(
    repository: Repository, base: Tree, mine: Tree, theirs: Tree
) -> None:
    b, m, t = stored(repository, base, mine, theirs)
    one, other = merged(repository, b, m, t), merged(repository, b, t, m)
    assert one.conflicts == other.conflicts
    if not one.conflicts:
        assert one.root.digest == other.root.digest


@given(base=trees, mine=trees, theirs=trees)
def test_with_ours_nothing_of_mine_is_lost(
    repository: Repository, base: Tree, mine: Tree, theirs: Tree
) -> None:
    result = merged(repository, *stored(repository, base, mine, theirs), ours=True)
    assert result.conflicts == []
    b, m = leaves(flat(base)), leaves(flat(mine))
    found = leaves(read_flat(result.root, repository))
    for path in b.keys() | m.keys():
        if m.get(path) != b.get(path):
            assert found.get(path) == m.get(path)


CONFLICTS: dict[str, tuple[Tree, Tree, Tree, list[bytes]]] = {
    "a file": ({b"f": b"0"}, {b"f": b"1"}, {b"f": b"2"}, [b"f"]),
    "both add": ({}, {b"f": b"1"}, {b"f": b"2"}, [b"f"]),
    "a change and a deletion": ({b"f": b"0"}, {b"f": b"1"}, {}, [b"f"]),
    "a deletion and a change": ({b"f": b"0"}, {}, {b"f": b"1"}, [b"f"]),
    "below": ({b"d": {b"f": b"0"}}, {b"d": {b"f": b"1"}}, {b"d": {b"f": b"2"}}, [b"d/f"]),
    "a directory removed that the other changed": (
        {b"d": {b"f": b"0"}}, {}, {b"d": {b"f": b"1"}}, [b"d/f"],
    ),
    "a directory renamed that the other changed": (
        {b"d": {b"f": b"0"}}, {b"e": {b"f": b"0"}}, {b"d": {b"f": b"2"}}, [b"d/f"],
    ),
    "kinds": ({b"x": b"0"}, {b"x": {b"f": b"1"}}, {b"x": "link"}, [b"x"]),
    "a file and a directory added": ({}, {b"x": b"1"}, {b"x": {b"f": b"1"}}, [b"x"]),
    "the execute bit": ({b"f": b"1"}, {b"f": (b"1", 0o755)}, {b"f": b"2"}, [b"f"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFLICTS)
def test_conflicts(repository: Repository, case: str) -> None:
    base, mine, theirs, conflicts = CONFLICTS[case]
    b, m, t = stored(repository, base, mine, theirs)
    assert merged(repository, b, m, t).conflicts == conflicts
    chosen = merged(repository, b, m, t, ours=True)
    assert chosen.conflicts == []
    assert leaves(read_flat(chosen.root, repository)) == leaves(flat(mine))


DISJOINT: dict[str, tuple[Tree, Tree, Tree, Tree]] = {
    "both made the same of a file": ({b"f": b"0"}, {b"f": b"1"}, {b"f": b"1"}, {b"f": b"1"}),
    "both removed it": ({b"f": b"0", b"g": b"0"}, {b"g": b"0"}, {b"g": b"0"}, {b"g": b"0"}),
    "both added a directory": (
        {}, {b"d": {b"x": b"1"}}, {b"d": {b"y": b"1"}}, {b"d": {b"x": b"1", b"y": b"1"}},
    ),
    "a directory removed that the other added to": (
        {b"d": {b"f": b"0"}}, {}, {b"d": {b"f": b"0", b"g": b"1"}}, {b"d": {b"g": b"1"}},
    ),
    "a directory removed that the other took from": (
        {b"d": {b"f": b"0", b"g": b"0"}}, {}, {b"d": {b"f": b"0"}}, {},
    ),
    "names in one directory": (
        {b"d": {b"f": b"0"}}, {b"d": {b"f": b"1"}}, {b"d": {b"f": b"0", b"g": b"2"}},
        {b"d": {b"f": b"1", b"g": b"2"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DISJOINT)
def test_what_is_no_conflict(repository: Repository, case: str) -> None:
    *sides, wanted = DISJOINT[case]
    result = merged(repository, *stored(repository, *sides))
    assert result.conflicts == []
    assert read_flat(result.root, repository) == flat(wanted)


def test_my_modes_are_kept_where_the_other_side_changed_something_else(
    repository: Repository,
) -> None:
    big: dict[bytes, Node] = {b"%03d" % n: b"content" for n in range(300)}
    with PackWriter(repository) as writer:
        base = stored_tree(big, writer)
        writer.settle()
        mine = edit(
            base, {b"007": stored_file(b"007", b"content", writer, 0o600)}, writer, repository.blobs
        )
        theirs = stored_tree({**big, b"250": b"theirs", b"007": b"content"}, writer)
        writer.finish()
    assert mine.digest == base.digest
    found = read_flat(merged(repository, base, mine, theirs).root, repository)
    assert found == {**big, b"250": b"theirs", b"007": (b"content", 0o600)}
    with PackWriter(repository) as writer:
        theirs = stored_tree({**big, b"007": b"theirs"}, writer)
        writer.finish()
    found = read_flat(merged(repository, base, mine, theirs).root, repository)
    assert found[b"007"] == (b"theirs", 0o600)


def test_modes_of_directories(repository: Repository) -> None:
    base, mine, theirs = stored(repository, {}, {b"f": b"1"}, {b"g": b"1"})
    mine, theirs = replace(mine, mode=0o700, mtime_ns=5), replace(theirs, mtime_ns=9)
    root = merged(repository, base, mine, theirs).root
    assert (root.mode, root.mtime_ns) == (0o700, 9)
