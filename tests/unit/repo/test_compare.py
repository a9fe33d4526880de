"""Comparing trees: right by the naive way of doing it, and cheap by counting nodes read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artfs.format.node import Node as ManifestNode
from artfs.repo.compare import Difference, compare
from artfs.repo.editing import edit, empty_directory
from artfs.repo.packing import PackWriter
from artfs.repo.repository import Repository
from artfs.types import BlobRef, Entry
from tests.unit.repo.trees import (
    Node,
    Tree,
    flat,
    memory_repository,
    read_flat,
    stored_file,
    stored_node,
    stored_tree,
)

Found = tuple[str, bytes, bytes]
contents: st.SearchStrategy[Node] = st.sampled_from(
    [b"", b"1", b"2", (b"1", 0o755), (b"1", 0o600), "1", "2"]
)
names = st.sampled_from([b"a", b"b", b"c", b"d", b"\xff", b"e" * 255])
nodes = st.recursive(
    contents, lambda inner: st.dictionaries(names, inner, max_size=5), max_leaves=15
)
trees: st.SearchStrategy[Tree] = st.dictionaries(names, nodes, max_size=5)


class Counting:
    """Counts the nodes that a repository's blobs are asked for."""

    def __init__(self, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nodes = 0
        node = repository.blobs.node

        def counted(ref: BlobRef) -> ManifestNode:
            self.nodes += 1
            return node(ref)

        monkeypatch.setattr(repository.blobs, "node", counted)


def stored(repository: Repository, *wanted: Tree) -> list[Entry]:
    with PackWriter(repository) as writer:
        roots = [stored_tree(tree, writer) for tree in wanted]
        writer.finish()
    return roots


def differences(repository: Repository, old: Tree, new: Tree) -> list[Difference]:
    first, second = stored(repository, old, new)
    return compare(first, second, repository.blobs)


def kind(node: Node) -> str:
    return type(node[0] if isinstance(node, tuple) else node).__name__


def essence(node: Node) -> object:
    """What counts of a node: of a mode the owner's execute bit alone."""
    if isinstance(node, Mapping):
        return {name: essence(inner) for name, inner in node.items()}
    return (node[0], bool(node[1] & 0o100)) if isinstance(node, tuple) else (node, False)


def naive(old: Tree, new: Tree, prefix: bytes = b"") -> list[Found]:
    found: list[Found] = []
    for name in sorted(old.keys() | new.keys()):
        path = prefix + name
        if name not in old:
            found.append(("A", path, b""))
        elif name not in new:
            found.append(("D", path, b""))
        else:
            a, b = old[name], new[name]
            if kind(a) != kind(b):
                found.append(("T", path, b""))
            elif isinstance(a, Mapping) and isinstance(b, Mapping):
                found += naive(a, b, path + b"/")
            elif essence(a) != essence(b):
                found.append(("M", path, b""))
    return found


def at(tree: Tree, path: bytes) -> Node:
    node: Node = tree
    for name in path.split(b"/"):
        assert isinstance(node, Mapping)
        node = node[name]
    return node


@settings(max_examples=150)
@given(trees, trees)
def test_like_comparing_dicts(
    tmp_path_factory: pytest.TempPathFactory, old: Tree, new: Tree
) -> None:
    with memory_repository(tmp_path_factory.getbasetemp() / "compare") as repository:
        found = differences(repository, old, new)
    plain = [(d.change, d.path, b"") for d in found if d.change != "R"]
    for d in found:
        if d.change == "R":
            assert essence(at(old, d.old_path)) == essence(at(new, d.path))
            plain += [("D", d.old_path, b""), ("A", d.path, b"")]
    assert Counter(plain) == Counter(naive(old, new))
    assert [d.path for d in found] == sorted(d.path for d in found)


def changes(tmp_path: Path, old: Tree, new: Tree) -> list[Found]:
    with memory_repository(tmp_path) as repository:
        found = differences(repository, old, new)
    return [(d.change, d.path, d.old_path) for d in found]


RENAMES: list[tuple[Tree, Tree, list[Found]]] = [
    ({b"a": b"1"}, {b"b": b"1"}, [("R", b"b", b"a")]),
    ({b"a": b"1"}, {b"d": {b"b": b"1"}}, [("D", b"a", b""), ("A", b"d", b"")]),
    ({b"d": {b"x": b"1"}}, {b"e": {b"x": b"1"}}, [("R", b"e", b"d")]),
    ({b"l": "to"}, {b"m": "to"}, [("R", b"m", b"l")]),
    ({b"a": b"1", b"b": b"1"}, {b"c": b"1"}, [("D", b"b", b""), ("R", b"c", b"a")]),
    ({b"a": b"1"}, {b"b": b"1", b"c": b"1"}, [("R", b"b", b"a"), ("A", b"c", b"")]),
    ({b"a": b"1"}, {b"b": (b"1", 0o755)}, [("D", b"a", b""), ("A", b"b", b"")]),
    ({b"a": b""}, {b"b": b""}, [("D", b"a", b""), ("A", b"b", b"")]),
]


@pytest.mark.parametrize(("old", "new", "expected"), RENAMES)
def test_renames(tmp_path: Path, old: Tree, new: Tree, expected: list[Found]) -> None:
    assert changes(tmp_path, old, new) == sorted(expected, key=lambda found: found[1])


def test_another_kind_of_entry(tmp_path: Path) -> None:
    old: Tree = {b"a": b"1", b"b": {b"x": b"1"}, b"c": "1"}
    new: Tree = {b"a": {b"x": b"1"}, b"b": "1", b"c": b"1"}
    assert changes(tmp_path, old, new) == [("T", name, b"") for name in (b"a", b"b", b"c")]


@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_one_change_in_50_000_files_reads_few_nodes(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {b"f%05d" % n: b"x" for n in range(50_000 if layout == "flat" else 250)}
    tree: Tree = files if layout == "flat" else {b"d%03d" % n: files for n in range(200)}
    with memory_repository(tmp_path) as repository:
        [old] = stored(repository, tree)
        with PackWriter(repository) as writer:
            changed = stored_file(b"f00100", b"changed", writer)
            if layout == "flat":
                new = edit(old, {b"f00100": changed}, writer, repository.blobs)
            else:
                inner = stored_tree({**files, b"f00100": b"changed"}, writer)
                moved = Entry(
                    b"d100", inner.kind, 0o755, 0, inner.size, inner.count, inner.digest,
                    inner.blob, inner.height,
                )  # fmt: skip
                new = edit(old, {b"d100": moved}, writer, repository.blobs)
            writer.finish()
        counting = Counting(repository, monkeypatch)
        found = compare(old, new, repository.blobs)
        assert [d.change for d in found] == ["M"]
        assert counting.nodes <= 2 * (old.height + 1) + 4
        counting.nodes = 0
        assert compare(new, new, repository.blobs) == []
        assert counting.nodes == 0


@settings(max_examples=80)
@given(trees, st.dictionaries(names, contents | st.none(), max_size=4))
def test_edited_is_built_anew(
    tmp_path_factory: pytest.TempPathFactory, tree: Tree, wanted: dict[bytes, Node | None]
) -> None:
    after = {**tree, **wanted}
    expected: Tree = {name: node for name, node in after.items() if node is not None}
    with memory_repository(tmp_path_factory.getbasetemp() / "edit") as repository:
        old, new = stored(repository, tree, expected)
        with PackWriter(repository) as writer:
            made = {entry.name: entry for entry in _entries(expected, writer)}
            edited = edit(old, {n: made.get(n) for n in wanted}, writer, repository.blobs)
            writer.finish()
        assert edited == new
        assert read_flat(edited, repository) == flat(expected)


def _entries(tree: Tree, writer: PackWriter) -> list[Entry]:
    return [stored_node(name, node, writer) for name, node in tree.items()]


def test_editing_nothing_is_nothing(tmp_path: Path) -> None:
    with memory_repository(tmp_path) as repository, PackWriter(repository) as writer:
        empty = empty_directory(b"d", 0o700, 5)
        assert edit(empty, {}, writer, repository.blobs) is empty
        assert edit(empty, {b"x": None}, writer, repository.blobs) == empty
        writer.finish()
        assert writer.stored == 0
