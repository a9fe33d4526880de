"""Bringing together what several writers made of one tree, at once.

Unlike `merge`, which puts one side on another, every directory is written once, however many sides
there are, and what a single side changed is taken as it is: only nodes on the way to where sides
meet are read and written. What two sides made of one path must be the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from artfs.format.build import StoreNode
from artfs.repo.blobs import Blobs
from artfs.repo.compare import differing_entries, same_content, stored_as, unchanged
from artfs.repo.editing import edit_to, empty_directory
from artfs.types import Entry

#: What a side has at a path; None: nothing.
Sides: TypeAlias = Mapping[str, Entry | None]


class Clash(msgspec.Struct, frozen=True, order=True):
    """A path of which several sides, named, made different things."""

    path: bytes
    sides: tuple[str, ...]


class Union(msgspec.Struct, frozen=True):
    """`root`: the tree; where sides clash, it has what the first of them made."""

    root: Entry
    clashes: list[Clash]


def unite(base: Entry, sides: Mapping[str, Entry], store: StoreNode, blobs: Blobs) -> Union:
    """A directory with what each side, made from `base`, changed in it.

    New nodes go to `store`. Raises as reading and writing blobs do. Takes memory for the entries
    that were changed in one directory.
    """
    uniting = _Uniting(store, blobs)
    root = uniting.directories(base, dict(sides), b"")
    return Union(root, sorted(uniting.clashes))


class _Uniting:
    def __init__(self, store: StoreNode, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self.clashes: list[Clash] = []

    def directories(self, base: Entry, sides: Sides, prefix: bytes) -> Entry:
        there = [side for side in sides.values() if side is not None]
        if len(sides) == 1 and there:
            return there[0]
        before: dict[bytes, Entry] = {}
        changed: dict[bytes, dict[str, Entry | None]] = {}
        for name, side in sides.items():
            # Not by logical digest: a mode that was changed is to be kept.
            was, now = differing_entries(base, side or empty_directory(), self._blobs, by=stored_as)
            before |= was
            for entry in was.keys() | now.keys():
                if not unchanged(was.get(entry), now.get(entry)):
                    changed.setdefault(entry, {})[name] = now.get(entry)
        changes = {
            entry: self._entry(before.get(entry), made, prefix + entry)
            for entry, made in changed.items()
        }
        united = edit_to(base, changes, self._store, self._blobs)
        if not there:
            return united
        return replace(united, mode=there[0].mode, mtime_ns=max(side.mtime_ns for side in there))

    def _entry(self, before: Entry | None, made: Sides, path: bytes) -> Entry | None:
        first, *others = made.values()
        if not others or all(same_content(first, other) for other in others):
            return first
        was_dir = before is not None and before.is_dir
        if all(was_dir if side is None else side.is_dir for side in made.values()):
            return self._below(before if was_dir else None, made, path)
        self.clashes.append(Clash(path, tuple(made)))
        return first

    def _below(self, before: Entry | None, made: Sides, path: bytes) -> Entry | None:
        """A directory on all sides; where one of them removed it, that removed what was in it."""
        name = path.rpartition(b"/")[2]
        found = self.directories(before or empty_directory(name), made, path + b"/")
        if not found.count and None in made.values():
            return None
        return found
