"""Trees of references: what URIs name, laid over a tree of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from artfs.errors import InvalidValue
from artfs.format import walk
from artfs.repo.editing import edit, empty_directory
from artfs.repo.packing import PackWriter
from artfs.repo.reading import drive
from artfs.repo.references import entry_of_found
from artfs.sources.base import Found, shown
from artfs.types import NAME_MAX, Entry, path_shown

#: Names on the way to an entry, and it.
_Placed: TypeAlias = tuple[list[bytes], Entry]


def with_references(
    root: Entry, uris: Sequence[str], describe: Callable[[str], Sequence[Found]], writer: PackWriter
) -> Entry:
    """The tree with what the URIs name beside what it has: an object under its name, of a prefix
    all that is below.

    Raises `InvalidValue` where two of them, or a URI and the tree, claim one name; and what
    `describe`, reading the tree and storing nodes raise.
    """
    writer.settle()
    blobs = writer.repository.blobs
    changes: dict[bytes, Entry | None] = {}
    for uri in uris:
        placed = [_placed(uri, found) for found in describe(uri)]
        for name, entry in _directory(uri, placed, root.mtime_ns, writer).items():
            if name in changes or drive(walk.find(root, 0, name), blobs) is not None:
                text = path_shown(name)
                raise InvalidValue(f"'{text}'", "comes from two of the paths given")
            changes[name] = entry
    return edit(root, changes, writer, blobs)


def _placed(uri: str, found: Found) -> _Placed:
    names = found.path.encode("utf-8", "surrogateescape").split(b"/")
    for name in names:
        if name in (b"", b".", b"..") or len(name) > NAME_MAX or b"\0" in name:
            raise InvalidValue(f"reference '{shown(uri)}'", f"makes no path of '{found.path}'")
    return names, entry_of_found(found, names[-1])


def _directory(
    uri: str, placed: Iterable[_Placed], mtime_ns: int, writer: PackWriter
) -> dict[bytes, Entry]:
    below: dict[bytes, list[_Placed]] = {}
    for (name, *rest), entry in placed:
        below.setdefault(name, []).append((rest, entry))
    entries = {}
    for name, inner in below.items():
        if all(rest for rest, _ in inner):
            changes: dict[bytes, Entry | None] = {**_directory(uri, inner, mtime_ns, writer)}
            empty = empty_directory(name, mtime_ns=mtime_ns)
            entries[name] = edit(empty, changes, writer, writer.repository.blobs)
        elif len(inner) > 1:
            text = path_shown(name)
            raise InvalidValue(shown(uri), f"has an object '{text}', and others below it")
        else:
            entries[name] = inner[0][1]
    return entries
