"""One set of rows has one tree, however it came about; and an edit shares what it did not touch."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from artfs.errors import Damaged
from artfs.format import walk
from artfs.format.build import DirBuilder, ListBuilder, Root, Splice, edit_directory, edit_list
from artfs.format.digest import of_bytes
from artfs.format.node import Child, Node, Run, decode, encode_dir_inner, encode_list_inner
from artfs.types import BlobRef, Entry, Kind

T = TypeVar("T")


class Nodes:
    """Keeps nodes in memory; counts what is stored and fetched."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}
        self.stored = 0
        self.fetched = 0

    def store(self, data: bytes) -> BlobRef:
        digest = of_bytes(data)
        if digest not in self.data:
            self.data[digest] = data
            self.stored += 1
        return BlobRef(digest, len(data), b"p" * 16, 0, len(data))

    def drive(self, steps: Generator[BlobRef, Node, T]) -> T:
        try:
            ref = next(steps)
            while True:
                self.fetched += 1
                ref = steps.send(decode(self.data[ref.digest]))
        except StopIteration as end:
            result: T = end.value
            return result


def file_entry(name: bytes, content: bytes, mode: int = 0o644) -> Entry:
    digest = of_bytes(content)
    blob = BlobRef(digest, len(content), b"q" * 16, 7, len(content)) if content else None
    return Entry(name, Kind.FILE, mode, 5, len(content), 0, digest, blob)


def directory(root: Root, name: bytes = b"") -> Entry:
    return Entry(
        name, Kind.DIRECTORY, 0o755, 1, root.size, root.count, root.digest, root.blob, root.height
    )  # fmt: skip


def build_dir(entries: dict[bytes, Entry], nodes: Nodes) -> Root:
    builder = DirBuilder(nodes.store)
    for name in sorted(entries):
        builder.push(entries[name])
    return builder.root()


names = st.integers(0, 3000).map(lambda n: b"n%d" % n)
contents = st.binary(max_size=3)


@given(st.integers(0, 2500), st.dictionaries(names, st.none() | contents, max_size=60))
def test_edited_directory_equals_one_built_from_nothing(
    size: int, edits: dict[bytes, bytes | None]
) -> None:
    nodes = Nodes()
    entries = {b"n%d" % n: file_entry(b"n%d" % n, b"x") for n in range(size)}
    base = directory(build_dir(entries, nodes))
    changes = {n: None if c is None else file_entry(n, c) for n, c in edits.items()}
    edited = nodes.drive(edit_directory(base, sorted(changes.items()), nodes.store))
    for name, change in changes.items():
        if change is None:
            entries.pop(name, None)
        else:
            entries[name] = change
    assert edited == build_dir(entries, nodes)


def test_editing_one_entry_of_a_million_rewrites_a_handful_of_nodes() -> None:
    nodes = Nodes()
    entries = {b"f%07d" % n: file_entry(b"f%07d" % n, b"x") for n in range(100_000)}
    base = directory(build_dir(entries, nodes))
    nodes.stored = nodes.fetched = 0
    nodes.drive(edit_directory(base, [(b"f0050000", file_entry(b"f0050000", b"y"))], nodes.store))
    assert nodes.stored <= base.height + 1
    assert nodes.fetched <= 2 * (base.height + 1)


def runs(digests: list[int]) -> list[BlobRef]:
    return [
        BlobRef(blake3(b"%d" % d).digest(), 10 + d % 3, b"q" * 16, d, 10 + d % 3) for d in digests
    ]


def build_list(chunks: list[BlobRef], nodes: Nodes) -> Root:
    builder = ListBuilder(nodes.store)
    for chunk in chunks:
        builder.push(Run(chunk))
    return builder.root()


def file_of(root: Root) -> Entry:
    return Entry(b"f", Kind.FILE, 0o644, 1, root.size, 0, root.digest, root.blob, root.height)


@st.composite
def spliced_lists(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int, list[int]]]]:
    few = st.integers(0, 3)
    seed = draw(st.integers(0, 10_000))
    size = draw(st.integers(0, 3000))
    old = [seed + n for n in range(size)]
    for _ in range(draw(few)):  # stretches of equal chunks
        at, length = draw(st.integers(0, size)), draw(st.integers(0, 200))
        old[at : at + length] = [1] * len(old[at : at + length])
    ends = sorted(draw(st.lists(st.integers(0, len(old)), max_size=6)))
    pairs = zip(ends[::2], ends[1::2], strict=False)
    new = st.lists(st.integers(0, 50), max_size=8)
    return old, [(a, b, draw(new)) for a, b in pairs]


@given(spliced_lists())
def test_spliced_list_equals_one_built_from_nothing(
    case: tuple[list[int], list[tuple[int, int, list[int]]]],
) -> None:
    old, edits = case
    nodes = Nodes()
    chunks = runs(old)
    starts = [0]
    for chunk in chunks:
        starts.append(starts[-1] + chunk.size)
    base = file_of(build_list(chunks, nodes))
    splices = [Splice(starts[a], starts[b], runs(new)) for a, b, new in edits]
    edited = nodes.drive(edit_list(base, splices, nodes.store))
    for a, b, new in reversed(edits):
        chunks[a:b] = runs(new)
    assert edited == build_list(chunks, nodes)


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=900),
    st.integers(0, 9000),
    st.integers(0, 999),
)
def test_chunks_of_a_range(digests: list[int], offset: int, length: int) -> None:
    nodes = Nodes()
    chunks = runs(digests)
    root = file_of(build_list(chunks, nodes))
    expected, position = [], 0
    for chunk in chunks:
        if position < offset + length and position + chunk.size > offset and length:
            expected.append((position, chunk))
        position += chunk.size
    assert nodes.drive(walk.chunks(root, offset, length)) == expected


def tree(nodes: Nodes) -> tuple[Entry, list[tuple[bytes, Entry]]]:
    """A version with directories in a large directory, and its paths in walking order."""
    entries: dict[bytes, Entry] = {}
    paths: list[tuple[bytes, Entry]] = []
    for n in range(200):
        name = b"d%03d" % n
        inside = {b"f%d" % k: file_entry(b"f%d" % k, b"x" * k) for k in range(n % 150)}
        entries[name] = directory(build_dir(inside, nodes), name)
        paths.append((name, entries[name]))
        paths += [(name + b"/" + k, inside[k]) for k in sorted(inside)]
    return directory(build_dir(entries, nodes)), paths


def test_ordinals_number_every_path_once() -> None:
    nodes = Nodes()
    root, paths = tree(nodes)
    assert root.count == len(paths)
    for ordinal, (path, entry) in enumerate(paths, 1):
        way = nodes.drive(walk.at(root, ordinal))
        assert b"/".join(e.name for _, e in way[1:]) == path
        assert way[-1] == (ordinal, entry)
        start, parent = way[-2]
        assert nodes.drive(walk.find(parent, start, entry.name)) == (ordinal, entry)


def test_pages_go_on_from_any_position() -> None:
    nodes = Nodes()
    root, _ = tree(nodes)
    listed, after = [], 0
    while found := nodes.drive(walk.page(root, 0, after)):
        listed += found
        after = found[0][0]  # one at a time: every entry is once the first of a page
        listed[len(listed) - len(found) :] = found[:1]
    assert [e.name for _, e in listed] == [b"d%03d" % n for n in range(200)]


def test_a_directory_that_has_less_than_it_is_said_to_have_is_damaged() -> None:
    nodes = Nodes()
    root, _ = tree(nodes)
    said = replace(root, count=root.count + 1000)
    with pytest.raises(Damaged, match="fewer entries"):
        nodes.drive(walk.page(said, 0, root.count))
    leaf = directory(build_dir({b"f": file_entry(b"f", b"x")}, nodes))
    assert leaf.blob is not None
    child = Child(leaf.blob, leaf.digest, 1, 50, 1, b"f")
    inner = nodes.store(encode_dir_inner([child, replace(child, last=b"g")]))
    said = replace(leaf, count=100, blob=inner, height=1)
    with pytest.raises(Damaged, match="fewer entries"):
        nodes.drive(walk.page(said, 0, 1))


def list_of(chunks: list[BlobRef], nodes: Nodes) -> Entry:
    file = file_of(build_list(chunks, nodes))
    assert file.height == 1
    return file


@pytest.mark.parametrize(("offset", "length"), [(0, 1000), (300, 10), (900, 1)])
def test_a_file_that_is_longer_than_its_chunks_is_damaged(offset: int, length: int) -> None:
    nodes = Nodes()
    file = list_of(runs([1, 2, 3]), nodes)
    with pytest.raises(Damaged, match="has not all"):
        nodes.drive(walk.chunks(replace(file, size=1000), offset, length))


def test_a_file_with_a_gap_in_its_list_is_damaged() -> None:
    nodes = Nodes()
    file = list_of(runs([1, 2, 3]), nodes)
    assert file.blob is not None
    child = Child(file.blob, file.digest, file.size + 5, 0, 3)
    gappy = replace(file, blob=nodes.store(encode_list_inner([child, child])), height=2, size=70)
    with pytest.raises(Damaged, match="gap"):
        nodes.drive(walk.chunks(gappy, 0, 70))


def test_a_list_of_crumbs_takes_no_memory() -> None:
    nodes = Nodes()
    crumb = BlobRef(b"d" * 32, 1, b"q" * 16, 8, 1)
    file = file_of(build_list([crumb, *runs([1])], nodes))
    root = nodes.drive(edit_list(file, [Splice(0, 1, [crumb] * 20_000)], nodes.store))
    with pytest.raises(Damaged, match="too small"):
        nodes.drive(walk.chunks(file_of(root), 0, 20_000))


def test_a_node_of_another_kind_is_damaged() -> None:
    nodes = Nodes()
    file = list_of(runs([1, 2, 3]), nodes)
    folder = directory(build_dir({b"f": file_entry(b"f", b"x")}, nodes))
    swapped = replace(folder, blob=file.blob), replace(file, blob=folder.blob)
    for steps in (
        walk.find(swapped[0], 0, b"f"),
        walk.at(swapped[0], 1),
        walk.page(swapped[0], 0, 0),
        walk.page_by_name(swapped[0], b""),
        walk.chunks(swapped[1], 0, 9),
        walk.chunks(replace(file, height=2), 0, 9),
        edit_directory(swapped[0], [(b"f", None)], nodes.store),
        edit_list(swapped[1], [Splice(0, 1, [])], nodes.store),
    ):
        with pytest.raises(Damaged):
            nodes.drive(steps)
