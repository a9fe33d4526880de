"""Manifest nodes: the pieces of directories and of chunk lists. See artfs-format(5), NODES.

A node is a msgpack array [version, type, packs, rows]. Rows name a pack by its place in `packs`,
so that the 16 bytes of a pack id are written once a node and not once an entry.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TypeAlias

import msgspec

from artfs.errors import Damaged
from artfs.format import digest as digests
from artfs.types import BlobRef, Entry, Kind

VERSION = 1
_DIR_LEAF, _DIR_INNER, _LIST_LEAF, _LIST_INNER = range(4)

_Row: TypeAlias = list[bytes | int]


class Child(msgspec.Struct, frozen=True):
    """A node as its parent knows it.

    `last` is a directory node's last name. `size` is the bytes below it (of a chunk list: that it
    covers), `count` the entries below it at any depth (of a chunk list: 0), `width` how many rows
    it has.
    """

    blob: BlobRef
    digest: bytes
    size: int
    count: int
    width: int
    last: bytes = b""


class Run(msgspec.Struct, frozen=True):
    """A chunk, `repeats` times in a row: a terabyte of zeros is one run."""

    blob: BlobRef
    repeats: int = 1

    @property
    def size(self) -> int:
        """Bytes of the file that the run covers."""
        return self.blob.size * self.repeats


class DirLeaf:
    """Entries in name order, and `starts`: each one's ordinal within this node.

    An entry's ordinal counts everything before it, at any depth, in a walk that names a directory
    before what is in it. Counting up from a version's root it numbers each path of that version
    once: the read-only mount's inode numbers are made of it, so they need no table.
    """

    __slots__ = ("entries", "names", "starts")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.names = [e.name for e in entries]
        self.starts = list(accumulate((1 + e.count for e in entries), initial=0))


class DirInner:
    """Children in name order; `starts` as in `DirLeaf`."""

    __slots__ = ("children", "lasts", "starts")

    def __init__(self, children: list[Child]) -> None:
        self.children = children
        self.lasts = [c.last for c in children]
        self.starts = list(accumulate((c.count for c in children), initial=0))


class ListLeaf:
    """Runs in file order; `starts`: where each begins, in bytes from the node's first."""

    __slots__ = ("runs", "starts")

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs
        self.starts = list(accumulate((r.size for r in runs), initial=0))


class ListInner:
    """Children in file order; `starts` as in `ListLeaf`."""

    __slots__ = ("children", "starts")

    def __init__(self, children: list[Child]) -> None:
        self.children = children
        self.starts = list(accumulate((c.size for c in children), initial=0))


Node: TypeAlias = DirLeaf | DirInner | ListLeaf | ListInner


def index_at(starts: list[int], position: int) -> int:
    """Which of the parts that begin at `starts` holds `position`."""
    return bisect_right(starts, position, 0, len(starts) - 1) - 1


class _Packs:
    """The packs that a node names, numbered as they come up."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    def place(self, blob: BlobRef) -> _Row:
        number = self._numbers.get(blob.pack)
        if number is None:
            number = self._numbers[blob.pack] = len(self.ids)
            self.ids.append(blob.pack)
        return [number, blob.offset, blob.stored]

    def node(self, blob: BlobRef) -> _Row:
        return [*self.place(blob), blob.digest, blob.size]


def _encode(kind: int, packs: _Packs, rows: list[_Row]) -> bytes:
    return msgspec.msgpack.encode([VERSION, kind, packs.ids, rows])


def _entry_row(e: Entry, packs: _Packs) -> _Row:
    row: _Row = [e.name, int(e.kind), e.mode, e.mtime_ns, e.size, e.digest]
    if e.kind in (Kind.SYMLINK, Kind.REFERENCE):
        row.append(e.target)
    elif e.blob is not None:
        if e.is_dir:
            row += [*packs.node(e.blob), e.height, e.count]
        elif e.height:
            row += [*packs.node(e.blob), e.height]
        else:
            row += packs.place(e.blob)
    return row


def encode_dir_leaf(entries: list[Entry]) -> bytes:
    """A leaf of a directory, entries in name order."""
    packs = _Packs()
    return _encode(_DIR_LEAF, packs, [_entry_row(e, packs) for e in entries])


def encode_dir_inner(children: list[Child]) -> bytes:
    """An inner node of a directory, children in name order."""
    packs = _Packs()
    rows: list[_Row] = [
        [*packs.node(c.blob), c.digest, c.size, c.count, c.width, c.last] for c in children
    ]
    return _encode(_DIR_INNER, packs, rows)


def encode_list_leaf(runs: list[Run]) -> bytes:
    """A leaf of a chunk list, runs in file order."""
    packs = _Packs()
    rows: list[_Row] = [[*packs.node(r.blob), r.repeats] for r in runs]
    return _encode(_LIST_LEAF, packs, rows)


def encode_list_inner(children: list[Child]) -> bytes:
    """An inner node of a chunk list, children in file order."""
    packs = _Packs()
    rows: list[_Row] = [[*packs.node(c.blob), c.digest, c.size, c.width] for c in children]
    return _encode(_LIST_INNER, packs, rows)


def decode(data: bytes) -> Node:
    """The node in bytes that have been verified. Raises `Damaged` if they are no node."""
    try:
        version, kind, packs, rows = msgspec.msgpack.decode(data)
        if version != VERSION:
            raise Damaged("manifest node", f"has version {version}, this artfs reads {VERSION}")
        return _DECODERS[kind](packs, rows)
    except (ValueError, TypeError, IndexError, KeyError, msgspec.DecodeError) as error:
        raise Damaged("manifest node", f"cannot be decoded ({error})") from error


def _decode_entry(row: list, packs: list[bytes]) -> Entry:  # type: ignore[type-arg]  # wire data
    name, kind, mode, mtime_ns, size, digest = row[:6]
    if kind == 1:
        if len(row) == 9:
            blob = BlobRef(digest, size, packs[row[6]], row[7], row[8])
            return Entry(name, Kind.FILE, mode, mtime_ns, size, 0, digest, blob)
        if len(row) == 6:
            return Entry(name, Kind.FILE, mode, mtime_ns, size, 0, digest)
        blob = BlobRef(row[9], row[10], packs[row[6]], row[7], row[8])
        return Entry(name, Kind.FILE, mode, mtime_ns, size, 0, digest, blob, row[11])
    if kind == 2:
        if len(row) == 6:
            return Entry(name, Kind.DIRECTORY, mode, mtime_ns, 0, 0, digest)
        blob = BlobRef(row[9], row[10], packs[row[6]], row[7], row[8])
        return Entry(name, Kind.DIRECTORY, mode, mtime_ns, size, row[12], digest, blob, row[11])
    return Entry(name, Kind(kind), mode, mtime_ns, size, 0, digest, target=row[6])


def _dir_leaf(packs: list[bytes], rows: list[list]) -> DirLeaf:  # type: ignore[type-arg]  # wire
    return DirLeaf([_decode_entry(row, packs) for row in rows])


def _dir_inner(packs: list[bytes], rows: list[list]) -> DirInner:  # type: ignore[type-arg]  # wire
    return DirInner(
        [
            Child(BlobRef(node, raw, packs[p], off, stored), digest, size, count, width, last)
            for p, off, stored, node, raw, digest, size, count, width, last in rows
        ]
    )


def _list_leaf(packs: list[bytes], rows: list[list]) -> ListLeaf:  # type: ignore[type-arg]  # wire
    return ListLeaf(
        [Run(BlobRef(d, raw, packs[p], off, stored), n) for p, off, stored, d, raw, n in rows]
    )


def _list_inner(packs: list[bytes], rows: list[list]) -> ListInner:  # type: ignore[type-arg]  # wire
    return ListInner(
        [
            Child(BlobRef(node, raw, packs[p], off, stored), digest, size, 0, width)
            for p, off, stored, node, raw, digest, size, width in rows
        ]
    )


_DECODERS = (_dir_leaf, _dir_inner, _list_leaf, _list_inner)


def dir_leaf_digest(entries: list[Entry]) -> bytes:
    """Logical digest of a leaf of a directory."""
    return digests.of_entries(entries)


def list_leaf_digest(runs: list[Run]) -> bytes:
    """Logical digest of a leaf of a chunk list."""
    return digests.of_chunks((r.blob.digest, r.blob.size, r.repeats) for r in runs)
