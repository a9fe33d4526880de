"""Finding things in a version's tree without reading more of it than the way there.

Everything here is a generator that yields the `BlobRef` of a node it needs and is sent the decoded
node, so that one piece of code serves the synchronous API and the event loop of a mount.

Ordinals number the paths of a version: the root is 0, and an entry follows its directory and all
that is in its earlier siblings.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from artfs.errors import Damaged
from artfs.format.build import Steps
from artfs.format.node import DirInner, DirLeaf, ListInner, ListLeaf, expect, index_at
from artfs.types import BlobRef, Entry, Kind

Numbered = tuple[int, Entry]


def find(directory: Entry, ordinal: int, name: bytes) -> Steps[Numbered | None]:
    """The entry `name` of a directory that has `ordinal`, with its own ordinal."""
    if directory.blob is None:
        return None
    node = yield directory.blob
    first = ordinal + 1
    while isinstance(node, DirInner):
        i = bisect_left(node.lasts, name)
        if i == len(node.lasts):
            return None
        first += node.starts[i]
        node = yield node.children[i].blob
    leaf = expect(node, DirLeaf)
    i = bisect_left(leaf.names, name)
    if i == len(leaf.names) or leaf.names[i] != name:
        return None
    return first + leaf.starts[i], leaf.entries[i]


def at(root: Entry, ordinal: int) -> Steps[list[Numbered]]:
    """The way from a version's root (first) to the entry with `ordinal` (last).

    Raises IndexError if the version has fewer entries.
    """
    way = [(0, root)]
    while way[-1][0] != ordinal:
        start, entry = way[-1]
        if entry.blob is None or not start < ordinal <= start + entry.count:
            raise IndexError(ordinal)
        first = start + 1
        node = yield entry.blob
        while isinstance(node, DirInner):
            i = index_at(node.starts, ordinal - first)
            first += node.starts[i]
            node = yield node.children[i].blob
        leaf = expect(node, DirLeaf)
        i = index_at(leaf.starts, ordinal - first)
        way.append((first + leaf.starts[i], leaf.entries[i]))
    return way


def page(directory: Entry, ordinal: int, after: int) -> Steps[list[Numbered]]:
    """Some entries of a directory that has `ordinal`: in name order, the first ones whose own
    ordinal is greater than `after`; empty at the end of the directory."""
    if directory.blob is None or after >= ordinal + directory.count:
        return []
    first = ordinal + 1
    wanted = max(after + 1, first)
    height = directory.height
    blob: BlobRef = directory.blob
    end = first + directory.count
    while wanted < end:
        leaf_first, leaf_end, leaf = yield from _leaf_at(blob, height, first, wanted)
        i = bisect_left(leaf.starts, wanted - leaf_first, 0, len(leaf.entries))
        if i < len(leaf.entries):
            starts = leaf.starts
            return [(leaf_first + starts[k], leaf.entries[k]) for k in range(i, len(leaf.entries))]
        if leaf_end <= wanted < end:
            raise Damaged("manifest node", "has fewer entries than it is said to have")
        wanted = leaf_end
    return []


def _leaf_at(
    blob: BlobRef, height: int, first: int, ordinal: int
) -> Steps[tuple[int, int, DirLeaf]]:
    node = yield blob
    while isinstance(node, DirInner):
        i = index_at(node.starts, ordinal - first)
        first += node.starts[i]
        node = yield node.children[i].blob
    leaf = expect(node, DirLeaf)
    return first, first + leaf.starts[-1], leaf


def page_by_name(directory: Entry, after: bytes) -> Steps[list[Entry]]:
    """Some entries of a directory: in name order, the first ones with a name greater than
    `after` (b"" for all); empty at the end of the directory."""
    if directory.blob is None:
        return []
    node = yield directory.blob
    while isinstance(node, DirInner):
        i = bisect_right(node.lasts, after) if after else 0
        if i == len(node.lasts):
            return []
        node = yield node.children[i].blob
    leaf = expect(node, DirLeaf)
    return leaf.entries[bisect_right(leaf.names, after) if after else 0 :]


def resolve(root: Entry, path: bytes) -> Steps[Entry | None]:
    """The entry at a `/`-separated path below a version's root; links are not followed."""
    entry: Entry | None = root
    for name in path.split(b"/"):
        if name in (b"", b"."):
            continue
        if entry is None or not entry.is_dir:
            return None
        found = yield from find(entry, 0, name)
        entry = found[1] if found else None
    return entry


Piece = tuple[int, BlobRef]
#: Chunks of a part of a file, at most: one for each so many bytes, and some. All but a file's last
#: have 16 KiB; what is listed must not depend on whoever has stored less.
_LEAST, _SOME = 4 << 10, 4096


def chunks(file: Entry, offset: int, length: int) -> Steps[list[Piece]]:
    """The chunks that hold bytes [offset, offset+length) of a file, each with the offset at which
    it begins, in file order and without gaps. Raises `Damaged` if the file's list has not all."""
    end = min(offset + length, file.size)
    if file.kind != Kind.FILE or file.blob is None or offset >= end:
        return []
    if file.height == 0:
        return [(0, file.blob)]
    found: list[Piece] = []
    yield from _collect(file.blob, file.height - 1, 0, (offset, end), found)
    at = found[0][0] if found else end
    for begin, blob in found:
        if begin != at:
            raise Damaged("list of chunks", f"has a gap at {at}")
        at += blob.size
    if not found or found[0][0] > offset or at < end:
        raise Damaged("list of chunks", f"has not all of {file.size} bytes")
    return found


def _collect(
    blob: BlobRef, height: int, first: int, wanted: tuple[int, int], found: list[Piece]
) -> Steps[None]:
    offset, end = wanted
    node = yield blob
    if height:
        inner = expect(node, ListInner)
        i = index_at(inner.starts, max(0, offset - first))
        while i < len(inner.children) and first + inner.starts[i] < end:
            child = inner.children[i]
            yield from _collect(child.blob, height - 1, first + inner.starts[i], wanted, found)
            i += 1
        return
    leaf = expect(node, ListLeaf)
    i = index_at(leaf.starts, max(0, offset - first))
    while i < len(leaf.runs) and first + leaf.starts[i] < end:
        run, start = leaf.runs[i], first + leaf.starts[i]
        skipped = max(0, offset - start) // run.blob.size
        for k in range(skipped, run.repeats):
            begin = start + k * run.blob.size
            if begin >= end:
                break
            found.append((begin, run.blob))
            if len(found) > (end - offset) // _LEAST + _SOME:
                raise Damaged("list of chunks", "has chunks that are too small")
        i += 1
