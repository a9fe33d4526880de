"""Building directories and chunk lists as trees of nodes, from nothing or from an older tree.

Where a node ends depends on the rows in it and on nothing else: so one set of entries has one
tree, whatever order it was edited in, and an edit leaves all nodes but those on its path as they
were. (Prolly trees: https://docs.dolthub.com/architecture/storage-engine/prolly-tree)

Editing is written as generators that yield the `BlobRef` of each node they need and are sent the
decoded node; who runs them decides how nodes are fetched (`artfs.repo.reading`, `artfs.aio`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from math import inf
from typing import Generic, TypeAlias, TypeVar

import msgspec
from blake3 import blake3

from artfs.format import digest as digests
from artfs.format import node as nodes
from artfs.format.node import Child, DirInner, DirLeaf, ListInner, ListLeaf, Node, Run, expect
from artfs.types import BlobRef, Entry

T = TypeVar("T")
Row = TypeVar("Row", Entry, Run)
Steps: TypeAlias = Generator[BlobRef, Node, T]
#: Stores a node's bytes and says where they lie.
StoreNode: TypeAlias = Callable[[bytes], BlobRef]

#: A leaf of a directory ends after a name whose hash ends in 6 zero bits, 64 entries on average:
#: an edit in a directory of a million rewrites four nodes of some 5 KB.
_DIR_BITS = 6
_LIST_BITS = 7
_LIST_MIN = 32


def unstored(node: bytes) -> BlobRef:
    """The `StoreNode` of who only wants to know a tree's digest, size and count: it stores
    nothing, and what it gives cannot be read."""
    return BlobRef(blake3(node).digest(), len(node), b"", 0, 0)


class Root(msgspec.Struct, frozen=True):
    """A finished tree: what an `Entry` says of its content."""

    digest: bytes
    size: int
    count: int
    blob: BlobRef | None
    height: int


class _Builder(ABC, Generic[Row]):
    """Rows in, nodes out. `_open[0]` holds the rows of the leaf being filled, `_open[h]` the
    finished nodes of height h-1 that wait for their parent."""

    def __init__(self, store: StoreNode) -> None:
        self._store = store
        self._rows: list[Row] = []
        self._open: list[list[Child]] = []

    @abstractmethod
    def _ends_leaf(self, width: int, last: Row) -> bool: ...

    @abstractmethod
    def _ends_inner(self, height: int, width: int, last: Child) -> bool: ...

    @abstractmethod
    def _leaf(self, rows: list[Row]) -> Child: ...

    @abstractmethod
    def _inner(self, height: int, children: list[Child]) -> Child: ...

    def push(self, row: Row) -> None:
        """Append one row."""
        self._rows.append(row)
        if self._ends_leaf(len(self._rows), row):
            self._close_leaf()

    def can_push_node(self, height: int, complete: bool) -> bool:
        """Whether a node of an older tree can be taken as it is: nothing is open below its
        height, and it did not end merely because its tree did."""
        return complete and not self._rows and not any(self._open[:height])

    def push_node(self, height: int, child: Child) -> None:
        """Append a node of `height` whole."""
        while len(self._open) <= height:
            self._open.append([])
        waiting = self._open[height]
        waiting.append(child)
        if self._ends_inner(height + 1, len(waiting), child):
            self._close_inner(height)

    def _close_leaf(self) -> None:
        rows, self._rows = self._rows, []
        self.push_node(0, self._leaf(rows))

    def _close_inner(self, height: int) -> None:
        children, self._open[height] = self._open[height], []
        self.push_node(height + 1, self._inner(height + 1, children))

    def finish(self) -> tuple[Child, int] | None:
        """The root node and its height; None for a tree without rows."""
        if self._rows:
            self._close_leaf()
        height = 0
        while height < len(self._open):
            waiting = self._open[height]
            if len(waiting) == 1 and not any(self._open[height + 1 :]):
                return waiting[0], height
            if waiting:
                self._close_inner(height)
            height += 1
        return None


def _zero_bits(data: bytes) -> int:
    value = int.from_bytes(data[:8], "little") | 1 << 63
    return (value & -value).bit_length() - 1


class DirBuilder(_Builder[Entry]):
    """Entries in name order to a directory. Only names decide where nodes end."""

    def _ends_leaf(self, width: int, last: Entry) -> bool:
        return dir_node_ends(0, last.name)

    def _ends_inner(self, height: int, width: int, last: Child) -> bool:
        return dir_node_ends(height, last.last)

    def _leaf(self, rows: list[Entry]) -> Child:
        blob = self._store(nodes.encode_dir_leaf(rows))
        size = sum(e.size for e in rows)
        count = len(rows) + sum(e.count for e in rows)
        return Child(blob, digests.of_entries(rows), size, count, len(rows), rows[-1].name)

    def _inner(self, height: int, children: list[Child]) -> Child:
        blob = self._store(nodes.encode_dir_inner(children))
        digest = digests.of_dir_children(height, (c.digest for c in children))
        size, count = sum(c.size for c in children), sum(c.count for c in children)
        return Child(blob, digest, size, count, len(children), children[-1].last)

    def root(self) -> Root:
        """Finish, and describe the directory."""
        top = self.finish()
        if top is None:
            return Root(digests.EMPTY_DIR, 0, 0, None, 0)
        child, height = top
        return Root(child.digest, child.size, child.count, child.blob, height)


def dir_node_ends(height: int, name: bytes) -> bool:
    """Whether a directory's node of `height` ends after `name`."""
    return _zero_bits(blake3(name).digest()) >= _DIR_BITS * (height + 1)


class ListBuilder(_Builder[Run]):
    """Runs in file order to a chunk list. The last row's digest and the number of rows decide
    where nodes end; the least width keeps a list of equal digests from growing without end."""

    def _ends_leaf(self, width: int, last: Run) -> bool:
        return list_node_ends(width, last.blob.digest)

    def _ends_inner(self, height: int, width: int, last: Child) -> bool:
        return list_node_ends(width, last.digest)

    def _leaf(self, rows: list[Run]) -> Child:
        blob = self._store(nodes.encode_list_leaf(rows))
        digest = nodes.list_leaf_digest(rows)
        return Child(blob, digest, sum(r.size for r in rows), 0, len(rows))

    def _inner(self, height: int, children: list[Child]) -> Child:
        blob = self._store(nodes.encode_list_inner(children))
        digest = digests.of_list_children(height, ((c.digest, c.size) for c in children))
        return Child(blob, digest, sum(c.size for c in children), 0, len(children))

    def push(self, row: Run) -> None:
        """Append chunks; equal neighbours within a leaf become one run.

        Whether a leaf ends is asked at a run's first chunk only, so that a run pushed whole and
        one pushed chunk by chunk come to the same nodes.
        """
        if self._rows and self._rows[-1].blob.digest == row.blob.digest:
            last = self._rows[-1]
            self._rows[-1] = Run(last.blob, last.repeats + row.repeats)
            return
        super().push(Run(row.blob))
        if row.repeats > 1:
            self.push(Run(row.blob, row.repeats - 1))

    def root(self) -> Root:
        """Finish, and describe the file. A file of one chunk has no list: its content is the
        chunk, and its digest the chunk's."""
        if not any(self._open) and len(self._rows) == 1 and self._rows[0].repeats == 1:
            blob = self._rows[0].blob
            return Root(blob.digest, blob.size, 0, blob, 0)
        top = self.finish()
        if top is None:
            return Root(digests.EMPTY_FILE, 0, 0, None, 0)
        child, height = top
        return Root(child.digest, child.size, 0, child.blob, height + 1)


def list_node_ends(width: int, digest: bytes) -> bool:
    """Whether a chunk list's node ends after its `width`-th row, which has `digest`."""
    return width >= nodes.LIST_MAX or (width >= _LIST_MIN and _zero_bits(digest) >= _LIST_BITS)


Changes: TypeAlias = Sequence[tuple[bytes, Entry | None]]


def edit_directory(directory: Entry, changes: Changes, store: StoreNode) -> Steps[Root]:
    """The directory with `changes`, (name, new entry or None) in name order, made to it."""
    builder = DirBuilder(store)
    if directory.blob is None:
        for _, entry in changes:
            if entry is not None:
                builder.push(entry)
    else:
        yield from _edit_node(builder, directory.blob, directory.height, changes, rightmost=True)
    return builder.root()


def _edit_node(
    builder: DirBuilder, blob: BlobRef, height: int, changes: Changes, rightmost: bool
) -> Steps[None]:
    node = yield blob
    if not height:
        _merge(builder, expect(node, DirLeaf).entries, changes)
        return
    at, children = 0, expect(node, DirInner).children
    for i, child in enumerate(children):
        end = at
        is_last = i == len(children) - 1
        while end < len(changes) and (is_last or changes[end][0] <= child.last):
            end += 1
        last = rightmost and is_last
        if at == end and builder.can_push_node(height - 1, complete=not last):
            builder.push_node(height - 1, child)
        else:
            yield from _edit_node(builder, child.blob, height - 1, changes[at:end], last)
        at = end


def _merge(builder: DirBuilder, entries: list[Entry], changes: Changes) -> None:
    at = 0
    for entry in entries:
        while at < len(changes) and changes[at][0] < entry.name:
            _push_if(builder, changes[at][1])
            at += 1
        if at < len(changes) and changes[at][0] == entry.name:
            _push_if(builder, changes[at][1])
            at += 1
        else:
            builder.push(entry)
    for _, entry_or_none in changes[at:]:
        _push_if(builder, entry_or_none)


def _push_if(builder: DirBuilder, entry: Entry | None) -> None:
    if entry is not None:
        builder.push(entry)


class Splice(msgspec.Struct, frozen=True):
    """Bytes [start, end) of a file, both at chunk borders, and the chunks to stand there now."""

    start: int
    end: int
    chunks: list[BlobRef]


def edit_list(file: Entry, splices: Sequence[Splice], store: StoreNode) -> Steps[Root]:
    """The file's chunk list with disjoint `splices`, in file order, made to it."""
    builder = ListBuilder(store)
    editor = _ListEditor(builder, splices)
    if file.blob is not None:
        if file.height == 0:
            editor.run(0, Run(file.blob))
        else:
            yield from editor.node(file.blob, file.height - 1, 0, rightmost=True)
    editor.finish()
    return builder.root()


class _ListEditor:
    def __init__(self, builder: ListBuilder, splices: Sequence[Splice]) -> None:
        self._builder = builder
        self._splices = splices
        self._at = 0  # the first splice not yet written
        self._skip_to = 0  # end of the bytes that the splices so far remove

    def node(self, blob: BlobRef, height: int, start: int, rightmost: bool) -> Steps[None]:
        node = yield blob
        if not height:
            leaf = expect(node, ListLeaf)
            for run, offset in zip(leaf.runs, leaf.starts, strict=False):
                self.run(start + offset, run)
            return
        inner = expect(node, ListInner)
        for i, child in enumerate(inner.children):
            first = start + inner.starts[i]
            last = rightmost and i == len(inner.children) - 1
            untouched = self._skip_to <= first and first + child.size <= self._next_start()
            if untouched and self._builder.can_push_node(height - 1, complete=not last):
                self._builder.push_node(height - 1, child)
            else:
                yield from self.node(child.blob, height - 1, first, last)

    def _next_start(self) -> float:
        return self._splices[self._at].start if self._at < len(self._splices) else inf

    def run(self, start: int, run: Run) -> None:
        """Push what the splices leave of a run, and the splices that begin within it."""
        position, end = start, start + run.size
        while position < end:
            self._write_until(position)
            if position < self._skip_to:
                position = min(end, self._skip_to)
                continue
            stop = int(min(end, self._next_start()))
            self._builder.push(Run(run.blob, (stop - position) // run.blob.size))
            position = stop

    def _write_until(self, position: float) -> None:
        while self._next_start() <= position and self._at < len(self._splices):
            splice = self._splices[self._at]
            for blob in splice.chunks:
                self._builder.push(Run(blob))
            self._skip_to = splice.end
            self._at += 1

    def finish(self) -> None:
        """Write the splices at or behind the old end."""
        self._write_until(inf)
