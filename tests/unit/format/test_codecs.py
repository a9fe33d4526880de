"""Bytes to values and back; and of wrong bytes nothing comes but `Damaged`."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from artfs.errors import Damaged, InvalidValue, UnsupportedFormat
from artfs.format import blob, node, pack, record
from artfs.format.digest import of_bytes
from artfs.format.node import Child, DirInner, DirLeaf, ListInner, ListLeaf, Run
from artfs.format.pack import BlobKind
from artfs.format.record import LabelsRecord, RootRecord, StoreRecord, VersionRecord
from artfs.format.runs import decode_files, encode_files
from artfs.types import BlobRef, Entry, Kind

R = TypeVar("R")

digests = st.binary(min_size=32, max_size=32)
sizes = st.integers(0, 1 << 40)
blob_sizes = st.integers(1, blob.MAX)
refs = st.builds(
    BlobRef, digests, blob_sizes, st.sampled_from([b"p" * 16, b"q" * 16]),
    st.integers(0, 1 << 30), blob_sizes,
)  # fmt: skip
names = st.binary(min_size=1, max_size=255).filter(
    lambda name: not {b"/", b"\0"} & {bytes([c]) for c in name} and name not in (b".", b"..")
)
modes = st.integers(0, 0o7777)
times = st.integers(-(1 << 63), (1 << 64) - 1)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    name, mode, mtime, ref = draw(names), draw(modes), draw(times), draw(refs)
    what = draw(st.sampled_from(["chunk", "list", "empty", "dir", "none", "link", "reference"]))
    if what == "chunk":
        return Entry(name, Kind.FILE, mode, mtime, ref.size, 0, ref.digest, ref)
    if what == "list":
        height = draw(st.integers(1, 9))
        return Entry(name, Kind.FILE, mode, mtime, draw(sizes), 0, draw(digests), ref, height)
    if what == "empty":
        return Entry(name, Kind.FILE, mode, mtime, 0, 0, draw(digests))
    if what == "dir":
        count, height = draw(st.integers(1, 1 << 40)), draw(st.integers(0, 9))
        return Entry(
            name, Kind.DIRECTORY, mode, mtime, draw(sizes), count, draw(digests), ref, height
        )  # fmt: skip
    if what == "none":
        return Entry(name, Kind.DIRECTORY, mode, mtime, 0, 0, draw(digests))
    target = draw(st.binary(min_size=1, max_size=99).filter(lambda target: 0 not in target))
    kind = Kind.SYMLINK if what == "link" else Kind.REFERENCE
    return Entry(name, kind, mode, mtime, len(target), 0, draw(digests), target=target)


def in_order(rows: st.SearchStrategy[R], name: Callable[[R], bytes]) -> st.SearchStrategy[list[R]]:
    some = st.lists(rows, min_size=1, max_size=20, unique_by=name)
    return some.map(lambda found: sorted(found, key=name))


@given(in_order(entries(), lambda entry: entry.name))
def test_directory_leaves(rows: list[Entry]) -> None:
    decoded = node.decode(node.encode_dir_leaf(rows))
    assert isinstance(decoded, DirLeaf)
    assert decoded.entries == rows


@given(
    in_order(st.builds(Child, refs, digests, sizes, sizes, sizes, names), lambda child: child.last)
)
def test_inner_directory_nodes(rows: list[Child]) -> None:
    decoded = node.decode(node.encode_dir_inner(rows))
    assert isinstance(decoded, DirInner)
    assert decoded.children == rows


@given(st.lists(st.builds(Run, refs, st.integers(1, 1 << 30)), min_size=1, max_size=20))
def test_chunk_lists(rows: list[Run]) -> None:
    decoded = node.decode(node.encode_list_leaf(rows))
    assert isinstance(decoded, ListLeaf)
    assert decoded.runs == rows


@given(st.lists(st.builds(Child, refs, digests, sizes, st.just(0), sizes), min_size=1, max_size=20))
def test_inner_chunk_lists(rows: list[Child]) -> None:
    decoded = node.decode(node.encode_list_inner(rows))
    assert isinstance(decoded, ListInner)
    assert decoded.children == rows


anything = st.recursive(
    st.none() | st.integers(-5, 1 << 63) | st.binary(max_size=40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=3), inner),
)


@given(st.binary(max_size=60) | anything.map(msgspec.msgpack.encode))
def test_what_is_no_node_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged):
        node.decode(data)


REF = BlobRef(b"d" * 32, 9, b"p" * 16, 8, 9)
FILE = Entry(b"f", Kind.FILE, 0o644, 7, 9, 0, b"d" * 32, REF)
LINK = Entry(b"l", Kind.SYMLINK, 0o777, 7, 2, 0, b"d" * 32, target=b"to")
LIST = replace(FILE, size=99, digest=b"l" * 32, height=1)
DIR = Entry(b"s", Kind.DIRECTORY, 0o755, 7, 9, 1, b"e" * 32, REF)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        *([replace(FILE, name=name)] for name in (b"", b".", b"..", b"../x", b"a\0", b"n" * 256)),
        [FILE, replace(FILE, name=b"e")],
        [FILE, FILE],
        *([replace(FILE, mode=mode)] for mode in (-1, 0o10000, 0o100644)),
        *([replace(FILE, size=size)] for size in (-1, 0, blob.MAX + 1)),
        [replace(FILE, digest=b"short")],
        *([replace(FILE, blob=replace(REF, offset=offset))] for offset in (-1, 1 << 31)),
        *([replace(FILE, blob=replace(REF, stored=n))] for n in (-1, 0, blob.MAX + 1)),
        [replace(FILE, blob=replace(REF, pack=b"../../x"))],
        *([replace(LIST, blob=replace(REF, size=size))] for size in (0, blob.MAX + 1)),
        *([replace(LIST, height=height)] for height in (-1, 64)),
        *([replace(DIR, count=count)] for count in (-1, 1 << 63)),
        [replace(DIR, size=-1)],
        [replace(LINK, target=b"", size=0)],
        [replace(LINK, target=b"a\0")],
        [replace(LINK, kind=Kind.FILE)],
    ],
)
def test_entries_that_nobody_can_have_stored_are_damaged(rows: list[Entry]) -> None:
    assert node.decode(node.encode_dir_leaf([FILE, LINK, DIR]))
    with pytest.raises(Damaged):
        node.decode(node.encode_dir_leaf(rows))


@pytest.mark.parametrize(
    "run", [Run(REF, 0), Run(REF, -1), Run(replace(REF, size=0), 1), Run(REF, 1 << 62)]
)
def test_runs_that_nobody_can_have_stored_are_damaged(run: Run) -> None:
    assert node.decode(node.encode_list_leaf([Run(REF, 2)]))
    with pytest.raises(Damaged):
        node.decode(node.encode_list_leaf([run]))


@pytest.mark.parametrize("width", [0, node.LIST_MAX + 1])
def test_lists_are_bounded(width: int) -> None:
    with pytest.raises(Damaged):
        node.decode(node.encode_list_leaf([Run(REF)] * width))


def test_what_is_nested_without_end_is_damaged() -> None:
    with pytest.raises(Damaged):
        node.decode(b"\x91" * 100_000 + b"\x00")
    with pytest.raises(Damaged):
        record.decode(b'{"metadata":{"a":' + b"[" * 9999 + b"]" * 9999 + b"}}", LabelsRecord, "k")


@given(st.binary(max_size=30_000), st.booleans())
def test_blobs(data: bytes, repeated: bool) -> None:
    data *= 50 if repeated else 1
    stored = bytes(blob.encode(data))
    assert len(stored) <= len(data)
    assert blob.decode(BlobRef(of_bytes(data), len(data), b"", 0, len(stored)), stored) == data


@given(st.binary(min_size=1, max_size=400), st.integers(0, 10**6), st.booleans())
def test_a_blob_with_a_flipped_bit_is_damaged(data: bytes, at: int, repeated: bool) -> None:
    data *= 100 if repeated else 1
    stored = bytearray(blob.encode(data))
    ref = BlobRef(of_bytes(data), len(data), b"", 0, len(stored))
    stored[at % len(stored)] ^= 1 << at % 8
    with contextlib.suppress(Damaged):
        assert blob.decode(ref, bytes(stored)) == data  # zstd has bits that mean nothing
    for wrong in (b"", bytes(stored)[:-1], bytes(stored) + b"x"):
        with pytest.raises(Damaged):
            blob.decode(ref, wrong)


def test_a_frame_that_grows_beyond_its_blob_is_not_unpacked() -> None:
    stored = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    ref = BlobRef(of_bytes(b""), 64 << 10, b"p" * 16, 8, len(stored))
    tracemalloc.start()
    try:
        with pytest.raises(Damaged):
            blob.decode(ref, stored)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_nothing_is_stored_that_is_too_large_to_be_read() -> None:
    with pytest.raises(InvalidValue):
        blob.encode(bytes(blob.MAX + 1))


@given(st.binary(max_size=9).map(lambda data: data * 1000))
def test_a_frame_need_not_say_how_long_it_is(data: bytes) -> None:
    stored = zstandard.ZstdCompressor(write_content_size=False).compress(data)
    ref = BlobRef(of_bytes(data), len(data), b"p" * 16, 8, len(stored))
    if ref.stored < ref.size:
        assert blob.decode(ref, stored) == data


def test_a_bitmap_has_no_more_than_a_bit_for_each_path() -> None:
    bitmap = bytes(30_000) + b"\x80"
    files = encode_files(bitmap)
    assert decode_files(files, 240_007) == bitmap
    with pytest.raises(Damaged, match="claim"):
        decode_files(files, 239_999)
    with pytest.raises(Damaged, match="claim"):
        decode_files(encode_files(bytes((1 << 27) + 1)), 1 << 63)


def test_pack_indexes() -> None:
    blobs = [(kind, BlobRef(bytes([kind]) * 32, 9, b"i" * 16, 8, 5)) for kind in BlobKind]
    encoded = pack.encode_index(blobs, 18)
    trailer = encoded[-pack.TRAILER_SIZE :]
    offset, length, digest = pack.decode_trailer(b"i" * 16, trailer)
    assert (offset, length) == (18, len(encoded) - pack.TRAILER_SIZE)
    assert list(pack.decode_index(b"i" * 16, encoded[:length], digest)) == blobs
    with pytest.raises(Damaged, match="index"):
        next(pack.decode_index(b"i" * 16, encoded[: length - 1], digest))
    with pytest.raises(Damaged, match="truncated"):
        pack.decode_trailer(b"i" * 16, trailer[:-1] + b"x")


@given(entries(), st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5)))
def test_version_records(entry: Entry, metadata: dict[str, object]) -> None:
    root = Entry(
        b"", Kind.DIRECTORY, entry.mode, entry.mtime_ns, entry.size if entry.blob else 0,
        entry.count, entry.digest, entry.blob, entry.height,
    )  # fmt: skip
    version = VersionRecord(
        version=3, commit="c", root=RootRecord.of(root), created="now", metadata=metadata
    )
    decoded = record.decode(record.encode(version), VersionRecord, "key")
    assert decoded == version
    assert decoded.root.entry() == root


@given(st.binary(max_size=60) | anything.map(lambda a: msgspec.json.encode(a)))
def test_what_is_no_record_is_damaged(data: bytes) -> None:
    for kind in (StoreRecord, VersionRecord):
        with pytest.raises((Damaged, UnsupportedFormat), match=r"^key: "):
            record.decode(data, kind, "key")


def test_fields_that_a_later_artfs_adds_are_passed_over() -> None:
    data = b'{"format": 1, "id": "' + b"ab" * 16 + b'", "more": [1]}'
    assert record.decode(data, StoreRecord, "key").id == "ab" * 16
