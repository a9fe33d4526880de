"""Manifest nodes: the pieces of directories and of chunk lists. See artfs-format(5), NODES.

A node is a msgpack array [version, type, packs, rows]. Rows name a pack by its place in `packs`,
so that the 16 bytes of a pack id are written once a node and not once an entry.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from operator import lt
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from artfs.errors import Damaged
from artfs.format import blob as blob_codec
from artfs.format import digest as digests
from artfs.types import NAME_MAX, BlobRef, Entry, Kind

VERSION = 1
#: Rows of a node of a list of chunks, at most.
LIST_MAX = 1024
_DIR_LEAF, _DIR_INNER, _LIST_LEAF, _LIST_INNER = range(4)

_Written: TypeAlias = list[bytes | int]
_DOTS = frozenset((b".", b".."))


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
ListNode = TypeVar("ListNode", ListLeaf, ListInner)
AnyNode = TypeVar("AnyNode", DirLeaf, DirInner, ListLeaf, ListInner)


def expect(node: Node, kind: type[AnyNode]) -> AnyNode:
    """The node, of the kind that it must have where it stands. Raises `Damaged`."""
    if isinstance(node, kind):
        return node
    raise Damaged("manifest node", "is of another kind than its place says")


def index_at(starts: list[int], position: int) -> int:
    """Which of the parts that begin at `starts` holds `position`."""
    return bisect_right(starts, position, 0, len(starts) - 1) - 1


class _Packs:
    """The packs that a node names, numbered as they come up."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    def place(self, blob: BlobRef) -> _Written:
        number = self._numbers.get(blob.pack)
        if number is None:
            number = self._numbers[blob.pack] = len(self.ids)
            self.ids.append(blob.pack)
        return [number, blob.offset, blob.stored]

    def node(self, blob: BlobRef) -> _Written:
        return [*self.place(blob), blob.digest, blob.size]


def _encode(kind: int, packs: _Packs, rows: list[_Written]) -> bytes:
    return msgspec.msgpack.encode([VERSION, kind, packs.ids, rows])


def _entry_row(e: Entry, packs: _Packs) -> _Written:
    row: _Written = [e.name, int(e.kind), e.mode, e.mtime_ns, e.size, e.digest]
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
    rows: list[_Written] = [
        [*packs.node(c.blob), c.digest, c.size, c.count, c.width, c.last] for c in children
    ]
    return _encode(_DIR_INNER, packs, rows)


def encode_list_leaf(runs: list[Run]) -> bytes:
    """A leaf of a chunk list, runs in file order."""
    packs = _Packs()
    rows: list[_Written] = [[*packs.node(r.blob), r.repeats] for r in runs]
    return _encode(_LIST_LEAF, packs, rows)


def encode_list_inner(children: list[Child]) -> bytes:
    """An inner node of a chunk list, children in file order."""
    packs = _Packs()
    rows: list[_Written] = [[*packs.node(c.blob), c.digest, c.size, c.width] for c in children]
    return _encode(_LIST_INNER, packs, rows)


def decode(data: bytes) -> Node:
    """The node in bytes that have been verified: they are what was stored, by whomever. Raises
    `Damaged` if they are no node."""
    try:
        head = _HEAD.decode(data)
        if head.version != VERSION:
            raise Damaged(
                "manifest node", f"has version {head.version}, this artfs reads {VERSION}"
            )
        return _DECODERS[head.kind](head.packs, head.rows)
    except (ValueError, IndexError, RecursionError, msgspec.MsgspecError) as error:
        raise Damaged("manifest node", f"cannot be decoded ({error})") from error


_Digest: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Mode: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=0o7777)]
_Height: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=63)]
_Name: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=1, max_length=NAME_MAX)]
_Pack: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
_Offset: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
_Size: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=blob_codec.MAX)]
_PackId: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class _Row(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What is read of rows; msgspec checks types and bounds as it decodes."""


class _Head(_Row, frozen=True):
    version: int
    kind: Annotated[int, msgspec.Meta(ge=0, le=3)]
    packs: list[_PackId]
    rows: msgspec.Raw


class _EntryRow(_Row, frozen=True):
    name: _Name
    kind: Kind
    mode: _Mode
    mtime_ns: int
    size: _Count
    digest: _Digest
    #: Of a link or a reference, its target.
    pack: _Pack | bytes | None = None
    offset: _Offset = 0
    stored: _Size = 1
    node: _Digest | None = None
    node_size: _Size = 1
    height: _Height = 0
    count: _Count = 0


class _NodeRow(_Row, frozen=True):
    pack: _Pack
    offset: _Offset
    stored: _Size
    node: _Digest
    node_size: _Size


class _DirChildRow(_NodeRow, frozen=True):
    digest: _Digest
    size: _Count
    count: _Count
    width: _Count
    last: _Name


class _ListChildRow(_NodeRow, frozen=True):
    digest: _Digest
    size: _Count
    width: _Count


class _RunRow(_NodeRow, frozen=True):
    repeats: Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]


_HEAD = msgspec.msgpack.Decoder(_Head)
_ENTRIES = msgspec.msgpack.Decoder(list[_EntryRow])
_DIR_CHILDREN = msgspec.msgpack.Decoder(list[_DirChildRow])
_LIST_CHILDREN = msgspec.msgpack.Decoder(list[_ListChildRow])
_RUNS = msgspec.msgpack.Decoder(list[_RunRow])


def _entry(row: _EntryRow, packs: list[bytes]) -> Entry:
    kind, size, place = row.kind, row.size, row.pack
    if kind is Kind.SYMLINK or kind is Kind.REFERENCE or isinstance(place, bytes):
        return _entry_with_target(row)
    if place is None:
        if size:
            raise ValueError("content without a place")
        return Entry(row.name, kind, row.mode, row.mtime_ns, 0, 0, row.digest)
    height = row.height
    if row.node is not None:
        blob = BlobRef(row.node, row.node_size, packs[place], row.offset, row.stored)
        if not height and kind is Kind.FILE:
            raise ValueError("a list of chunks without a height")
    else:
        blob = BlobRef(row.digest, size, packs[place], row.offset, row.stored)
        if not 0 < size <= blob_codec.MAX or kind is not Kind.FILE:
            raise ValueError("a chunk that can be none")
    return Entry(
        row.name, kind, row.mode, row.mtime_ns, size, row.count, row.digest, blob, height
    )  # fmt: skip


def _entry_with_target(row: _EntryRow) -> Entry:
    target = row.pack
    if not isinstance(target, bytes) or row.kind not in (Kind.SYMLINK, Kind.REFERENCE):
        raise ValueError("a link without a target, or a target of what is no link")
    if row.kind is Kind.SYMLINK and (not target or b"\0" in target):
        raise ValueError("a target that can be none")
    return Entry(row.name, row.kind, row.mode, row.mtime_ns, row.size, 0, row.digest, target=target)


def _place(row: _NodeRow, packs: list[bytes]) -> BlobRef:
    return BlobRef(row.node, row.node_size, packs[row.pack], row.offset, row.stored)


def _dir_leaf(packs: list[bytes], rows: msgspec.Raw) -> DirLeaf:
    leaf = DirLeaf([_entry(row, packs) for row in _ENTRIES.decode(rows)])
    together = b"".join(leaf.names)
    if b"/" in together or b"\0" in together or not _DOTS.isdisjoint(leaf.names):
        raise ValueError("a name that can be none")
    _require_ascending(leaf.names)
    return leaf


def _dir_inner(packs: list[bytes], rows: msgspec.Raw) -> DirInner:
    node = DirInner(
        [
            Child(_place(r, packs), r.digest, r.size, r.count, r.width, r.last)
            for r in _DIR_CHILDREN.decode(rows)
        ]
    )
    _require_ascending(node.lasts)
    return node


def _require_ascending(names: list[bytes]) -> None:
    if not names or not all(map(lt, names, names[1:])):
        raise ValueError("no names, or names that are in no order")


def _list_leaf(packs: list[bytes], rows: msgspec.Raw) -> ListLeaf:
    return _list(ListLeaf([Run(_place(r, packs), r.repeats) for r in _RUNS.decode(rows)]))


def _list_inner(packs: list[bytes], rows: msgspec.Raw) -> ListInner:
    decoded = _LIST_CHILDREN.decode(rows)
    return _list(
        ListInner([Child(_place(r, packs), r.digest, r.size, 0, r.width) for r in decoded])
    )


def _list(node: ListNode) -> ListNode:
    if not 1 < len(node.starts) <= LIST_MAX + 1 or node.starts[-1] >= 1 << 63:
        raise ValueError("a list of no length")
    return node


_DECODERS = (_dir_leaf, _dir_inner, _list_leaf, _list_inner)


def dir_leaf_digest(entries: list[Entry]) -> bytes:
    """Logical digest of a leaf of a directory."""
    return digests.of_entries(entries)


def list_leaf_digest(runs: list[Run]) -> bytes:
    """Logical digest of a leaf of a chunk list."""
    return digests.of_chunks((r.blob.digest, r.blob.size, r.repeats) for r in runs)
