"""How entries of a version look: a line of `ls`, and what JSON says of them."""

from __future__ import annotations

import stat
from datetime import UTC, datetime

import msgspec

from artfs.cli.output import path_text
from artfs.format.reference import reference_of
from artfs.sources.base import shown
from artfs.types import Entry, Kind


def entry_line(path: bytes, entry: Entry, long: bool) -> str:
    """An entry's path, and if `long` its mode, size, time and target."""
    name = path_text(path) + ("/" if entry.is_dir else "")
    if not long:
        return name
    kinds = {Kind.DIRECTORY: stat.S_IFDIR, Kind.SYMLINK: stat.S_IFLNK}
    mode = stat.filemode(kinds.get(entry.kind, stat.S_IFREG) | entry.mode)
    when = datetime.fromtimestamp(entry.mtime_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    arrow = f" -> {path_text(entry.target)}" if entry.kind == Kind.SYMLINK else ""
    if entry.kind == Kind.REFERENCE:
        arrow = f" -> {shown(reference_of(entry).uri)}"
    return f"{mode} {entry.size:>12} {when} {name}{arrow}"


def entry_json(path: bytes, entry: Entry) -> dict[str, object]:
    """What JSON says of an entry."""
    document: dict[str, object] = {
        "path": path_text(path), "kind": entry.kind.name.lower(), "size": entry.size,
        "mode": f"{entry.mode:04o}", "mtime_ns": entry.mtime_ns, "digest": entry.digest.hex(),
    }  # fmt: skip
    if entry.kind == Kind.SYMLINK:
        document["target"] = path_text(entry.target)
    if entry.kind == Kind.REFERENCE:
        document["reference"] = msgspec.to_builtins(reference_of(entry))
    return document
