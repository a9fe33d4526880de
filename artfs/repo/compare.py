"""What differs between two trees, in time proportional to the difference.

Nodes with one logical digest are not looked into. Renames are found among what was removed and
added: files and links of equal content, directories of equal digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from artfs.format.node import Child, DirInner, DirLeaf, expect
from artfs.repo.blobs import Blobs
from artfs.types import Entry


class Difference(msgspec.Struct, frozen=True):
    """One changed path. `change`: A added, D deleted, M modified, T another kind of entry now,
    R renamed from `old_path`. An added or deleted directory is one difference."""

    path: bytes
    change: str
    old: Entry | None = None
    new: Entry | None = None
    old_path: bytes = b""


def compare(old: Entry, new: Entry, blobs: Blobs) -> list[Difference]:
    """The differences of two directories by path, ascending."""
    found = list(_changes(old, new, b"", blobs))
    return sorted(_with_renames(found), key=lambda d: d.path)


def _changes(old: Entry, new: Entry, prefix: bytes, blobs: Blobs) -> Iterator[Difference]:
    before, after = differing_entries(old, new, blobs)
    for name in sorted(before.keys() | after.keys()):
        a, b, path = before.get(name), after.get(name), prefix + name
        if a is None:
            yield Difference(path, "A", new=b)
        elif b is None:
            yield Difference(path, "D", old=a)
        elif a.kind != b.kind:
            yield Difference(path, "T", a, b)
        elif a.is_dir and a.digest != b.digest:
            yield from _changes(a, b, path + b"/", blobs)
        elif not a.is_dir and content_of(a) != content_of(b):
            yield Difference(path, "M", a, b)


def content_of(entry: Entry) -> tuple[int, bytes, bool]:
    """What a version's digest takes from an entry besides its name."""
    executable = bool(entry.mode & 0o100) and entry.kind == 1
    return entry.kind, entry.digest, executable


def logically(node: Child) -> bytes:
    """What two nodes have in common if the entries below have one content."""
    return node.digest


def stored_as(node: Child) -> bytes:
    """What two nodes have in common if the entries below are the same in all, modes and times too,
    and were made from one another."""
    return node.blob.digest


def differing_entries(
    old: Entry, new: Entry, blobs: Blobs, by: Callable[[Child], bytes] = logically
) -> tuple[dict[bytes, Entry], dict[bytes, Entry]]:
    """Entries by name of two directories, without most of those that stand in both alike."""
    before, after = _top(old), _top(new)
    while before or after:
        shared = {by(c) for c, _ in before} & {by(c) for c, _ in after}
        before = [(c, h) for c, h in before if by(c) not in shared]
        after = [(c, h) for c, h in after if by(c) not in shared]
        height = max((h for _, h in before + after), default=0)
        if height == 0:
            break
        before, after = _descend(before, height, blobs), _descend(after, height, blobs)
    return _entries(before, blobs), _entries(after, blobs)


_Nodes = list[tuple[Child, int]]


def _top(directory: Entry) -> _Nodes:
    if directory.blob is None:
        return []
    return [(Child(directory.blob, directory.digest, 0, 0, 0), directory.height)]


def _descend(nodes: _Nodes, height: int, blobs: Blobs) -> _Nodes:
    result: _Nodes = []
    for child, h in nodes:
        if h < height:
            result.append((child, h))
            continue
        node = expect(blobs.node(child.blob), DirInner)
        result += [(c, h - 1) for c in node.children]
    return result


def _entries(nodes: _Nodes, blobs: Blobs) -> dict[bytes, Entry]:
    found: dict[bytes, Entry] = {}
    for child, _ in nodes:
        leaf = expect(blobs.node(child.blob), DirLeaf)
        found.update(zip(leaf.names, leaf.entries, strict=True))
    return found


def _with_renames(found: list[Difference]) -> Iterator[Difference]:
    removed: dict[tuple[int, bytes, bool], list[Difference]] = {}
    for d in found:
        if d.change == "D" and d.old is not None and (d.old.blob is not None or d.old.target):
            removed.setdefault(content_of(d.old), []).append(d)
    renamed: set[bytes] = set()
    for d in found:
        if d.change == "A" and d.new is not None and (same := removed.get(content_of(d.new))):
            origin = same.pop(0)
            renamed.add(origin.path)
            yield Difference(d.path, "R", origin.old, d.new, origin.path)
        elif d.change != "D":
            yield d
    yield from (d for d in found if d.change == "D" and d.path not in renamed)


def same_content(one: Entry | None, other: Entry | None) -> bool:
    """Whether a path has one content on both sides."""
    if one is None or other is None:
        return one is other
    return content_of(one) == content_of(other)


def unchanged(one: Entry | None, other: Entry | None) -> bool:
    """Whether nothing at all was changed, above the place where it is stored."""
    if one is None or other is None:
        return one is other
    if one.is_dir and other.is_dir and one.blob != other.blob:
        return False  # a mode may differ below
    return same_content(one, other) and (one.mode, one.mtime_ns) == (other.mode, other.mtime_ns)
